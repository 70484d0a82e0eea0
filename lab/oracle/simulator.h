// SPDX-License-Identifier: Apache-2.0
// Runs one session on a virtual clock: any engine (fake or real), tools that take simulated time.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/session.h>
#include <asynclm/types.h>

#include "oracle/task.h"

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
  // The clock is the machine's, and waits are slept.
  bool on_wall_clock = false;
  Serving serving = {};
};

struct SimulatedReturn {
  Time duration;
  CallResult result;
  std::vector<ResultPart> parts = {};
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
  bool is_new_request = false;   // it took in what was delivered,
  std::vector<CallKey> took_in;  // the results of these calls among it
  std::optional<CallKey> wrote;  // the call whose block it closed
  bool paused = false;           // the model waits behind it
};

struct SimulationReport {
  Time end{};                         // virtual time when the session was done
  std::vector<std::int32_t> sampled;  // positions in the context that the model wrote
  std::vector<SimulatedStep> steps;
  // When calls began to run: behind what the session does in the step that wrote them.
  std::vector<std::pair<CallKey, Time>> started;
  std::size_t said = 0;  // interrupts that came before the end
};

using SimulatedTool = std::function<SimulatedReturn(CallKey, const CallRecord&)>;
using EventObserver = std::function<void(const Event&)>;

// What is around a session while it runs, whatever writes its tokens: calls that run until their
// time has come, what the user says, and the record of it. `tool` is asked once for each dispatched
// call. `observer` (may be empty) sees each event. The session must outlive it.
class SimulatedWorld {
 public:
  SimulatedWorld(Session& session, Time start, const Serving& serving, SimulatedTool tool,
                 EventObserver observer, std::span<const SimulatedInterrupt> interrupts);

  // When something is handed in next; nothing: never.
  [[nodiscard]] std::optional<Time> next() const;
  // Hands in what is due. `waits`: the session's step was Wait.
  [[nodiscard]] Result<void> hand_in(Time now, bool waits);
  // Something was delivered that no decode step has taken in.
  [[nodiscard]] bool has_delivery() const { return has_delivery_; }
  // One decode step has ended, with which the session wrote `tokens` from this place in its context
  // on.
  void stepped(Time begun, Time now, std::size_t position, std::span<const Token> tokens);

  [[nodiscard]] SimulationReport report(Time end) &&;

 private:
  void act_on_events(Time now);
  void hand_in_parts(Time until, Time now);

  // Completion times of running calls; equal times in the order of the calls.
  using Agenda = std::map<std::pair<Time, CallKey>, CallResult>;

  Session* session_;
  Time start_;
  Serving serving_;
  SimulatedTool tool_;
  EventObserver observer_;
  std::span<const SimulatedInterrupt> interrupts_;
  Agenda agenda_;
  std::multimap<Time, std::pair<CallKey, std::string>> parts_;  // of results, by when they come
  bool has_delivery_ = false;
  std::vector<CallKey> delivered_;
  SimulationReport report_;
};

// Runs until the session is done, from virtual time `start`; interrupts (in order of time) that
// come later are dropped. The engine's sequence must hold a beginning of the session's context,
// the first step appends what it lacks. `tool` and `observer`: of the world around it.
[[nodiscard]] Result<SimulationReport> simulate(
    Session& session, Engine& engine, SequenceId sequence, Time start, const SimulationOptions& how,
    const SimulatedTool& tool, const EventObserver& observer = {},
    std::span<const SimulatedInterrupt> interrupts = {});

}  // namespace asynclm
