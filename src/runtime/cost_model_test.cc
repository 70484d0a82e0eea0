// SPDX-License-Identifier: Apache-2.0
#include "runtime/cost_model.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "runtime/measure_costs.h"
#include "runtime/residency_policy.h"
#include "runtime/test_engine.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;

// 2 ms a call, 100 µs a token, 50 ns for each token that a token attends to.
Time true_cost(const DecodeWork& work) {
  return from_ms(2 + 0.1 * work.tokens + 5e-5 * work.attended);
}

CostModel learned(int calls = 200) {
  CostModel costs(512);
  Random random(1);
  for (int i = 0; i < calls; ++i) {
    DecodeWork work;
    work.add(random.chance(0.8) ? 1 + random.below(8) : 1 + random.below(512), random.below(2000));
    costs.decoded(work, true_cost(work) * (95 + static_cast<int>(random.below(11))) / 100);
  }
  return costs;
}

TEST(CostModel, LearnsWhatADecodeCallCosts) {
  const CostModel costs = learned();
  for (const std::size_t tokens : {1U, 8U, 64U, 512U}) {
    for (const std::size_t depth : {0U, 500U, 2000U}) {
      DecodeWork work;
      work.add(tokens, depth);
      EXPECT_NEAR(to_ms(costs.decode(work)), to_ms(true_cost(work)), 0.15 * to_ms(true_cost(work)))
          << tokens << " behind " << depth;
    }
  }
}

TEST(CostModel, TheFirstCallsAreEnoughToBound) {
  CostModel costs(512);
  EXPECT_FALSE(costs.knows_decode());
  EXPECT_EQ(costs.tokens_within(50ms, {}, 0), 512U);
  DecodeWork work;
  work.add(500, 0);
  costs.decoded(work, 500ms);
  EXPECT_TRUE(costs.knows_decode());
  EXPECT_NEAR(static_cast<double>(costs.tokens_within(50ms, {}, 0)), 50, 10);
}

TEST(CostModel, TokensWithinALimitTakeThatLong) {
  const CostModel costs = learned();
  DecodeWork others;
  for (int i = 0; i < 10; ++i) others.add(1, 300);
  for (const std::size_t depth : {0U, 1000U, 3000U}) {
    const std::size_t tokens = costs.tokens_within(20ms, others, depth);
    DecodeWork both = others;
    both.add(tokens, depth);
    EXPECT_LE(costs.decode(both), 20ms + 1us);
    both = others;
    both.add(tokens + 2, depth);
    EXPECT_GE(costs.decode(both), 20ms);
  }
  EXPECT_EQ(costs.tokens_within(1ms, others, 0), 0U);
}

TEST(CostModel, ThousandsOfSingleTokensDoNotMakeItForgetPrompts) {
  CostModel costs = learned();
  const Time before = costs.recompute(1500);
  Random random(2);
  for (int i = 0; i < 20'000; ++i) {
    DecodeWork work;
    work.add(1, random.below(200));
    costs.decoded(work, true_cost(work));
  }
  EXPECT_NEAR(to_ms(costs.recompute(1500)), to_ms(before), 0.2 * to_ms(before));
}

TEST(CostModel, RecomputingGrowsFasterThanTheContext) {
  const CostModel costs = learned();
  EXPECT_GT(costs.recompute(4000), 4 * costs.recompute(1000));
}

TEST(CostModel, MovesFollowTheLastOnes) {
  CostModel costs(512);
  for (int i = 0; i < 50; ++i) costs.moved(Move::to_host, 1'000'000, 1ms);
  EXPECT_NEAR(to_ms(costs.move(Move::to_host, 10'000'000)), 10, 0.1);
  for (int i = 0; i < 50; ++i) costs.moved(Move::to_host, 1'000'000, 3ms);
  EXPECT_NEAR(to_ms(costs.move(Move::to_host, 10'000'000)), 30, 0.5);
  costs.saved(1000, 3'000'000);
  EXPECT_NEAR(static_cast<double>(costs.bytes(100)), 300'000, 3'000);
}

