// SPDX-License-Identifier: Apache-2.0
#include "runtime/accounting.h"

#include <gtest/gtest.h>

namespace asynclm {
namespace {

using namespace std::chrono_literals;

TEST(Accounting, NothingHappened) {
  const auto totals = Accounting().totals(5ms);
  EXPECT_EQ(totals.generating, 0ms);
  EXPECT_EQ(totals.waiting, 0ms);
  EXPECT_EQ(totals.overlap, 0ms);
}

TEST(Accounting, OverlapIsTheDecodeTimeInWhichACallRan) {
  Accounting accounting;
  accounting.decoded(0ms, 10ms);
  accounting.decoded(12ms, 20ms);
  accounting.call_started(0, 5ms);
  accounting.call_ended(0, 15ms);
  const auto totals = accounting.totals(20ms);
  EXPECT_EQ(totals.generating, 18ms);
  EXPECT_EQ(totals.overlap, 8ms);  // 5 to 10 and 12 to 15
}

TEST(Accounting, CallsAtTheSameTimeCountOnce) {
  Accounting accounting;
  accounting.decoded(0ms, 100ms);
  accounting.call_started(1, 30ms);
  accounting.call_started(0, 10ms);
  accounting.call_ended(0, 40ms);
  accounting.call_ended(1, 50ms);
  accounting.call_started(2, 60ms);
  accounting.call_ended(2, 70ms);
  EXPECT_EQ(accounting.totals(100ms).overlap, 50ms);
}

TEST(Accounting, ACallThatStillRunsCountsUntilTheEnd) {
  Accounting accounting;
  accounting.decoded(0ms, 10ms);
  accounting.call_started(0, 4ms);
  EXPECT_EQ(accounting.totals(10ms).overlap, 6ms);
}

TEST(Accounting, OneCallOverManyDecodes) {
  Accounting accounting;
  accounting.call_started(0, 1ms);
  accounting.call_ended(0, 9ms);
  for (int i = 0; i < 10; ++i) accounting.decoded(i * 1ms, i * 1ms + 500us);
  EXPECT_EQ(accounting.totals(10ms).overlap, 4ms);
}

TEST(Accounting, WaitingIsFromIdleToBusy) {
  Accounting accounting;
  accounting.idle(2ms);
  accounting.idle(3ms);  // still idle, since 2 ms
  accounting.busy(7ms);
  accounting.busy(8ms);
  accounting.idle(10ms);
  EXPECT_EQ(accounting.totals(11ms).waiting, 6ms);
}

TEST(Accounting, RepeatedReportsOfACallChangeNothing) {
  Accounting accounting;
  accounting.decoded(0ms, 10ms);
  accounting.call_started(0, 2ms);
  accounting.call_started(0, 5ms);
  accounting.call_ended(0, 6ms);
  accounting.call_ended(0, 9ms);
  accounting.call_ended(7, 9ms);  // never started: cancelled in the queue
  EXPECT_EQ(accounting.totals(10ms).overlap, 4ms);
}

}  // namespace
}  // namespace asynclm
