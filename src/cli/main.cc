// SPDX-License-Identifier: Apache-2.0
#include <exception>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "engine/llama_library.h"

namespace {

std::string version() {
  const asynclm::Result<std::string> library = asynclm::start_llama_library();
  return "asynclm " ASYNCLM_VERSION "\n" + (library ? *library : library.error().message);
}

int run(int argc, char** argv) {
  int exit_code = asynclm::kExitOk;
  CLI::App app("Language models whose function calls never block them", "asynclm");
  app.set_version_flag("--version", version, "Print the versions of asynclm, libllama and ggml");
  app.require_subcommand(1);
  asynclm::add_run_command(app, exit_code);
  asynclm::add_chat_command(app, exit_code);
  asynclm::add_replay_command(app, exit_code);
  asynclm::add_dataset_command(app, exit_code);
  asynclm::add_eval_command(app, exit_code);
  asynclm::add_make_model_command(app, exit_code);
  asynclm::add_bench_command(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked = app.exit(error) == 0;  // --help, --version
    exit_code = asked ? asynclm::kExitOk : asynclm::kExitUsage;
  }
  if (!std::cout.flush()) {
    std::cerr << "asynclm: writing to standard output failed\n";
    return exit_code == asynclm::kExitOk ? asynclm::kExitFailed : exit_code;
  }
  return exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "asynclm: " << error.what() << '\n';
    return asynclm::kExitFailed;
  }
}
