// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>

#include "cli/program.h"
#include "commands/commands.h"

int main(int argc, char** argv) {
  return asynclm::run_program("asynclm-lab", "What measures, teaches and simulates asynclm",
                              {asynclm::add_dataset_command, asynclm::add_eval_command,
                               asynclm::add_make_model_command, asynclm::add_bench_command,
                               asynclm::add_dialect_check_command, asynclm::add_requests_command},
                              argc, argv);
}
