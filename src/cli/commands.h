// SPDX-License-Identifier: Apache-2.0
// The subcommands of asynclm: each adds itself to the program and sets the exit code when it ran.
#pragma once

#include "cli/program.h"

namespace asynclm {

void add_run_command(CLI::App& app, int& exit_code);
void add_chat_command(CLI::App& app, int& exit_code);
void add_models_command(CLI::App& app, int& exit_code);
void add_replay_command(CLI::App& app, int& exit_code);

}  // namespace asynclm
