// SPDX-License-Identifier: Apache-2.0
#include "runtime/draft_policy.h"

#include <algorithm>
#include <chrono>

#include <asynclm/engine.h>

namespace asynclm {
namespace {

constexpr std::size_t kMaxFitted = 16;  // tokens of a call
constexpr double kKeptWidths = 0.99;    // weight of the past against a new call
constexpr double kKeptTokens = 0.98;    // and against a new token of a draft
constexpr std::size_t kTrial = 2;       // tokens of a draft that is only to find out
constexpr int kIdleBeforeTrial = 32;    // drafts

}  // namespace

void DraftPolicy::decoded(std::size_t tokens, Time took) {
  if (tokens > kMaxFitted) return;
  const auto x = static_cast<double>(tokens);
  const double y = std::chrono::duration<double>(took).count();
  for (double* sum : {&calls_, &tokens_, &squares_, &time_, &products_}) *sum *= kKeptWidths;
  calls_ += 1;
  tokens_ += x;
  squares_ += x * x;
  time_ += y;
  products_ += x * y;
}

double DraftPolicy::cost() const {
  const double spread = calls_ * squares_ - tokens_ * tokens_;
  if (spread <= 1e-3 * calls_ * calls_) return 0;  // all calls were of one size
  const double slope = (calls_ * products_ - tokens_ * time_) / spread;
  const double one = (time_ - slope * tokens_) / calls_ + slope;
  return one > 0 ? std::clamp(slope / one, 0.0, 1.0) : 0;
}

void DraftPolicy::verified(std::size_t drafted, std::size_t accepted) {
  if (drafted == 0) return;
  // Those behind the first wrong token say nothing.
  const std::size_t tried = std::min(drafted, accepted + 1);
  for (std::size_t i = 0; i < tried; ++i) {
    accepted_ = accepted_ * kKeptTokens + (i < accepted ? 1 : 0);
    tried_ = tried_ * kKeptTokens + 1;
  }
}

std::size_t DraftPolicy::limit() {
  const double rate = accepted_ / tried_;
  const double price = cost();
  std::size_t limit = 0;
  for (double chance = rate; limit < kMaxDraftTokens && chance > price; chance *= rate) ++limit;
  if (limit > 0) {
    idle_ = 0;
  } else if (++idle_ > kIdleBeforeTrial) {
    idle_ = 0;
    limit = kTrial;
  }
  return limit;
}

}  // namespace asynclm
