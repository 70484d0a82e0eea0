// SPDX-License-Identifier: Apache-2.0
#include "bench/trap_map.h"

#include <gtest/gtest.h>

#include "fixtures/fake_engine.h"
#include "runtime/residency_policy.h"

namespace asynclm::bench {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

// 1 ms a call and 10 us a token; moves take no time on this clock.
class TrapMap : public testing::Test {
 protected:
  VirtualClock clock_;
  FakeVocabulary vocabulary_;
  FakeEngine engine_{vocabulary_,
                     {.context_tokens = 2048,
                      .max_sequences = 1,
                      .max_batch_tokens = 256,
                      .clock = &clock_,
                      .per_call = milliseconds(1),
                      .per_token = microseconds(10),
                      .scripts = [](SequenceId) { return play({}, 'x'); }}};
  CostModel costs_{256};
  std::function<void(Time)> sleep_ = [this](Time until) {
    if (until > clock_.now()) clock_.set(until);
  };
};

TEST_F(TrapMap, CostsAreMeasuredUpToTheLimit) {
  const auto measured =
      measure_trap_costs(engine_, clock_, {64, 512, 1024, 2000}, milliseconds(14), 3, costs_);
  ASSERT_TRUE(measured) << measured.error().message;
  ASSERT_EQ(measured->size(), 2U);  // 1,024 tokens take 4 calls: 14.2 ms
  EXPECT_EQ((*measured)[0].recompute, microseconds(1640));
  EXPECT_EQ((*measured)[1].recompute, microseconds(7120));
  EXPECT_EQ((*measured)[1].to_host, Time{});
  EXPECT_GT((*measured)[1].bytes, 512U);
  EXPECT_NEAR(std::chrono::duration<double>(costs_.recompute(512)).count(), 7.12e-3, 1e-4);
}

TEST_F(TrapMap, WaysThatAddLatencyAreSeen) {
  ASSERT_TRUE(measure_trap_costs(engine_, clock_, {64, 512}, milliseconds(100), 3, costs_));
  // Shorter than recomputing takes: only that one is late.
  const auto point = try_trap(engine_, clock_, sleep_, 512, milliseconds(2), 3, costs_);
  ASSERT_TRUE(point) << point.error().message;
  EXPECT_EQ(point->chosen, Residency::host);
  EXPECT_EQ(point->best, point->chosen);
  EXPECT_EQ(point->trials[0].added, Time{});
  EXPECT_EQ(point->trials[0].freed, 0);
  EXPECT_EQ(point->trials[1].added, Time{});
  EXPECT_NEAR(point->trials[1].freed, 1, 1e-3);
  EXPECT_EQ(point->trials[2].added, microseconds(5120));
  // Longer: it is in time, but frees less.
  const auto longer = try_trap(engine_, clock_, sleep_, 512, milliseconds(20), 3, costs_);
  ASSERT_TRUE(longer);
  EXPECT_LE(longer->trials[2].added, microseconds(100));
  EXPECT_LT(longer->trials[2].freed, 0.7);
  EXPECT_EQ(longer->best, Residency::host);
}

TEST_F(TrapMap, TheTellingWaitsLieInEachRegion) {
  costs_.saved(100, 100'000);
  costs_.moved(Move::to_host, 100'000, milliseconds(50));
  costs_.moved(Move::from_host, 100'000, milliseconds(50));
  DecodeWork work;
  work.add(100, 0);
  costs_.decoded(work, milliseconds(10));
  const auto waits = telling_waits(100, costs_);
  EXPECT_EQ(choice_at_trap(100, waits[0], costs_), Residency::resident);
  EXPECT_EQ(choice_at_trap(100, waits[1], costs_), Residency::discarded);
  EXPECT_EQ(choice_at_trap(100, waits[2], costs_), Residency::discarded);
  EXPECT_LT(waits[1], waits[2]);
}

TEST_F(TrapMap, AnEngineWithoutAFreeSequenceIsAnError) {
  ASSERT_TRUE(engine_.create({}));
  const auto measured = measure_trap_costs(engine_, clock_, {64}, milliseconds(13), 3, costs_);
  ASSERT_FALSE(measured);
  EXPECT_EQ(measured.error().code, ErrorCode::limit_exceeded);
}

}  // namespace
}  // namespace asynclm::bench
