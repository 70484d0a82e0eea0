// SPDX-License-Identifier: Apache-2.0
// When a request that failed is tried again.
#pragma once

#include <chrono>
#include <expected>
#include <functional>
#include <optional>
#include <string>

#include <asynclm/error.h>

#include "models/http.h"
#include "models/pull_events.h"

namespace asynclm {

struct RetryPolicy {
  int tries = 6;                               // without a byte gained in between
  int unreachable_tries = 3;                   // of hosts to which no connection is made
  std::chrono::milliseconds first_pause{500};  // doubled each time
  std::chrono::milliseconds longest_pause{8000};
  std::chrono::seconds longest_retry_after{120};  // a server that asks for more is not waited for
};

// Of one request.
class Retries {
 public:
  Retries(const RetryPolicy& policy, PullWatch& watch) : policy_(policy), watch_(watch) {}

  // Bytes came: what failed before does not count any more.
  void gained() { failures_ = 0; }

  // After an error: pauses if a new try is worth it, else returns the error for the user.
  [[nodiscard]] Result<void> after(const HttpError& error);
  // After a reply that is transient(). `explained`: what the user gets if there is no new try.
  [[nodiscard]] Result<void> after(const HttpReply& reply, const Error& explained);

 private:
  [[nodiscard]] Result<void> pause(const std::string& why,
                                   std::optional<std::chrono::seconds> wanted);

  const RetryPolicy& policy_;
  PullWatch& watch_;
  int failures_ = 0;
};

// Sends until a reply comes that no new try would better. Bad ones become what `explain` makes of
// them.
[[nodiscard]] Result<HttpReply> send_with_retries(
    HttpClient& client, const HttpRequest& request, const RetryPolicy& policy, PullWatch& watch,
    const std::function<Error(const HttpReply&)>& explain);

}  // namespace asynclm
