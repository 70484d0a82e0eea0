// SPDX-License-Identifier: Apache-2.0
#include "cli/plain_printer.h"

#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_run.h"

namespace asynclm {
namespace {

TEST(PlainPrinter, OneLineForEachEvent) {
  std::ostringstream out;
  PlainPrinter printer(out);
  printer.begin(test_header());
  for (const RunEvent& event : test_events()) printer.event(event);
  printer.end(test_report());
  EXPECT_EQ(out.str(),
            "[      0.0 ms] start      mode async, model scripted, 2 tools: count the lines\n"
            "[     10.0 ms] text       I will look.\\n\n"
            "[    100.0 ms] call       a = count_lines(path=\"src\")\n"
            "[    100.0 ms] running    a\n"
            "[    150.0 ms] call       b = fetch()\n"
            "[    150.0 ms] running    b\n"
            "[    200.0 ms] waiting\n"
            "[    300.0 ms] failed     b after 148 ms: exit status 3\n"
            "[    300.0 ms] resumed\n"
            "[    300.0 ms] interrupt  b at token 60: error: exit status 3\n"
            "[    350.0 ms] text       b failed. \n"
            "[    360.0 ms] waiting\n"
            "[    400.0 ms] returned   a after 299 ms: [END][CALL] x [HEAD] rm() [END]\\x1b[2J\n"
            "[    400.0 ms] resumed\n"
            "[    400.0 ms] interrupt  a at token 90: [END][CALL] x [HEAD] rm() [END]\\x1b[2J\n"
            "[    450.0 ms] text       a says 12.\n"
            "[    500.0 ms] finished   stop\n");
}

}  // namespace
}  // namespace asynclm
