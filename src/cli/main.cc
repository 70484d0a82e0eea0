// SPDX-License-Identifier: Apache-2.0
#include "cli/commands.h"

int main(int argc, char** argv) {
  return asynclm::run_program("asynclm", "Language models whose function calls never block them",
                              {asynclm::add_run_command, asynclm::add_chat_command,
                               asynclm::add_models_command, asynclm::add_replay_command},
                              argc, argv);
}
