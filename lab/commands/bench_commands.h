// SPDX-License-Identifier: Apache-2.0
// The benches: subcommands of asynclm-lab bench.
#pragma once

#include <string_view>

#include <asynclm/error.h>

#include "commands/commands.h"

namespace asynclm {

void add_bench_batch(CLI::App& bench, int& exit_code);
void add_bench_bfcl(CLI::App& bench, int& exit_code);
void add_bench_load(CLI::App& bench, int& exit_code);
void add_bench_monitor(CLI::App& bench, int& exit_code);
void add_bench_policies(CLI::App& bench, int& exit_code);
void add_bench_traps(CLI::App& bench, int& exit_code);

// Says what went wrong in which bench; the exit code.
[[nodiscard]] int complain_bench(std::string_view bench, const Error& error);

}  // namespace asynclm
