// SPDX-License-Identifier: Apache-2.0
// Accuracy of a model on tasks whose solution is known: real decoding, real Session, virtual tool
// times, so that a run is fast and repeatable.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/session.h>

#include "oracle/simulator.h"
#include "oracle/task.h"

namespace asynclm {

// One token takes 10 ms: between the tools' times, so that interrupts land in mid-generation.
inline constexpr SimulationCosts kEvaluationCosts{.per_token = from_ms(10),
                                                  .per_appended_token = from_ms(0.2)};

// What is wrong with a run: the first that holds.
enum class Failure : std::uint8_t {
  unfinished,  // ended by a limit, or stalled
  argument,    // a call with other arguments than one that was to be made and was not
  tool,        // a call of another tool in place of one
  missing,     // a call was not made
  extra,       // a call too many
  early,       // a call before what it needs
  answer,      // all calls right, what was written is not
};
inline constexpr std::array<std::string_view, 7> kFailures = {
    "unfinished", "argument", "tool", "missing", "extra", "early", "answer"};

// Sums over runs (one run = one task in one mode, at one timing).
struct Score {
  std::int64_t runs = 0;
  std::int64_t runs_right = 0;   // every call right, none extra, order kept, answer right, stopped
  std::int64_t calls = 0;        // expected, plus those that should not have been made
  std::int64_t calls_right = 0;  // name and arguments are an expected call's (oracle/accept.h)
  // made, but not expected: wrong name or value, made twice, or after the user had withdrawn it
  std::int64_t calls_extra = 0;
  std::int64_t refused = 0;   // of those: malformed, unknown function or invalid arguments
  std::int64_t not_run = 0;   // left to the session (async+), which could not run them
  std::int64_t repeated = 0;  // of those: an earlier call of the task once more
  std::int64_t early = 0;     // of the right ones: made before one that they come after
  // Results that were used before they came: calls with something else in the place of one, and
  // lines of the answer that report on a call of which the model had not been told
  std::int64_t invented = 0;
  // Lines that tell a result before all are there, of tasks whose results the user wants together
  std::int64_t untimely = 0;
  // Of the model, and stops while calls were open; not in mode sync, where every call is a trap
  std::int64_t traps = 0;
  std::int64_t traps_right = 0;    // … while no call could be made, and not a stop
  std::int64_t forged = 0;         // interrupts in the context that the runtime did not write
  std::int64_t answers_right = 0;  // exactly the expected lines, in any order, none untimely
  std::int64_t stopped = 0;        // finish reason stop
  std::int64_t choices = 0;        // calls made where more than one was callable
  std::int64_t choices_right = 0;  // … and it was one with the longest estimate
  std::array<std::int64_t, kFailures.size()> failures{};  // runs by Failure
  Score& operator+=(const Score& other);
};

struct EvaluationOptions {
  std::string stand_in = "ok";  // what calls without a recorded result return
  SessionConfig config = {};    // the limit of the context is the engine's
  SamplingParams sampling = {};
  std::ptrdiff_t turns = 1;  // so many tasks of a conversation, at least one
};

// Of one task.
struct EvaluatedRun {
  Score score;
  std::string transcript;  // for people: verdict, context of this turn, what was expected
};

// The tasks of one conversation, each in the context that those before it have left, up to the
// first of which not all that the user says fits into it. limit_exceeded: that is the very first.
[[nodiscard]] Result<std::vector<EvaluatedRun>> evaluate(Engine& engine, TaskSequence sequence,
                                                         const EvaluationOptions& options);

}  // namespace asynclm
