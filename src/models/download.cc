// SPDX-License-Identifier: Apache-2.0
#include "models/download.h"

#include <algorithm>
#include <charconv>
#include <format>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace asynclm {
namespace {

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

struct ContentRange {
  std::optional<std::uint64_t> from, total;
};

// "bytes 100-199/200", "bytes 100-199/*"
ContentRange read_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  const auto dash = text.find('-');
  const auto slash = text.find('/');
  if (!text.starts_with(kUnit) || dash == text.npos || slash == text.npos) return {};
  return {.from = to_number(text.substr(kUnit.size(), dash - kUnit.size())),
          .total = to_number(text.substr(slash + 1))};
}

class Downloader {
 public:
  Downloader(HttpClient& client, const Download& what, PartialFile& file, const RetryPolicy& policy,
             PullWatch& watch)
      : client_(client),
        what_(what),
        file_(file),
        watch_(watch),
        retries_(policy, watch),
        size_(what.size) {}

  Result<void> run() {
    if (size_) file_.expect(*size_);
    if (size_ && file_.size() > *size_) {
      if (auto cleared = file_.clear(); !cleared) return cleared;
    }
    while (!complete_ && !(size_ && file_.size() == *size_)) {
      if (auto done = try_once(); !done) return done;
    }
    return {};
  }

 private:
  // One request and, after an error, the pause. Error: there is no new try.
  Result<void> try_once() {
    watch_.stage(PullStage::downloading);
    HttpRequest request{.url = what_.url, .headers = headers(), .token = what_.token};
    request.on_reply = [this](const HttpReply& reply) { return on_reply(reply); };
    request.on_body = [this](std::string_view bytes) { return on_body(bytes); };
    const auto reply = client_.send(request, watch_);
    if (!reply) return retries_.after(reply.error());
    if (reply->good()) return on_end();
    // The server has less than what is here: another file.
    constexpr int kRangeNotSatisfiable = 416;
    if (reply->status == kRangeNotSatisfiable && file_.size() > 0) return file_.clear();
    Error error = what_.explain(*reply);
    if (reply->transient()) return retries_.after(*reply, error);
    return std::unexpected(std::move(error));
  }

  [[nodiscard]] std::vector<std::string> headers() const {
    // Encoded bytes would have another size and could not be gone on with.
    std::vector<std::string> out = {"Accept-Encoding: identity"};
    if (file_.size() == 0) return out;
    out.push_back(std::format("Range: bytes={}-", file_.size()));
    if (!what_.etag.empty()) out.push_back("If-Range: " + what_.etag);
    return out;
  }

  Result<void> on_reply(const HttpReply& reply) {
    constexpr int kPartialContent = 206;
    std::optional<std::uint64_t> total = to_number(reply.header("content-length"));
    if (reply.status == kPartialContent) {
      const ContentRange range = read_content_range(reply.header("content-range"));
      if (range.from != file_.size()) {
        return fail(ErrorCode::io, std::format("{}: the server sends another part of the file than "
                                               "was asked for",
                                               what_.name));
      }
      total = range.total;
    } else if (file_.size() > 0) {
      // It sends the whole file: it knows no ranges, or the file is another one now.
      if (auto cleared = file_.clear(); !cleared) return cleared;
    }
    if (total && size_ && *total != *size_) return wrong_size(*total);
    if (total && !size_) {
      size_ = total;
      file_.expect(*size_);
      if (auto room = check_room(file_.path().parent_path(), *size_ - file_.size()); !room) {
        return room;
      }
    }
    return {};
  }

  Result<void> on_body(std::string_view bytes) {
    if (size_ && file_.size() + bytes.size() > *size_) {
      return wrong_size(file_.size() + bytes.size());
    }
    if (auto written = file_.append(bytes); !written) return written;
    // Not where a server that knows no ranges sends the same bytes again.
    if (file_.size() > best_) retries_.gained();
    best_ = std::max(best_, file_.size());
    watch_.done(file_.size());
    return {};
  }

  Result<void> on_end() {
    if (!size_) {
      complete_ = true;
      return {};
    }
    if (file_.size() >= *size_) return {};
    const HttpError error{HttpError::Fault::broken,
                          {ErrorCode::io, std::format("{}: the server sent {} of {} bytes",
                                                      what_.name, file_.size(), *size_)}};
    return retries_.after(error);
  }

  Result<void> wrong_size(std::uint64_t sent) {
    (void)file_.clear();
    return fail(ErrorCode::io,
                std::format("{}: wrong size: it should have {} bytes, but the server sends {}{}",
                            what_.name, *size_, sent, ". The file is not kept"));
  }

  HttpClient& client_;
  const Download& what_;
  PartialFile& file_;
  PullWatch& watch_;
  Retries retries_;
  std::optional<std::uint64_t> size_;
  std::uint64_t best_ = 0;  // the most bytes that were here
  bool complete_ = false;
};

}  // namespace

Result<void> download(HttpClient& client, const Download& what, PartialFile& file,
                      const RetryPolicy& policy, PullWatch& watch) {
  return Downloader(client, what, file, policy, watch).run();
}

}  // namespace asynclm
