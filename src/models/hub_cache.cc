// SPDX-License-Identifier: Apache-2.0
#include "models/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <format>
#include <functional>
#include <ranges>
#include <set>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "models/gguf_choice.h"
#include "models/sha256.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kModelPrefix = "models--";
constexpr std::string_view kPartSuffix = ".incomplete";

std::unexpected<Error> cache_failed(const fs::path& path, std::string_view what,
                                    const std::error_code& error) {
  return fail(ErrorCode::io, std::format("{}: {}: {}", path.string(), what, error.message()));
}

// Names in a folder, sorted; none where there is no such folder.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    out.push_back(it->path().filename().string());
  }
  std::ranges::sort(out);
  return out;
}

std::uint64_t size_of(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : size;
}

bool remove_file(const fs::path& path) {
  std::error_code error;
  return fs::remove(path, error);
}

// All files and links below a folder.
std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code error;
  const auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it(folder, options, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (!fs::is_directory(it->symlink_status(ignored))) out.push_back(it->path());
  }
  std::ranges::sort(out);
  return out;
}

// The blob that a place in a snapshot means; the place itself where it is no link.
fs::path blob_of(const fs::path& place) {
  std::error_code error;
  const fs::path target = fs::read_symlink(place, error);
  if (error) return place;
  return (place.parent_path() / target).lexically_normal();
}

}  // namespace

std::string CachedFile::sha256() const {
  const std::string name = blob.filename().string();
  return is_sha256_hex(name) ? name : "";
}

std::string etag_name(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  if (etag.size() >= 2 && etag.front() == '"' && etag.back() == '"') {
    etag = etag.substr(1, etag.size() - 2);
  }
  constexpr std::size_t kLongest = 128;
  const bool good = !etag.empty() && etag.size() <= kLongest && etag.front() != '.' &&
                    std::ranges::all_of(etag, [](char c) {
                      return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
                             std::string_view("-_.").contains(c);
                    });
  return good ? std::string(etag) : sha256_hex(etag);
}

bool is_commit(std::string_view text) {
  constexpr std::size_t kDigits = 40;
  return text.size() == kDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

CachedRepo::CachedRepo(fs::path root, std::string folder)
    : root_(std::move(root)), folder_(root_ / folder), name_(std::move(folder)) {}

fs::path CachedRepo::blob(const std::string& etag) const { return folder_ / "blobs" / etag; }

fs::path CachedRepo::partial(const std::string& etag) const {
  return folder_ / "blobs" / (etag + std::string(kPartSuffix));
}

fs::path CachedRepo::lock(const std::string& etag) const {
  return root_ / ".locks" / name_ / (etag + ".lock");
}

std::vector<std::string> CachedRepo::snapshots() const {
  std::vector<std::string> out = names_in(folder_ / "snapshots");
  std::ranges::stable_sort(out, std::greater<>(), [&](const std::string& commit) {
    std::error_code error;
    return fs::last_write_time(folder_ / "snapshots" / commit, error);
  });
  return out;
}

std::vector<std::string> CachedRepo::commits(const std::string& revision) const {
  constexpr std::size_t kMaxRef = 1000;
  std::vector<std::string> out;
  if (auto ref = read_whole_file((folder_ / "refs" / revision).string(), kMaxRef)) {
    while (!ref->empty() && std::isspace(static_cast<unsigned char>(ref->back())) != 0) {
      ref->pop_back();
    }
    if (is_commit(*ref)) out.push_back(std::move(*ref));
  } else if (is_commit(revision)) {
    out.push_back(revision);
  }
  if (revision != "main") return out;
  for (std::string& commit : snapshots()) {
    if (!std::ranges::contains(out, commit)) out.push_back(std::move(commit));
  }
  return out;
}

std::vector<CachedFile> CachedRepo::files(const std::string& commit) const {
  const fs::path snapshot = folder_ / "snapshots" / commit;
  std::vector<CachedFile> out;
  for (const fs::path& place : files_below(snapshot)) {
    std::error_code error;
    if (!is_model_file(place.filename().string()) || !fs::is_regular_file(place, error)) continue;
    out.push_back({.path = place.lexically_relative(snapshot).generic_string(),
                   .place = place,
                   .blob = blob_of(place),
                   .size = size_of(place),
                   .commit = commit});
  }
  return out;
}

std::vector<CachedPart> CachedRepo::parts() const {
  std::vector<CachedPart> out;
  for (const std::string& name : names_in(folder_ / "blobs")) {
    if (!name.ends_with(kPartSuffix)) continue;
    const fs::path place = folder_ / "blobs" / name;
    out.push_back({.etag = name.substr(0, name.size() - kPartSuffix.size()),
                   .place = place,
                   .size = size_of(place)});
  }
  return out;
}

Result<void> CachedRepo::prepare() const {
  for (const fs::path& folder : {folder_ / "blobs", root_ / ".locks" / name_}) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) return cache_failed(folder, "the folder cannot be made", error);
  }
  return {};
}

