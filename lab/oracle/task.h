// SPDX-License-Identifier: Apache-2.0
// A task with its solution: what the user says, and the calls that answer it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/protocol.h>
#include <asynclm/types.h>

namespace asynclm {

struct TaskArgument {
  std::string name;
  Json value;                       // null: the result of `from`
  std::optional<std::size_t> from;  // the call of the task whose result is or has the value
  std::string path = {};            // where in that result: ".a[0]"; empty: all of it
};

// What a tool tells while it runs.
struct ResultPart {
  Time at{};  // from when the call began to run
  std::string text;
};

struct TaskCall {
  std::string tool;  // empty: no tool does what the user asks for
  std::vector<TaskArgument> arguments;
  std::vector<std::size_t> after = {};  // earlier calls that must have returned, besides `from`
  // Of these, those whose result has to be known to write this call: an argument is made of it in a
  // way that no path says.
  std::vector<std::size_t> reads = {};
  std::vector<ResultPart> parts = {};  // in order of time; a model of async+ is told of them
  CallResult result;                   // what the tool will return
  Time duration{};                     // and when: the model knows the tool's estimate only
  // A call that the session rejects, written before the right one; empty: none. Nobody is to learn
  // to write it, but how to go on after it.
  std::string mistake = {};
  // What the call gets its id from: a name of what the user asks for. Empty: a, b, c, …
  std::string label = {};
  Json accept = {};  // not null: all values that are right (oracle/accept.h)
  std::optional<std::size_t> retry_of = {};  // to be made only if that call fails
  // The interruption that asks for the call, or withdraws it.
  std::optional<std::size_t> asked_by = {}, withdrawn_by = {};
};

// What the user says while the model is at work.
struct Interruption {
  Time at{};  // from the task's beginning; never said if the model has stopped by then
  std::string text;
};

struct Task {
  std::string user = {};             // the user's message
  std::vector<TaskCall> calls = {};  // in the order in which the user asks
  std::string say = {};   // text that the user wants written, needing no call; may be empty
  bool reports = true;    // whether the user wants to be told what the calls returned
  bool together = false;  // … not before all are there
  std::vector<std::size_t> first = {};  // … not before one of these calls' is there; empty: at once
  std::vector<Interruption> interruptions = {};  // in order of time
};

// A conversation of one or more tasks over one list of tools.
struct TaskSequence {
  std::vector<ToolSpec> tools;
  std::vector<Task> tasks;
};

}  // namespace asynclm
