// SPDX-License-Identifier: Apache-2.0
#include "cli/program.h"

#include <exception>
#include <iostream>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/llama_library.h"

namespace asynclm {
namespace {

std::string version() {
  const Result<std::string> library = start_llama_library();
  return "asynclm " ASYNCLM_VERSION "\n" + (library ? *library : library.error().message);
}

int run(CLI::App& app, std::initializer_list<AddCommand> commands, int argc, char** argv) {
  int exit_code = kExitOk;
  app.set_version_flag("--version", version, "Print the versions of asynclm, libllama and ggml");
  app.require_subcommand(1);
  for (const AddCommand add : commands) add(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked = app.exit(error) == 0;  // --help, --version
    exit_code = asked ? kExitOk : kExitUsage;
  }
  if (!std::cout.flush()) {
    std::cerr << app.get_name() << ": writing to standard output failed\n";
    return exit_code == kExitOk ? kExitFailed : exit_code;
  }
  return exit_code;
}

}  // namespace

int run_program(const char* name, const char* description,
                std::initializer_list<AddCommand> commands, int argc, char** argv) {
  try {
    CLI::App app(description, name);
    return run(app, commands, argc, argv);
  } catch (const std::exception& error) {
    std::cerr << name << ": " << error.what() << '\n';
    return kExitFailed;
  }
}

}  // namespace asynclm
