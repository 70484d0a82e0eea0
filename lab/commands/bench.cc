// SPDX-License-Identifier: Apache-2.0
// asynclm-lab bench: measurements that anybody can repeat.
#include <iostream>

#include <CLI/CLI.hpp>

#include "commands/bench_commands.h"
#include "commands/commands.h"

namespace asynclm {

int complain_bench(std::string_view bench, const Error& error) {
  std::cerr << "asynclm-lab bench " << bench << ": " << error.message << '\n';
  return kExitUsage;
}

void add_bench_command(CLI::App& app, int& exit_code) {
  CLI::App* bench = app.add_subcommand("bench", "Measurements that anybody can repeat");
  bench->require_subcommand(1);
  add_bench_batch(*bench, exit_code);
  add_bench_bfcl(*bench, exit_code);
  add_bench_policies(*bench, exit_code);
  add_bench_load(*bench, exit_code);
  add_bench_monitor(*bench, exit_code);
  add_bench_traps(*bench, exit_code);
}

}  // namespace asynclm
