// SPDX-License-Identifier: Apache-2.0
// The switches of constrained decoding, the same for every command that runs sessions.
#pragma once

#include <CLI/CLI.hpp>

#include <asynclm/session.h>

namespace asynclm {

struct ConstraintOptions {
  bool unconstrained = false, no_jump_forward = false, no_drafts = false;

  void add_to(CLI::App& command) {
    command.add_flag("--unconstrained", unconstrained,
                     "Let the model write calls that the tools do not allow (they are refused)");
    command.add_flag("--no-jump-forward", no_jump_forward,
                     "Sample every token of a call, also where only one is possible");
    command.add_flag("--no-drafts", no_drafts,
                     "Decode arguments token by token, also where they seem to be copied");
  }

  [[nodiscard]] SessionConfig config(Mode mode) const {
    SessionConfig out;
    out.mode = mode;
    out.constrained = !unconstrained;
    out.jump_forward = !unconstrained && !no_jump_forward;
    out.drafts = !unconstrained && !no_drafts;
    return out;
  }
};

}  // namespace asynclm
