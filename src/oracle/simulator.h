// SPDX-License-Identifier: Apache-2.0
// Runs one session on a virtual clock: any engine (fake or real), tools that take simulated time.
#pragma once

#include <functional>
#include <optional>
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
  Time per_appended_token = from_ms(0.1);  // each token beyond one: prompts, interrupts, drafts
};

// What lies between the model and those who run its calls. As it is by default: nothing, results
// are appended to the sequence as they come.
struct Serving {
  // Whatever is delivered to the model goes with a new request that has the whole context. It takes
  // so long besides its tokens,
  Time per_request{};
  // and what the request before it had computed is kept; else all is computed again.
  bool keeps_cache = true;
  // Results are handed in only while the model waits, when the last of them is there.
  bool all_at_once = false;
};

struct SimulationOptions {
  SimulationCosts costs;
  // The clock moves by what the engine and the session really take, and not by `costs`; only the
  // tools' times are simulated.
  bool measured = false;
  Serving serving = {};
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

// One decode step.
struct SimulatedStep {
  Time begun{}, took{};
  bool is_new_request = false;   // it took in what was delivered
  std::optional<CallKey> wrote;  // the call whose block it closed
  bool paused = false;           // the model waits behind it
};

struct SimulationReport {
  Time end{};                         // virtual time when the session was done
  std::vector<std::int32_t> sampled;  // positions in the context that the model wrote
  std::vector<SimulatedStep> steps;
  std::size_t said = 0;  // interrupts that came before the end
};

// Runs until the session is done, from virtual time `start`; interrupts (in order of time) that
// come later are dropped. The engine's sequence must hold a beginning of the session's context,
// the first step appends what it lacks. `tool` is asked once for each dispatched call. `observer`
// (may be empty) sees each event.
[[nodiscard]] Result<SimulationReport> simulate(
    Session& session, Engine& engine, SequenceId sequence, Time start, const SimulationOptions& how,
    const std::function<SimulatedReturn(CallKey, const CallRecord&)>& tool,
    const std::function<void(const Event&)>& observer = {},
    std::span<const SimulatedInterrupt> interrupts = {});

}  // namespace asynclm
