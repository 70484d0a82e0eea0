// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch.h"

#include <numeric>

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

}  // namespace
}  // namespace asynclm
