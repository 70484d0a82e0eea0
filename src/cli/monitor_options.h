// SPDX-License-Identifier: Apache-2.0
// The token monitor's switches, the same for every command that runs sessions.
#pragma once

#include <CLI/CLI.hpp>

#include <asynclm/session.h>

namespace asynclm {

struct MonitorOptions {
  bool unconstrained = false, no_fast_forward = false, no_drafts = false;

  void add_to(CLI::App& command) {
    command.add_flag("--unconstrained", unconstrained,
                     "Let the model write calls that the tools do not allow (they are refused)");
    command.add_flag("--no-fast-forward", no_fast_forward,
                     "Sample every token of a call, also where only one is possible");
    command.add_flag("--no-drafts", no_drafts,
                     "Decode arguments token by token, also where they seem to be copied");
  }

  [[nodiscard]] SessionConfig config(Mode mode) const {
    SessionConfig out;
    out.mode = mode;
    out.constrained = !unconstrained;
    out.fast_forward = !unconstrained && !no_fast_forward;
    out.drafts = !unconstrained && !no_drafts;
    return out;
  }
};

}  // namespace asynclm
