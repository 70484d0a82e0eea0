// SPDX-License-Identifier: Apache-2.0
#include "oracle/disarm.h"

#include <algorithm>
#include <regex>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/random.h"
#include "cml/markers.h"

namespace asynclm {
namespace {

TEST(Disarm, AddsADot) {
  EXPECT_EQ(disarm("see [END] and [..CALL]"), "see [.END] and [...CALL]");
  EXPECT_EQ(disarm("[[HEAD] [ENDE] [.x [..] [TRAP"), "[[.HEAD] [ENDE] [.x [..] [TRAP");
  EXPECT_EQ(disarm(""), "");
}

TEST(Disarm, IsReversibleAndLeavesNoMarker) {
  const std::string_view parts[] = {"[END]", "[.END]", "[CALL]", "[", "]", ".", "END", "[[", "x"};
  const std::regex disarmed(R"(\[\.(\.*(CALL|INTR|TRAP|END|HEAD)\]))");
  Random random(5);
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (int n = random.between(0, 8); n > 0; --n) text += random.pick(parts);
    const std::string out = disarm(text);
    ASSERT_TRUE(std::ranges::none_of(kMarkerSpellings, [&](std::string_view marker) {
      return out.contains(marker);
    })) << text;
    ASSERT_EQ(std::regex_replace(out, disarmed, "[$1"), text);
  }
}

}  // namespace
}  // namespace asynclm
