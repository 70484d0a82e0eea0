// SPDX-License-Identifier: Apache-2.0
// What becomes of a trapped session's place in the engine (paper section 5.4). Pure decisions over
// the cost model: the trap handler carries them out.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include <asynclm/metrics.h>
#include <asynclm/runtime.h>

#include "runtime/cost_model.h"

namespace asynclm {

// The paper's, for one session by itself: with `tokens` in its context and `wait` still to come, if
// both recomputing and swapping take longer than the wait it stays, else the cheaper of the two.
[[nodiscard]] Residency choice_at_trap(std::size_t tokens, Time wait, const CostModel& costs);

// Where to, and what it costs to go there and to come back.
struct Eviction {
  Residency to = Residency::discarded;
  Time cost{};
};

// The cheapest there is. `host`, `disk`: whether these have room for it.
[[nodiscard]] Eviction cheapest_eviction(std::size_t tokens, bool host, bool disk,
                                         const CostModel& costs);

// A trapped session that could give up its place.
struct Candidate {
  double memory;  // what would be free: 1 where sequences are scarce, tokens where these are
  Time wait;      // expected, from now on
  Time cost;      // of its eviction
};

// Ours: the candidate whose going frees the most memory x time for what it costs, or none: one that
// is back sooner than it can be moved would only add latency. `pressure` is how long the session
// that wants the place has been waiting; who has waited longer than the move takes gets it all the
// same, so that nobody starves behind short waits.
[[nodiscard]] std::optional<std::size_t> choose_victim(std::span<const Candidate> candidates,
                                                       Time pressure);

// How long before the expected result to begin bringing back what takes `cost` to bring back. The
// double: a move waits for the decode call that is running, and expectations are rough.
[[nodiscard]] constexpr Time prefetch_lead(Time cost) { return 2 * cost; }

}  // namespace asynclm
