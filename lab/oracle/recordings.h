// SPDX-License-Identifier: Apache-2.0
// Recorded function calls as tasks. A file has one JSON object a line, of one of these forms:
//
//   {id, messages: [{role, content}], functions, calls}                  one turn; of the messages,
//                                                                        those of the user
//   {id, involved_classes, turns: [{user: [text], calls}]}               several turns
//   {id, user, classes_called, subtasks: [{user, calls, sample}]}        tasks side by side
//
// with functions {name, description, parameters: JSON Schema} that may have `estimate_ms`, and
// calls {name, args} that may have `result` or, if they failed, `error` (texts), `class` and
// `accept` (oracle/accept.h), and declare what they depend on: `deps_state` and `deps_data`,
// indices of earlier calls of their list. Files beside it have the functions of the classes,
// multi_turn_functions.json {class: [function]}, and run times, function_times_ms.json
// {function: ms}. The Berkeley Function Calling Leaderboard (ShishirPatil/gorilla) is available in
// this form; its own files are read too (oracle/upstream_bfcl.h).
#pragma once

#include <string>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

#include "oracle/task.h"

namespace asynclm {

struct Recording {
  std::string id;
  TaskSequence sequence;  // one task a turn
  // The tasks side by side that its one task is made of, in the order of the calls.
  struct Part {
    std::string user;
    std::size_t calls = 0;
    std::string sample = {};  // the id of the recording that it was taken from; may be empty
  };
  std::vector<Part> parts = {};
};

// Characters that a call cannot have in a name (the dot of "math.sum") become '_'. Tools without a
// time have ToolSpec's default estimate, and their calls run for as long as is estimated.
//
// A call comes after the calls that it declares, and after those whose result has a value that it
// takes and that the user has not said: data flow, with the path, where the value is all of a
// result that is no JSON or of a leaf of one that is; where it declares a data flow that has no
// path, it cannot be written before it. Where no call of the file declares anything, it cannot be
// written either before results in whose text an argument or a part of one stands, or of which it
// has a value in its own text, and comes after the call before it of the same class that has not
// failed. A call like an earlier one that failed repeats it, and is to be made only then.
//
// not_found names the file and where it comes from; invalid_argument names the line.
[[nodiscard]] Result<std::vector<Recording>> load_recordings(const std::string& path);

// Leaves the functions that no call is of out of the prompt: for models of a short context.
void keep_called_tools(TaskSequence& sequence);

// A recorded call that its function refuses, and why; empty: there is none.
[[nodiscard]] std::string refused_call(const TaskSequence& sequence);

// What a call is given; its arguments all have values.
[[nodiscard]] Json arguments_of(const TaskCall& call);

}  // namespace asynclm
