// SPDX-License-Identifier: Apache-2.0
#include "cli/pull_display.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace asynclm {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const PullProgress kHalf{.stage = PullStage::downloading,
                         .file = "",
                         .done = 500'000'000,
                         .total = 1'000'000'000,
                         .bytes_per_second = 10'000'000};

TEST(PullLine, WideTerminals) {
  const std::string line = pull_line(kHalf, "model", 100);
  EXPECT_THAT(line, HasSubstr("model  [####"));
  EXPECT_THAT(line, HasSubstr("50 %  500 MB of 1.00 GB  10.0 MB/s  50 s left"));
}

TEST(PullLine, NarrowTerminalsKeepWhatMatters) {
  for (int columns = 0; columns < 120; ++columns) {
    EXPECT_LE(pull_line(kHalf, "a-model-with-a-name", columns).size(),
              static_cast<std::size_t>(columns) + 2);  // the sign of a cut has three bytes
  }
  EXPECT_EQ(pull_line(kHalf, "model", 5), " 50 %");
  EXPECT_THAT(pull_line(kHalf, "model", 30), Not(HasSubstr("[")));
}

TEST(PullLine, OtherStages) {
  EXPECT_EQ(pull_line({.stage = PullStage::asking}, "m", 80), "m  asking the server");
  EXPECT_EQ(pull_line({.stage = PullStage::downloading, .done = 1000}, "m", 80), "m  1.00 kB");
}

}  // namespace
}  // namespace asynclm
