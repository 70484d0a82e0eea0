// SPDX-License-Identifier: Apache-2.0
// Recorded calls as a command's input.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <asynclm/error.h>

#include "oracle/traces.h"

namespace asynclm {

struct TraceOptions {
  std::vector<std::string> files;
  std::string only, without;

  // Returns --traces, for other options to exclude.
  CLI::Option* add_to(CLI::App& command);
  // Not empty: invalid_argument where no trace with a call is left.
  [[nodiscard]] Result<std::vector<Trace>> read() const;
};

}  // namespace asynclm
