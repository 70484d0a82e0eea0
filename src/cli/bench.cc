// SPDX-License-Identifier: Apache-2.0
// asynclm bench: measurements that anybody can repeat.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iostream>

#include <CLI/CLI.hpp>

#include "cli/bench_commands.h"
#include "cli/commands.h"

namespace asynclm {

double milliseconds(Time time) { return std::chrono::duration<double, std::milli>(time).count(); }

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

int complain_bench(std::string_view bench, const Error& error) {
  std::cerr << "asynclm bench " << bench << ": " << error.message << '\n';
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
