// SPDX-License-Identifier: Apache-2.0
// HTTP requests by libcurl, which only http.cc knows. Proxies are taken from the environment
// (https_proxy, no_proxy, …), as libcurl does.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asynclm/error.h>

#include "models/pull_events.h"

namespace asynclm {

struct Url {
  std::string text = {};  // normalised
  std::string scheme = {}, host = {}, port = {}, path = {};
  [[nodiscard]] std::string origin() const { return scheme + "://" + host + ":" + port; }
};

// https; http only for loopback hosts, since nothing else guards what comes and what is sent. No
// user names or passwords.
[[nodiscard]] Result<Url> parse_url(const std::string& text);

// Percent-encodes all but letters, digits, "-._~" and what is in `kept`.
[[nodiscard]] std::string url_escape(std::string_view text, std::string_view kept = "");

struct HttpReply {
  int status = 0;
  std::string url = {};                                           // that answered, after redirects
  std::vector<std::pair<std::string, std::string>> headers = {};  // names in lower case
  std::string error_body = {};  // of status 400 and above, its start

  // Empty where there is no such header.
  [[nodiscard]] std::string_view header(std::string_view name) const;
  [[nodiscard]] bool good() const { return status >= 200 && status < 300; }
  // A new try may get a better one: too many requests, or the server's own trouble.
  [[nodiscard]] bool transient() const;
  // What Retry-After says, in seconds or as a date.
  [[nodiscard]] std::optional<std::chrono::seconds> retry_after() const;
};

struct HttpRequest {
  enum class Redirects : std::uint8_t { all, same_origin };

  std::string url = {};
  bool head = false;
  std::vector<std::string> headers = {};  // "Name: value"
  std::string token = {};  // a bearer token; goes to the origin of `url` and nowhere else
  // same_origin: a redirect to elsewhere is the reply.
  Redirects redirects = Redirects::all;
  // Before the body of a good reply. An error ends the request.
  std::function<Result<void>(const HttpReply&)> on_reply = {};
  std::function<Result<void>(std::string_view)> on_body = {};
};

struct HttpError {
  enum class Fault : std::uint8_t {
    unreachable,  // no connection was made
    broken,       // a connection broke or stood still; a new try may go on
    refused,      // no new try helps: a certificate, a redirect that is not followed
    stopped,      // by PullEvents::stop
    callback,     // on_reply or on_body failed: `error` is theirs
  };
  Fault fault = Fault::broken;
  Error error;
};

struct HttpOptions {
  std::string user_agent = {};
  std::string ca_bundle = {};  // empty: libcurl's own
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::seconds stall_timeout{30};  // nothing came for so long: broken
};

// Keeps connections for further requests. One thread.
class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any status is a reply; redirects are followed.
  [[nodiscard]] std::expected<HttpReply, HttpError> send(const HttpRequest& request,
                                                         PullWatch& watch);

  void set_connect_timeout(std::chrono::milliseconds time);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
