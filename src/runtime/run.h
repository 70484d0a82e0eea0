// SPDX-License-Identifier: Apache-2.0
// One session on its way through the runtime: owned and touched by the decode thread alone, from
// the moment it leaves the inbox.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/metrics.h>
#include <asynclm/runtime.h>

#include "runtime/accounting.h"
#include "runtime/group.h"
#include "runtime/inputs.h"
#include "tools/call_runner.h"

namespace asynclm {

// Where a run's computed tokens are. The session's context is the token log: whatever is lost here
// can be computed from it again, but for the sampler.
struct Kv {
  Residency residency = Residency::discarded;
  std::optional<SequenceId> sequence{};  // resident
  std::size_t tokens = 0;                // computed, when it last left the engine
  std::vector<std::byte> sampler{};      // since then
  std::vector<std::byte> saved{};        // host
  std::string file{};                    // disk
  std::size_t saved_bytes = 0;           // host or disk
};

enum class RunState : std::uint8_t {
  queued,     // waits for its first sequence
  returning,  // can go on, and waits for a sequence
  running,    // can go on, and has one
  trapped,    // waits for results, with or without one
};
inline constexpr std::size_t kRunStates = 4;

struct Run {
  RunId id;
  Session session;
  SamplingParams sampling;
  std::int32_t priority = 0;
  std::function<void(const Session&, const Event&)> on_event;
  std::function<void(const RunReport&)> on_turn{};
  bool open = false;               // stays when a turn has ended
  std::shared_ptr<Group> group{};  // that it is a member of
  Instant began;
  std::promise<RunReport> report{};

  Kv kv{};
  RunState state = RunState::queued;
  Instant since{};  // in this state
  // Running: since when all that it had is computed again, so that it writes. TrapHandler's.
  std::optional<Instant> writes_since{};
  Instant prefetch_due{};   // TrapHandler's
  bool prefetched = false;  // since it paused

  // The common beginning of prompts (prefix_cache.h): save the sequence when it has so many tokens,
  // 0: no need; or wait for another run that does.
  std::size_t keep_prefix_at = 0;
  bool awaits_prefix = false;

  // By CallKey; empty where nothing runs.
  std::vector<std::optional<CallRunner::Handle>> handles{};

  Accounting accounting{};
  Time latest{};  // of the inputs so far

  // For metrics: the end of the decode call that gave the last token, and since when interrupts
  // have been in the context that are not decoded yet.
  std::optional<Instant> last_token{};
  std::vector<Instant> interrupts{};

  // The instant in the session's time, which never decreases: a worker's report may be older than
  // the decode that ended meanwhile.
  Time tick(Instant at) { return latest = std::max(latest, Time(at - began)); }

  [[nodiscard]] bool done() const { return std::holds_alternative<Done>(session.step()); }
  // A turn has ended, and another may follow.
  [[nodiscard]] bool stays() const {
    const Step step = session.step();
    const auto* done = std::get_if<Done>(&step);
    return open && done != nullptr && done->reason != FinishReason::error &&
           done->reason != FinishReason::context_full;
  }
};

}  // namespace asynclm
