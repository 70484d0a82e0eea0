// SPDX-License-Identifier: Apache-2.0
// The event log's reader: each line is a line of a log or an error that names it.
#include "cli/event_log.h"

#include <sstream>

#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace asynclm;
  std::istringstream in{std::string(fuzz::text_of(data, size))};
  EventLogReader reader(in, "log");
  while (true) {
    const auto line = reader.next();
    if (!line) fuzz::require(line.error().message.starts_with("log:"), "an error names its line");
    if (!line || !*line) return 0;
  }
}
