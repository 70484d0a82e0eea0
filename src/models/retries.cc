// SPDX-License-Identifier: Apache-2.0
#include "models/retries.h"

#include <algorithm>
#include <format>

namespace asynclm {

Result<void> Retries::after(const HttpError& error) {
  using Fault = HttpError::Fault;
  const bool final = error.fault != Fault::unreachable && error.fault != Fault::broken;
  const int tries = error.fault == Fault::unreachable ? policy_.unreachable_tries : policy_.tries;
  if (final || ++failures_ >= tries) return std::unexpected(error.error);
  return pause(error.error.message, std::nullopt);
}

Result<void> Retries::after(const HttpReply& reply, const Error& explained) {
  const std::optional<std::chrono::seconds> wanted = reply.retry_after();
  if (++failures_ >= policy_.tries || wanted > policy_.longest_retry_after) {
    Error error = explained;
    if (wanted) error.retry_after = *wanted;
    return std::unexpected(std::move(error));
  }
  return pause(std::format("the server answers {}", reply.status), wanted);
}

Result<void> Retries::pause(const std::string& why, std::optional<std::chrono::seconds> wanted) {
  constexpr int kMostDoublings = 10;
  const auto doubled = policy_.first_pause * (1 << std::clamp(failures_ - 1, 0, kMostDoublings));
  std::chrono::milliseconds time = std::min(doubled, policy_.longest_pause);
  if (wanted) time = std::max<std::chrono::milliseconds>(*wanted, policy_.first_pause);
  watch_.note(std::format("{}; trying again in {:.1f} s", why,
                          std::chrono::duration<double>(time).count()));
  watch_.stage(PullStage::pausing);
  return watch_.pause(time);
}

Result<HttpReply> send_with_retries(HttpClient& client, const HttpRequest& request,
                                    const RetryPolicy& policy, PullWatch& watch,
                                    const std::function<Error(const HttpReply&)>& explain) {
  Retries retries(policy, watch);
  while (true) {
    watch.stage(PullStage::asking);
    auto reply = client.send(request, watch);
    Result<void> again;
    if (!reply) {
      again = retries.after(reply.error());
    } else if (reply->status < 400) {
      return std::move(*reply);
    } else if (reply->transient()) {
      again = retries.after(*reply, explain(*reply));
    } else {
      return std::unexpected(explain(*reply));
    }
    if (!again) return std::unexpected(std::move(again.error()));
  }
}

}  // namespace asynclm
