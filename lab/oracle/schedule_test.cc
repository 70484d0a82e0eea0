// SPDX-License-Identifier: Apache-2.0
#include "oracle/schedule.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace asynclm {
namespace {

PlannedCall call(double write_ms, double run_ms, std::vector<std::size_t> needs = {}) {
  return {from_ms(write_ms), from_ms(run_ms), std::move(needs)};
}

std::vector<PlannedCall> random_calls(Random& random, int count) {
  std::vector<PlannedCall> calls;
  for (int i = 0; i < count; ++i) {
    std::vector<std::size_t> needs;
    for (int need = 0; need < i; ++need) {
      if (random.chance(0.25)) needs.push_back(static_cast<std::size_t>(need));
    }
    calls.push_back(call(random.between(1, 20), random.between(0, 60), std::move(needs)));
  }
  return calls;
}

// Of all orders that keep what is needed before what needs it.
Time fastest_of_all(const std::vector<PlannedCall>& calls) {
  std::vector<std::size_t> order(calls.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  Time fastest = Time::max();
  do {
    const bool possible = std::ranges::all_of(order, [&](std::size_t i) {
      return std::ranges::all_of(calls[i].needs, [&](std::size_t need) {
        return std::ranges::find(order, need) < std::ranges::find(order, i);
      });
    });
    if (possible) fastest = std::min(fastest, makespan(calls, order));
  } while (std::ranges::next_permutation(order).found);
  return fastest;
}

TEST(Schedule, PathsAreOfTheLongestChain) {
  // 0 is needed by 1 and 2, 2 by 3.
  const std::vector<PlannedCall> calls = {call(1, 10), call(2, 5, {0}), call(3, 1, {0}),
                                          call(4, 7, {2})};
  EXPECT_EQ(remaining_paths(calls), (std::vector<Time>{from_ms(10 + 3 + 1 + 4 + 7), from_ms(5),
                                                       from_ms(1 + 4 + 7), from_ms(7)}));
}

TEST(Schedule, WhatNamesAnotherCallIsWrittenBeforeThatReturns) {
  // 1 names 0, and 2 names 1.
  std::vector<PlannedCall> calls = {call(10, 100), call(10, 100), call(10, 100)};
  calls[1].starts_after = {0};
  calls[2].starts_after = {1};
  EXPECT_EQ(remaining_paths(calls)[0], from_ms(300));
  EXPECT_EQ(makespan(calls, std::vector<std::size_t>{0, 1, 2}), from_ms(310));
  EXPECT_EQ(best_order(calls).makespan, from_ms(310));
  EXPECT_EQ(makespan_bound(calls), from_ms(310));
  // A short run before it: then the writing decides.
  calls[0].run = from_ms(1);
  EXPECT_EQ(makespan(calls, std::vector<std::size_t>{0, 1, 2}), from_ms(220));
  const std::vector<double> last_first = {2, 1, 0};
  EXPECT_EQ(order_by_rank(calls, last_first), (std::vector<std::size_t>{0, 1, 2}));
}

TEST(Schedule, WritingIsOneAfterAnotherAndRunningIsNot) {
  const std::vector<PlannedCall> calls = {call(10, 5), call(10, 100)};
  EXPECT_EQ(makespan(calls, std::vector<std::size_t>{0, 1}), from_ms(120));
  EXPECT_EQ(makespan(calls, std::vector<std::size_t>{1, 0}), from_ms(110));
  // The last cannot be written before the first has returned.
  const std::vector<PlannedCall> chain = {call(10, 50), call(10, 1, {0})};
  EXPECT_EQ(makespan(chain, std::vector<std::size_t>{0, 1}), from_ms(71));
}

TEST(Schedule, ByRankNeverWaitsWhileACallCanBeWritten) {
  // The call with the smallest rank cannot be written before 0 has returned, at 30.
  const std::vector<PlannedCall> calls = {call(10, 20), call(5, 0, {0}), call(5, 0), call(40, 0)};
  EXPECT_EQ(order_by_rank(calls, std::vector<double>{1, 0, 2, 3}),
            (std::vector<std::size_t>{0, 2, 3, 1}));
  // Equal ranks: by index.
  EXPECT_EQ(order_by_rank(calls, std::vector<double>{1, 1, 1, 1}),
            (std::vector<std::size_t>{0, 2, 3, 1}));
}

TEST(Schedule, TheBestOrderMayWait) {
  // Waiting 2 ms for the first result beats writing the long call before.
  const std::vector<PlannedCall> calls = {call(1, 2), call(1, 100, {0}), call(50, 0)};
  const BestOrder best = best_order(calls);
  EXPECT_EQ(best.order, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(best.makespan, from_ms(104));
  EXPECT_TRUE(best.is_proven);
}

TEST(Schedule, TheBestOrderIsTheFastestOfAll) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    Random random(seed);
    const auto calls = random_calls(random, random.between(0, 6));
    const BestOrder best = best_order(calls);
    ASSERT_TRUE(best.is_proven) << seed;
    ASSERT_EQ(best.makespan, calls.empty() ? Time{} : fastest_of_all(calls)) << seed;
    ASSERT_EQ(makespan(calls, best.order), best.makespan) << seed;
    ASSERT_LE(makespan_bound(calls), best.makespan) << seed;
  }
}

TEST(Schedule, OnlyResultsThatAreNeededHaveToBeTakenIn) {
  const std::vector<PlannedCall> chain = {call(10, 50), call(10, 1, {0}), call(10, 1)};
  const std::vector<Time> each(3, from_ms(7));
  // The last call is written while the first one runs.
  EXPECT_EQ(best_order(chain).makespan, from_ms(10 + 50 + 10 + 1));
  EXPECT_EQ(best_order(with_taking_in(chain, each)).makespan, from_ms(10 + 50 + 7 + 10 + 1));
  EXPECT_EQ(with_taking_in(chain, each).size(), 4U);
}

TEST(Schedule, AResultIsTakenInOnceAndWhileAnotherRuns) {
  std::vector<PlannedCall> calls = {call(1, 10), call(1, 100), call(5, 1, {0, 1}), call(5, 1, {0})};
  const std::vector<Time> taking_in = {from_ms(20), from_ms(30), {}, {}};
  // The second call comes first. The result of the other, and the call that needs it alone, fit
  // into its run.
  EXPECT_EQ(best_order(with_taking_in(calls, taking_in)).makespan, from_ms(1 + 100 + 30 + 5 + 1));
  // A call that names another one is left to start by itself.
  calls[2].starts_after = std::exchange(calls[2].needs, {});
  EXPECT_EQ(best_order(with_taking_in(calls, taking_in)).makespan, best_order(calls).makespan);
}

TEST(Schedule, TakingInMakesNoOrderFaster) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Random random(seed);
    const auto calls = random_calls(random, random.between(1, 6));
    const std::vector<Time> none(calls.size()), some(calls.size(), from_ms(random.between(1, 20)));
    const Time plain = best_order(calls).makespan;
    ASSERT_EQ(best_order(with_taking_in(calls, none)).makespan, plain) << seed;
    ASSERT_GE(best_order(with_taking_in(calls, some)).makespan, plain) << seed;
  }
}

TEST(Schedule, TwelveCallsAreFewEnough) {
  int proven = 0;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Random random(seed);
    const auto calls = random_calls(random, 12);
    const BestOrder best = best_order(calls);
    proven += best.is_proven ? 1 : 0;
    EXPECT_GE(best.makespan, makespan_bound(calls));
  }
  EXPECT_GE(proven, 45);
}

TEST(Schedule, ASearchThatIsCutSaysSoAndKeepsTheOrderItBeganWith) {
  const std::vector<PlannedCall> calls = {call(1, 2), call(1, 100, {0}), call(50, 0)};
  const BestOrder cut = best_order(calls, 1);
  EXPECT_FALSE(cut.is_proven);
  EXPECT_EQ(cut.order, (std::vector<std::size_t>{0, 2, 1}));  // of the longest path, never waiting
  EXPECT_EQ(cut.makespan, from_ms(152));
}

}  // namespace
}  // namespace asynclm
