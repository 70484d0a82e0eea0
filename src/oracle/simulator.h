// SPDX-License-Identifier: Apache-2.0
// Runs one session on a virtual clock: any engine (fake or real), tools that take simulated time.
#pragma once

#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/session.h>
#include <asynclm/types.h>

namespace asynclm {

struct SimulationCosts {
  Time per_token = from_ms(10);            // one decode step
  Time per_appended_token = from_ms(0.1);  // prefill of prompts and interrupts
};

struct SimulatedReturn {
  Time duration;
  CallResult result;
};

// Text that interrupts the session, at a time from the simulation's start.
struct SimulatedInterrupt {
  Time at;
  std::string_view source, text;  // as for Session::interrupt
};

// The source, and so the id, of what the user says.
inline constexpr std::string_view kUserSource = "user";

struct SimulationReport {
  Time end{};                         // virtual time when the session was done
  std::vector<std::int32_t> sampled;  // positions in the context that the model wrote
};

// Runs until the session is done, from virtual time `start`; interrupts (in order of time) that
// come later are dropped. The engine's sequence must hold the session's context but for what the
// session has not fed yet. `tool` is asked once for each dispatched call. `observer` (may be empty)
// sees each event.
[[nodiscard]] Result<SimulationReport> simulate(
    Session& session, Engine& engine, SequenceId sequence, Time start, const SimulationCosts& costs,
    const std::function<SimulatedReturn(CallKey, const CallRecord&)>& tool,
    const std::function<void(const Event&)>& observer = {},
    std::span<const SimulatedInterrupt> interrupts = {});

}  // namespace asynclm
