// SPDX-License-Identifier: Apache-2.0
#include "cli/presenter.h"

#include <iostream>

#include "cli/live_display.h"
#include "cli/plain_printer.h"
#include "cli/terminal.h"

namespace asynclm {

std::unique_ptr<RunSink> make_presenter() {
  if (stdout_is_live_terminal()) return std::make_unique<LiveDisplay>(std::cout, colour_wanted());
  return std::make_unique<PlainPrinter>(std::cout);
}

int output_columns() { return stdout_is_live_terminal() ? terminal_size().columns : 0; }

}  // namespace asynclm
