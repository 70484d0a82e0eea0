// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_author.h"

#include <algorithm>
#include <variant>

#include "oracle/accept.h"
#include "oracle/recordings.h"

namespace asynclm::bench {
namespace {

bool is_the_call(const TaskCall& right, const CallRecord& call) {
  return right.tool == call.name && accepts(right.accept, arguments_of(right), call.arguments);
}

}  // namespace

BfclScore& BfclScore::operator+=(const BfclScore& other) {
  expected += other.expected;
  exact += other.exact;
  early += other.early;
  extra += other.extra;
  ended = ended && other.ended;
  return *this;
}

void ModelAuthor::begin(const Task& task, const Session&, std::vector<double>) {
  task_ = &task;
  found_.clear();
}

const TaskCall* ModelAuthor::call(CallKey key, const CallRecord& record) {
  if (const auto known = found_.find(key); known != found_.end()) return known->second;
  const TaskCall* found = nullptr;
  for (const TaskCall& call : task_->calls) {
    const bool is_made =
        std::ranges::any_of(found_, [&](const auto& one) { return one.second == &call; });
    if (is_made || record.rejected || !is_the_call(call, record)) continue;
    found = &call;
    break;
  }
  return found_[key] = found;
}

BfclScore score_task(const Task& task, const Session& session, CallKey first, BfclAuthor& author) {
  BfclScore score{.expected = static_cast<std::int64_t>(task.calls.size())};
  const auto& calls = session.calls();
  std::map<const TaskCall*, CallKey> made;
  for (CallKey key = first; key < calls.size(); ++key) {
    const TaskCall* const call = author.call(key, calls[key]);
    if (call == nullptr || calls[key].rejected) {
      ++score.extra;
    } else {
      made.emplace(call, key);
    }
  }
  score.exact = static_cast<std::int64_t>(made.size());
  for (const auto& [call, key] : made) {
    // A result that came while the block was written is delivered when the block ends. In async+
    // the session itself holds back what was said to come later.
    const bool is_early = std::ranges::any_of(needs_of(*call), [&](std::size_t need) {
      const auto other = made.find(&task.calls[need]);
      if (other == made.end()) return true;
      const auto delivered = calls[other->second].delivered;
      return !std::ranges::contains(calls[key].needs, other->second) &&
             !(delivered && *delivered < *calls[key].emitted);
    });
    score.early += is_early ? 1 : 0;
  }
  const Step step = session.step();
  const auto* const done = std::get_if<Done>(&step);
  score.ended = done != nullptr && done->reason == FinishReason::stop;
  return score;
}

}  // namespace asynclm::bench
