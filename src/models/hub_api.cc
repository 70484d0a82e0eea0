// SPDX-License-Identifier: Apache-2.0
#include "models/hub_api.h"

#include <algorithm>
#include <charconv>
#include <format>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include "models/hub_cache.h"
#include "models/model_name.h"
#include "models/sha256.h"

namespace asynclm {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxPageBytes = std::size_t{32} << 20U;
constexpr int kMaxPages = 1000;

std::string host_of(const std::string& url) {
  const Result<Url> parsed = parse_url(url);
  return parsed ? parsed->host : url;
}

std::string origin_of(const std::string& url) {
  const Result<Url> parsed = parse_url(url);
  return parsed ? parsed->origin() : "";
}

// What a server says, for a terminal.
std::string harmless(std::string_view text) {
  constexpr std::size_t kLongest = 300;
  std::string out(text.substr(0, kLongest));
  for (char& c : out) {
    if (c < ' ' || c > '~') c = '?';
  }
  return out;
}

// The URL of `Link: <URL>; rel="next"`, or nothing.
std::string next_page(std::string_view link) {
  while (!link.empty()) {
    const auto open = link.find('<');
    const auto close = link.find('>', open);
    if (open == link.npos || close == link.npos) break;
    const auto end = std::min(link.find(',', close), link.size());
    if (link.substr(close, end - close).contains("rel=\"next\"")) {
      return std::string(link.substr(open + 1, close - open - 1));
    }
    link.remove_prefix(end);
  }
  return {};
}

std::optional<RepoFile> read_file_entry(const json& entry) {
  const auto text = [](const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : "";
  };
  if (!entry.is_object() || text(entry, "type") != "file") return std::nullopt;
  RepoFile file{.path = text(entry, "path")};
  if (!is_repo_file(file.path)) return std::nullopt;
  if (const auto size = entry.find("size"); size != entry.end() && size->is_number_unsigned()) {
    file.size = size->get<std::uint64_t>();
  }
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    file.sha256 = text(*lfs, "oid");
  }
  return file;
}

Result<void> read_page(const std::string& text, const std::string& url,
                       std::vector<RepoFile>& files) {
  const json page = json::parse(text, nullptr, false);
  if (!page.is_array()) {
    return fail(ErrorCode::io, std::format("{} does not answer as a Hugging Face hub does; check "
                                           "HF_ENDPOINT",
                                           host_of(url)));
  }
  for (const json& entry : page) {
    if (auto file = read_file_entry(entry)) files.push_back(std::move(*file));
  }
  return {};
}

