// SPDX-License-Identifier: Apache-2.0
// A program of subcommands, as its user meets it: versions, help, exit codes.
#pragma once

#include <initializer_list>

namespace CLI {
class App;
}

namespace asynclm {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // the task failed
inline constexpr int kExitUsage = 2;   // wrong flags, unreadable input, unwritable output

// Adds a subcommand, which sets the exit code when it has run.
using AddCommand = void (*)(CLI::App& app, int& exit_code);

// Runs the subcommand that is asked for and returns the exit code. Throws nothing.
[[nodiscard]] int run_program(const char* name, const char* description,
                              std::initializer_list<AddCommand> commands, int argc, char** argv);

}  // namespace asynclm
