// SPDX-License-Identifier: Apache-2.0
// The subcommands of asynclm-lab: each adds itself to the program and sets the exit code when it
// ran.
#pragma once

#include "cli/program.h"

namespace asynclm {

void add_dataset_command(CLI::App& app, int& exit_code);
void add_eval_command(CLI::App& app, int& exit_code);
void add_make_model_command(CLI::App& app, int& exit_code);
void add_bench_command(CLI::App& app, int& exit_code);
void add_dialect_check_command(CLI::App& app, int& exit_code);
void add_requests_command(CLI::App& app, int& exit_code);

}  // namespace asynclm