Result<fs::path> CachedRepo::link(const std::string& commit, const std::string& file,
                                  const std::string& etag) const {
  fs::path place = folder_ / "snapshots" / commit / file;
  std::error_code error;
  fs::create_directories(place.parent_path(), error);
  if (error) return cache_failed(place.parent_path(), "the folder cannot be made", error);
  const fs::path target = blob(etag).lexically_relative(place.parent_path());
  if (fs::read_symlink(place, error) == target && !error) return place;
  // Beside it and then over it, so that another process always sees a whole link.
  const fs::path beside = place.string() + ".asynclm-new";
  (void)remove_file(beside);
  fs::create_symlink(target, beside, error);
  if (error) {
    // A file system without links: the file itself stands there, as huggingface_hub does it.
    fs::rename(blob(etag), place, error);
  } else {
    fs::rename(beside, place, error);
  }
  if (error) return cache_failed(place, "cannot be made", error);
  return place;
}

Result<void> CachedRepo::set_ref(const std::string& revision, const std::string& commit,
                                 bool always) const {
  const fs::path ref = folder_ / "refs" / revision;
  std::error_code error;
  if (is_commit(revision) || (!always && fs::exists(ref, error))) return {};
  constexpr std::size_t kMaxRef = 1000;
  if (const auto old = read_whole_file(ref.string(), kMaxRef); old && *old == commit) return {};
  fs::create_directories(ref.parent_path(), error);
  if (error) return cache_failed(ref.parent_path(), "the folder cannot be made", error);
  if (auto written = replace_file(ref.string(), commit); !written) return written;
  // Others of the machine may share the cache.
  fs::permissions(ref,
                  fs::perms::owner_write | fs::perms::owner_read | fs::perms::group_read |
                      fs::perms::others_read,
                  error);
  return {};
}

Result<std::uint64_t> CachedRepo::remove(const std::string& file) const {
  std::set<fs::path> blobs;
  for (const std::string& commit : snapshots()) {
    const fs::path place = folder_ / "snapshots" / commit / file;
    std::error_code error;
    if (!fs::exists(fs::symlink_status(place, error))) continue;
    const std::uint64_t size = size_of(place);
    const fs::path bytes = blob_of(place);
    fs::remove(place, error);
    if (error) return cache_failed(place, "cannot be removed", error);
    if (bytes == place) {
      remove_if_empty();
      return size;
    }
    blobs.insert(bytes);
  }
  for (const fs::path& place : files_below(folder_ / "snapshots")) blobs.erase(blob_of(place));
  std::uint64_t freed = 0;
  for (const fs::path& each : blobs) {
    // A link that someone made may lead to anywhere.
    if (each.parent_path() != folder_ / "blobs") continue;
    const std::uint64_t size = size_of(each);
    std::error_code error;
    if (fs::remove(each, error)) freed += size;
    if (error) return cache_failed(each, "cannot be removed", error);
    (void)remove_file(lock(each.filename().string()));
  }
  remove_if_empty();
  return freed;
}

Result<std::uint64_t> CachedRepo::remove_part(const CachedPart& part) const {
  std::error_code error;
  fs::remove(part.place, error);
  if (error) return cache_failed(part.place, "cannot be removed", error);
  fs::remove_all(part.place.string() + "-package", error);  // of a process that was killed
  (void)remove_file(lock(part.etag));
  remove_if_empty();
  return part.size;
}

// Folders without files, and the repository's own one when no bytes are left in it.
void CachedRepo::remove_if_empty() const {
  std::error_code error;
  std::vector<fs::path> folders;
  for (fs::recursive_directory_iterator it(folder_ / "snapshots", error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (fs::is_directory(it->symlink_status(ignored))) folders.push_back(it->path());
  }
  // The deepest first; a folder that is not empty stays.
  for (const fs::path& folder : folders | std::views::reverse) fs::remove(folder, error);
  if (!files_below(folder_ / "snapshots").empty() || !files_below(folder_ / "blobs").empty())
    return;
  fs::remove_all(folder_, error);
  fs::remove_all(root_ / ".locks" / name_, error);
}

CachedRepo HubCache::repo(std::string_view name) const {
  std::string folder = std::string(kModelPrefix);
  for (const char c : name) folder += c == '/' ? "--" : std::string(1, c);
  return {root_, folder};
}

std::vector<std::string> HubCache::repos() const {
  std::vector<std::string> out;
  for (const std::string& folder : names_in(root_)) {
    if (!folder.starts_with(kModelPrefix)) continue;
    std::string name = folder.substr(kModelPrefix.size());
    // Repositories of no organisation (gpt2) have no slash.
    if (const auto at = name.find("--"); at != name.npos) name.replace(at, 2, "/");
    out.push_back(std::move(name));
  }
  return out;
}

std::vector<std::string> HubCache::folders() const {
  std::vector<std::string> out = names_in(root_);
  std::erase_if(out, [](const std::string& name) { return name.starts_with("."); });
  return out;
}

}  // namespace asynclm
