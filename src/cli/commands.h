// SPDX-License-Identifier: Apache-2.0
// The subcommands of asynclm: each adds itself to the program and sets the exit code when it ran.
#pragma once

namespace CLI {
class App;
}

namespace asynclm {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // the task failed
inline constexpr int kExitUsage = 2;   // wrong flags, unreadable input, unwritable output

void add_run_command(CLI::App& app, int& exit_code);
void add_chat_command(CLI::App& app, int& exit_code);
void add_replay_command(CLI::App& app, int& exit_code);
void add_dataset_command(CLI::App& app, int& exit_code);
void add_eval_command(CLI::App& app, int& exit_code);
void add_make_model_command(CLI::App& app, int& exit_code);
void add_bench_command(CLI::App& app, int& exit_code);

}  // namespace asynclm
