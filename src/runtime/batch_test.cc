// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch.h"

#include <numeric>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace asynclm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::size_t> share(const std::vector<std::size_t>& needs, std::size_t budget,
                               std::size_t first = 0) {
  std::vector<std::size_t> shares = {99};
  share_batch(needs, budget, first, shares);
  return shares;
}

TEST(ShareBatch, Nobody) { EXPECT_THAT(share({}, 10), IsEmpty()); }

TEST(ShareBatch, WhatFitsIsServedWhole) { EXPECT_THAT(share({3, 1, 6}, 10), ElementsAre(3, 1, 6)); }

TEST(ShareBatch, ALongPromptIsCut) { EXPECT_THAT(share({1000}, 512), ElementsAre(512)); }

TEST(ShareBatch, ShortNeedsComeBeforeLongPrompts) {
  EXPECT_THAT(share({1000, 1, 20, 1}, 512), ElementsAre(490, 1, 20, 1));
}

TEST(ShareBatch, LongPromptsShareTheRest) {
  EXPECT_THAT(share({1000, 1, 1000}, 101), ElementsAre(50, 1, 50));
  EXPECT_THAT(share({1000, 30, 1000}, 101), ElementsAre(35, 30, 36));
}

TEST(ShareBatch, MoreSessionsThanTokensTakeTurns) {
  EXPECT_THAT(share({1, 1, 5, 1}, 2, 0), ElementsAre(1, 1, 0, 0));
  EXPECT_THAT(share({1, 1, 5, 1}, 2, 2), ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(share({1, 1, 5, 1}, 2, 3), ElementsAre(1, 0, 0, 1));
}

TEST(ShareBatch, NeverMoreThanNeededOrThanFits) {
  for (std::size_t budget = 1; budget < 40; ++budget) {
    for (std::size_t first = 0; first < 4; ++first) {
      const std::vector<std::size_t> needs = {7, 1, 30, 2};
      const std::vector<std::size_t> shares = share(needs, budget, first);
      std::size_t sum = 0;
      for (std::size_t i = 0; i < needs.size(); ++i) {
        EXPECT_LE(shares[i], needs[i]);
        sum += shares[i];
      }
      EXPECT_EQ(sum, std::min<std::size_t>(budget, 40));
    }
  }
}

TEST(ShareBatch, WhoWantsNothingTakesNoTurn) {
  EXPECT_THAT(share({1, 1, 1, 0, 0}, 2, 3), ElementsAre(1, 1, 0, 0, 0));
}

// 1 ms a token.
CostModel a_millisecond_a_token() {
  CostModel costs(512);
  for (int i = 0; i < 50; ++i) {
    DecodeWork work;
    work.add(1 + static_cast<std::size_t>(i) * 10, 0);
    costs.decoded(work, from_ms(work.tokens));
  }
  return costs;
}

constexpr BatchNeed kWriter{.tokens = 1, .depth = 100, .writes = true};

std::vector<std::size_t> shared(const std::vector<BatchNeed>& needs, double max_gap_ms,
                                std::size_t budget = 512) {
  BatchSharer sharer;
  const auto shares = sharer.share(needs, budget, from_ms(max_gap_ms), a_millisecond_a_token());
  return {shares.begin(), shares.end()};
}

TEST(BatchSharer, PromptsKeepTheGapOfThoseWhoWriteBounded) {
  const auto shares = shared({kWriter, {.tokens = 1000}, kWriter}, 100);
  EXPECT_EQ(shares[0], 1U);
  EXPECT_EQ(shares[2], 1U);
  EXPECT_NEAR(static_cast<double>(shares[1]), 98, 8);
}

TEST(BatchSharer, PromptsAmongThemselvesFillTheBatch) {
  EXPECT_THAT(shared({{.tokens = 1000}, {.tokens = 1000}}, 10), ElementsAre(256, 256));
}

TEST(BatchSharer, HoweverTightTheBoundPromptsGoOn) {
  EXPECT_THAT(shared({kWriter, {.tokens = 1000}}, 0.5), ElementsAre(1, 16));
}

TEST(BatchSharer, PriorityComesFirstAndNobodyStandsStill) {
  const std::vector<BatchNeed> needs = {{.tokens = 1000},
                                        {.tokens = 300, .priority = 2},
                                        {.tokens = 1000, .priority = 1},
                                        {.tokens = 1000}};
  EXPECT_THAT(shared(needs, 100), ElementsAre(1, 300, 210, 1));
  // With those who write: what is left of the gap.
  EXPECT_THAT(shared({{.tokens = 400}, kWriter, {.tokens = 400, .priority = 1}}, 0.5),
              ElementsAre(1, 1, 15));
}

TEST(BatchSharer, MoreSessionsThanTokensTakeTurns) {
  BatchSharer sharer;
  const CostModel costs = a_millisecond_a_token();
  const std::vector<BatchNeed> needs = {kWriter, kWriter, {.tokens = 5}, {.tokens = 5}, kWriter};
  std::vector<std::size_t> sums(needs.size());
  for (int turn = 0; turn < 50; ++turn) {
    const auto shares = sharer.share(needs, 2, from_ms(10), costs);
    EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), std::size_t{0}), 2U);
    for (std::size_t i = 0; i < needs.size(); ++i) sums[i] += shares[i];
  }
  for (const std::size_t sum : sums) EXPECT_GE(sum, 8U);
}

}  // namespace
}  // namespace asynclm
