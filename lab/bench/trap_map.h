// SPDX-License-Identifier: Apache-2.0
// The trap handler's choice over context length and expected wait (the paper's figure 7): from what
// recomputing and swapping cost on an engine, and what each way really does at some points.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <functional>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/metrics.h>
#include <asynclm/types.h>

#include "base/clock.h"
#include "runtime/cost_model.h"

namespace asynclm::bench {

// Of a sequence of so many tokens; medians.
struct MeasuredCosts {
  std::size_t tokens = 0;
  std::size_t bytes = 0;  // saved
  Time recompute{}, to_host{}, from_host{};
};

// Computes, saves and restores sequences of these lengths, in growing order, as long as one
// computation should take no longer than `limit`; `costs` learns from all of it. Needs an engine
// with a free sequence.
[[nodiscard]] Result<std::vector<MeasuredCosts>> measure_trap_costs(
    Engine& engine, const Clock& clock, const std::vector<std::size_t>& lengths, Time limit,
    int repetitions, CostModel& costs);

// What a trapped sequence can do meanwhile, in the order of figure 7.
inline constexpr std::array<Residency, 3> kTrapWays = {Residency::resident, Residency::host,
                                                       Residency::discarded};

struct TrapTrial {
  Time added{};      // latency: from the result to the next token, less what it takes a kept one
  double freed = 0;  // share of the wait in which the engine had the sequence's memory free
};

struct TrapPoint {
  std::size_t tokens = 0;
  Time wait{};
  Residency chosen = Residency::resident;
  std::array<TrapTrial, 3> trials = {};  // by kTrapWays; medians
  // The way that freed most among those that added no latency worth the name: within a fifth of the
  // wait and kTrialNoise.
  Residency best = Residency::resident;
};

// What a single trial is uncertain by: a wake-up of the thread, an interrupt of the machine.
inline constexpr Time kTrialNoise = std::chrono::microseconds(100);

// Lets a sequence of `tokens` tokens wait for `wait` in each way. The way back begins as long
// before the end of the wait as `costs` expects it to take. `sleep_until` returns when the clock
// shows that time.
[[nodiscard]] Result<TrapPoint> try_trap(Engine& engine, const Clock& clock,
                                         const std::function<void(Time)>& sleep_until,
                                         std::size_t tokens, Time wait, int repetitions,
                                         const CostModel& costs);

// Three waits at which the ways differ most: shorter than either way takes, between the two, longer
// than both.
[[nodiscard]] std::array<Time, 3> telling_waits(std::size_t tokens, const CostModel& costs);

}  // namespace asynclm::bench
