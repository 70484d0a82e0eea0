// SPDX-License-Identifier: Apache-2.0
#include "cli/stop_signals.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include <gtest/gtest.h>

namespace asynclm {
namespace {

TEST(StopSignals, TheFirstIsAWish) {
  const StopSignals signals;
  EXPECT_FALSE(signals.stop_wanted());
  raise(SIGINT);
  EXPECT_TRUE(signals.stop_wanted());
}

TEST(StopSignals, TerminateCountsToo) {
  const StopSignals signals;
  raise(SIGTERM);
  EXPECT_TRUE(signals.stop_wanted());
}

TEST(StopSignalsDeathTest, TheSecondEndsTheProcess) {
  EXPECT_EXIT(
      {
        const StopSignals signals;
        raise(SIGINT);
        raise(SIGINT);
      },
      testing::KilledBySignal(SIGINT), "");
}

TEST(StopSignals, AClosedPipeIsAnErrorOfWriting) {
  const StopSignals signals;
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  close(ends[0]);
  EXPECT_EQ(write(ends[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  close(ends[1]);
  EXPECT_FALSE(signals.stop_wanted());
}

TEST(StopSignalsDeathTest, AfterwardsSignalsAreWhatTheyWere) {
  EXPECT_EXIT(
      {
        {
          const StopSignals signals;
        }
        raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace asynclm
