// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <asynclm/error.h>

#include "models/pull_events.h"

namespace asynclm {

struct ChildProgram {
  std::vector<std::string> arguments = {};  // the first one: the program, found in PATH
  std::filesystem::path folder = {};        // to run in
  std::vector<std::pair<std::string, std::string>> environment = {};  // added to ours
};

struct ChildEnd {
  int exit_code = 0;        // as a shell has it: 128 and the signal
  std::string output = {};  // the end of what it wrote, both streams
};

// Runs it to its end, without a shell and without input. `on_tick` is called every
// PullWatch::kTick. Where the pull is stopped, or this process dies, the program is ended too.
// Errors: not_found (no such program), stopped.
[[nodiscard]] Result<ChildEnd> run_child(const ChildProgram& program, PullWatch& watch,
                                         const std::function<void()>& on_tick);

}  // namespace asynclm
