// SPDX-License-Identifier: Apache-2.0
// How runs are shown on standard output, by what it is.
#pragma once

#include <memory>

#include "cli/run_event.h"

namespace asynclm {

// Pictures on a terminal, lines elsewhere.
[[nodiscard]] std::unique_ptr<RunSink> make_presenter();

// Where to wrap what is printed besides; 0 if standard output is no terminal.
[[nodiscard]] int output_columns();

}  // namespace asynclm
