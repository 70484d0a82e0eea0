// SPDX-License-Identifier: Apache-2.0
#include "runtime/draft_policy.h"

#include <gtest/gtest.h>

namespace asynclm {
namespace {

// Calls of 1 to 8 tokens that take `base` + `each` * tokens.
void feed(DraftPolicy& policy, double base_ms, double each_ms) {
  for (int round = 0; round < 20; ++round) {
    for (std::size_t tokens = 1; tokens <= 8; ++tokens) {
      policy.decoded(tokens, from_ms(base_ms + each_ms * static_cast<double>(tokens)));
    }
  }
}

TEST(DraftPolicy, BeginsWithDrafts) {
  DraftPolicy policy;
  EXPECT_EQ(policy.cost(), 0);
  EXPECT_GT(policy.limit(), 0U);
}

TEST(DraftPolicy, MeasuresTheCostOfAToken) {
  DraftPolicy policy;
  feed(policy, 9, 1);
  EXPECT_NEAR(policy.cost(), 0.1, 1e-9);
  policy.decoded(500, from_ms(1));  // a prompt says nothing about it
  EXPECT_NEAR(policy.cost(), 0.1, 1e-9);
}

TEST(DraftPolicy, CallsOfOneSizeTellNoCost) {
  DraftPolicy policy;
  for (int i = 0; i < 100; ++i) policy.decoded(1, from_ms(3));
  EXPECT_EQ(policy.cost(), 0);
}

TEST(DraftPolicy, WhatIsAcceptedMakesThemLonger) {
  DraftPolicy right, wrong;
  for (DraftPolicy* policy : {&right, &wrong}) feed(*policy, 7, 3);  // 0.3 of a call each
  for (int i = 0; i < 100; ++i) {
    right.verified(8, 8);
    wrong.verified(8, 1);
  }
  EXPECT_EQ(right.limit(), 8U);
  EXPECT_EQ(wrong.limit(), 1U);  // 0.5, then 0.25
}

TEST(DraftPolicy, WhatDoesNotPayIsLeftAndTriedAgain) {
  DraftPolicy policy;
  feed(policy, 0, 1);  // a wide batch saves nothing
  policy.verified(1, 0);
  int trials = 0;
  for (int i = 0; i < 330; ++i) trials += policy.limit() > 0 ? 1 : 0;
  EXPECT_EQ(trials, 10);
  for (int i = 0; i < 300; ++i) {
    feed(policy, 9, 0.1);
    policy.verified(2, 2);
  }
  EXPECT_EQ(policy.limit(), 8U);
}

}  // namespace
}  // namespace asynclm
