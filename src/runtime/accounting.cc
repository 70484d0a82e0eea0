// SPDX-License-Identifier: Apache-2.0
#include "runtime/accounting.h"

#include <algorithm>

namespace asynclm {

void Accounting::decoded(Time begin, Time end) { decodes_.push_back({begin, end}); }

void Accounting::call_started(std::size_t call, Time at) {
  if (calls_.size() <= call) calls_.resize(call + 1);
  if (!calls_[call].begin) calls_[call].begin = at;
}

void Accounting::call_ended(std::size_t call, Time at) {
  if (call < calls_.size() && !calls_[call].end) calls_[call].end = at;
}

void Accounting::idle(Time at) {
  if (!idle_since_) idle_since_ = at;
}

void Accounting::busy(Time at) {
  if (!idle_since_) return;
  waited_ += std::max(Time{}, at - *idle_since_);
  idle_since_.reset();
}

Accounting::Totals Accounting::totals(Time end) const {
  Totals totals;
  totals.waiting = waited_;
  if (idle_since_) totals.waiting += std::max(Time{}, end - *idle_since_);

  std::vector<Interval> running;
  for (const CallTime& call : calls_) {
    if (call.begin) running.push_back({*call.begin, call.end.value_or(end)});
  }
  std::ranges::sort(running, {}, &Interval::begin);
  std::vector<Interval> merged;
  for (const Interval& call : running) {
    if (merged.empty() || call.begin > merged.back().end) {
      merged.push_back(call);
    } else {
      merged.back().end = std::max(merged.back().end, call.end);
    }
  }

  std::size_t next = 0;  // the first merged interval that does not end before the decode begins
  for (const Interval& decode : decodes_) {
    totals.generating += decode.end - decode.begin;
    while (next < merged.size() && merged[next].end <= decode.begin) ++next;
    for (std::size_t i = next; i < merged.size() && merged[i].begin < decode.end; ++i) {
      totals.overlap +=
          std::min(decode.end, merged[i].end) - std::max(decode.begin, merged[i].begin);
    }
  }
  return totals;
}

}  // namespace asynclm
