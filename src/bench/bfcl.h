// SPDX-License-Identifier: Apache-2.0
// Reads the function-calling benchmark data that `--data` names, as JSON lines: single-turn sets
// {id, messages, functions[{name, description, parameters}], calls[{name, args}]}, and multi-step
// sets {id, user, classes_called, subtasks[{calls[{name, args, result}]}]}, whose functions are
// those of the classes in multi_turn_functions.json, {class: [function]}.
#pragma once

#include <string>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/tool.h>

namespace asynclm::bench {

struct Call {
  std::string tool;
  Json arguments;      // in the order of the tool's parameters
  std::string result;  // empty where the data have none
};

struct Sample {
  std::string id, user;
  std::vector<ToolSpec> tools;
  std::vector<Call> calls;  // the right ones
};

// FOLDER/SET.jsonl. Characters that a call cannot have in a name (the dot of "math.sum") become
// '_'. not_found names the file and where it comes from; invalid_argument names the line.
[[nodiscard]] Result<std::vector<Sample>> load_samples(const std::string& folder,
                                                       const std::string& set);

}  // namespace asynclm::bench