std::optional<std::uint64_t> size_header(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace

std::string HubApi::file_url(const std::string& repo, const std::string& revision,
                             const std::string& file) const {
  return std::format("{}/{}/resolve/{}/{}", endpoint_, repo, url_escape(revision),
                     url_escape(file, "/"));
}

Result<std::vector<RepoFile>> HubApi::files(const std::string& repo, const std::string& revision,
                                            PullWatch& watch) const {
  std::vector<RepoFile> out;
  std::string url =
      std::format("{}/api/models/{}/tree/{}?recursive=1", endpoint_, repo, url_escape(revision));
  for (int page = 0; page < kMaxPages && !url.empty(); ++page) {
    std::string text;
    HttpRequest request{.url = url, .headers = {"Accept: application/json"}, .token = token_};
    request.on_reply = [&](const HttpReply&) -> Result<void> {
      return text.clear(), Result<void>();
    };
    request.on_body = [&](std::string_view bytes) -> Result<void> {
      text += bytes;
      if (text.size() <= kMaxPageBytes) return {};
      return fail(ErrorCode::limit_exceeded, host_of(url) + " sends an endless list of files");
    };
    const auto reply =
        send_with_retries(client_, request, policy_, watch,
                          [&](const HttpReply& bad) { return explain(bad, repo, revision, ""); });
    if (!reply) return std::unexpected(reply.error());
    if (auto read = read_page(text, url, out); !read) return std::unexpected(read.error());
    url = next_page(reply->header("link"));
    // The token must not follow to where a server sends us.
    if (!url.empty() && origin_of(url) != origin_of(endpoint_)) {
      return fail(ErrorCode::io,
                  host_of(endpoint_) + " continues its list of files on another host");
    }
  }
  return out;
}

Result<HubFile> HubApi::file(const std::string& repo, const std::string& revision,
                             const std::string& file, PullWatch& watch) const {
  const HttpRequest request{.url = file_url(repo, revision, file),
                            .head = true,
                            .headers = {"Accept-Encoding: identity"},
                            .token = token_,
                            // The reply that leads to the storage has what we want to know.
                            .redirects = HttpRequest::Redirects::same_origin,
                            .on_reply = {},
                            .on_body = {}};
  const auto reply = send_with_retries(client_, request, policy_, watch, [&](const HttpReply& bad) {
    return explain(bad, repo, revision, file);
  });
  if (!reply) return std::unexpected(reply.error());
  HubFile out{.commit = std::string(reply->header("x-repo-commit"))};
  const std::string_view linked = reply->header("x-linked-etag");
  const std::string_view etag = linked.empty() ? reply->header("etag") : linked;
  const std::string_view linked_size = reply->header("x-linked-size");
  const auto size =
      size_header(linked_size.empty() ? reply->header("content-length") : linked_size);
  if (!is_commit(out.commit) || etag.empty() || !size) {
    return fail(ErrorCode::io,
                std::format("{} does not answer as a Hugging Face hub does (no commit, ETag or "
                            "size of {}); check HF_ENDPOINT",
                            host_of(endpoint_), file));
  }
  out.etag = etag_name(etag);
  out.size = *size;
  if (is_sha256_hex(out.etag)) out.sha256 = out.etag;
  return out;
}

Error HubApi::explain(const HttpReply& reply, const std::string& repo, const std::string& revision,
                      const std::string& file) const {
  const std::string host = host_of(endpoint_);
  const std::string page = endpoint_ + "/" + repo;
  const std::string_view why = reply.header("x-error-code");
  const std::string what = file.empty() ? repo : repo + ": " + file;
  const auto token_advice = [&] {
    return token_.empty() ? std::string("set HF_TOKEN to a token of your account")
                          : std::string("check that the account of HF_TOKEN may read it");
  };
  constexpr int kUnauthorized = 401, kForbidden = 403, kNotFound = 404, kTooMany = 429;
  const bool refused = reply.status == kUnauthorized || reply.status == kForbidden;
  if (why == "GatedRepo" || (reply.status == kForbidden && why.empty())) {
    return {ErrorCode::not_found,
            std::format("{} is gated ({} answers {}): accept its terms at {} and {}", repo, host,
                        reply.status, page, token_advice())};
  }
  if (why == "RepoNotFound" || refused) {
    return {ErrorCode::not_found,
            std::format("{} does not exist on {}, or is private or gated (status {}): check the "
                        "name, or {}",
                        repo, host, reply.status, token_advice())};
  }
  if (why == "RevisionNotFound") {
    return {ErrorCode::not_found,
            std::format("{} has no revision '{}'; see {}", repo, revision, page)};
  }
  if (reply.status == kNotFound) {
    return {ErrorCode::not_found, std::format("{} does not exist on {}; see {}", what, host, page)};
  }
  if (reply.status == kTooMany) {
    const auto wait = reply.retry_after();
    return {ErrorCode::overloaded,
            std::format("{} refuses more requests for now (status 429); try again {}{}", host,
                        wait ? std::format("in {} s", wait->count()) : "later",
                        token_.empty() ? ", or set HF_TOKEN: its limits are higher" : "")};
  }
  const std::string_view said = reply.header("x-error-message");
  return {ErrorCode::io, std::format("{}: {} answers {}{}{}", what, host, reply.status,
                                     said.empty() ? "" : ": ", harmless(said))};
}

}  // namespace asynclm