TEST(CostModel, NonsenseIsIgnored) {
  CostModel costs(512);
  costs.decoded({}, 1ms);
  DecodeWork work;
  work.add(1, 0);
  costs.decoded(work, Time{});
  EXPECT_FALSE(costs.knows_decode());
  EXPECT_EQ(costs.decode(work), Time{});
}

TEST(MeasureCosts, OnTheFakeEngine) {
  VirtualClock clock;
  FakeEngine engine(test_vocabulary(), {.clock = &clock, .per_call = 2ms, .per_token = 100us});
  CostModel costs(4096);
  ASSERT_TRUE(measure_costs(engine, clock, 250ms, costs));
  EXPECT_LT(clock.now(), 300ms);
  EXPECT_NEAR(to_ms(costs.recompute(1000)), 102, 15);
  EXPECT_EQ(engine.length(0), -1) << "the sequence was not dropped";
}

// --- The policies -----------------------------------------------------------------------------

CostModel swapping(double seconds_per_gigabyte) {
  CostModel costs = learned();
  costs.saved(100'000, 300'000'000);  // 3 kB a token
  const Time took = from_ms(1000 * seconds_per_gigabyte);
  for (int i = 0; i < 50; ++i) {
    costs.moved(Move::to_host, 1'000'000'000, took);
    costs.moved(Move::from_host, 1'000'000'000, took);
  }
  return costs;
}

TEST(ResidencyPolicy, ThePapersMap) {
  // 1000 tokens: 3 MB, 3 ms out and in; about 130 ms to recompute.
  const CostModel quick = swapping(0.5);
  EXPECT_EQ(choice_at_trap(1000, 1ms, quick), Residency::resident);
  EXPECT_EQ(choice_at_trap(1000, 10ms, quick), Residency::host);
  EXPECT_EQ(choice_at_trap(1000, 10s, quick), Residency::host);
  // 600 ms out and in.
  const CostModel slow = swapping(100);
  EXPECT_EQ(choice_at_trap(1000, 100ms, slow), Residency::resident);
  EXPECT_EQ(choice_at_trap(1000, 200ms, slow), Residency::discarded);
  // The longer the context, the worse is recomputing: it is quadratic.
  EXPECT_EQ(choice_at_trap(30'000, 1h, slow), Residency::host);
}

TEST(ResidencyPolicy, TheCheapestWayOutThatHasRoom) {
  const CostModel costs = swapping(0.5);
  EXPECT_EQ(cheapest_eviction(1000, true, true, costs).to, Residency::host);
  EXPECT_EQ(cheapest_eviction(1000, false, true, costs).to, Residency::disk);
  const Eviction none = cheapest_eviction(1000, false, false, costs);
  EXPECT_EQ(none.to, Residency::discarded);
  EXPECT_EQ(none.cost, costs.recompute(1000));
  // A few tokens are computed sooner than they are moved.
  EXPECT_EQ(cheapest_eviction(10, true, true, swapping(100)).to, Residency::discarded);
}

TEST(ResidencyPolicy, TheVictimFreesTheMostForItsCost) {
  EXPECT_EQ(choose_victim(std::vector<Candidate>{{1, 100ms, 1ms}, {1, 900ms, 1ms}}, {}), 1U);
  EXPECT_EQ(choose_victim(std::vector<Candidate>{{1, 900ms, 9ms}, {1, 800ms, 1ms}}, {}), 1U);
  EXPECT_EQ(choose_victim(std::vector<Candidate>{{900, 90ms, 1ms}, {100, 100ms, 1ms}}, {}), 0U);
  EXPECT_FALSE(choose_victim({}, {}));
}

TEST(ResidencyPolicy, ShortWaitsStayUnlessSomebodyHasWaitedLonger) {
  const std::vector<Candidate> candidates{{1, 5ms, 20ms}};
  EXPECT_FALSE(choose_victim(candidates, {}));
  EXPECT_FALSE(choose_victim(candidates, 10ms));
  EXPECT_EQ(choose_victim(candidates, 15ms), 0U);
}

TEST(ResidencyPolicy, Names) {
  for (const char* name : {"keep", "at-trap", "on-demand"}) {
    EXPECT_EQ(to_string(parse_residency_policy(name).value()), name);
  }
  EXPECT_FALSE(parse_residency_policy("best"));
}

}  // namespace
}  // namespace asynclm
