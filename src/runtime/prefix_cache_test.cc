// SPDX-License-Identifier: Apache-2.0
#include "runtime/prefix_cache.h"

#include <gtest/gtest.h>

namespace asynclm {
namespace {

// `shared` equal tokens, then some that no other prompt has.
std::vector<Token> prompt_with(std::size_t shared, Token own, Token kind = 1) {
  std::vector<Token> out(shared, kind);
  out.insert(out.end(), 20, own);
  return out;
}

TEST(PrefixCache, TheSecondPromptWithABeginningKeepsIt) {
  PrefixCache cache;
  EXPECT_EQ(cache.remember(prompt_with(100, 7)), 0U);
  const std::vector<Token> second = prompt_with(100, 8);
  ASSERT_EQ(cache.remember(second), 100U);
  cache.announce(std::span(second).first(100), 2);
  const std::vector<Token> third = prompt_with(100, 9);
  EXPECT_TRUE(cache.is_coming(third));
  EXPECT_FALSE(cache.is_coming(prompt_with(100, 9, 2)));
  EXPECT_EQ(cache.find(third), nullptr);

  cache.keep(std::span(second).first(100), std::vector<std::byte>(5));
  EXPECT_FALSE(cache.is_coming(third));
  ASSERT_NE(cache.find(third), nullptr);
  EXPECT_EQ(cache.find(third)->tokens.size(), 100U);
  EXPECT_EQ(cache.find(third)->state.size(), 5U);
  EXPECT_EQ(cache.remember(third), 0U) << "it is kept already";
  EXPECT_EQ(cache.find(prompt_with(99, 9)), nullptr);
}

TEST(PrefixCache, AFewEqualWordsAreNotWorthIt) {
  PrefixCache cache;
  EXPECT_EQ(cache.remember(prompt_with(20, 7)), 0U);
  EXPECT_EQ(cache.remember(prompt_with(20, 8)), 0U);
}

TEST(PrefixCache, EqualPromptsLeaveATokenToSampleBehind) {
  PrefixCache cache;
  const std::vector<Token> prompt(50, 3);
  EXPECT_EQ(cache.remember(prompt), 0U);
  EXPECT_EQ(cache.remember(prompt), 49U);
  cache.keep(prompt, {});
  EXPECT_EQ(cache.find(prompt), nullptr) << "nothing would be left to append";
}

TEST(PrefixCache, TheLongestIsTaken) {
  PrefixCache cache;
  const std::vector<Token> longer(80, 1);
  cache.keep(std::span(longer).first(40), {});
  cache.keep(longer, {});
  EXPECT_EQ(cache.find(prompt_with(100, 2))->tokens.size(), 80U);
  EXPECT_EQ(cache.find(prompt_with(60, 2))->tokens.size(), 40U);
}

TEST(PrefixCache, AbandonedOnesAreNotWaitedFor) {
  PrefixCache cache;
  const std::vector<Token> prompt = prompt_with(100, 7);
  cache.announce(std::span(prompt).first(100), 5);
  cache.abandon(4);
  EXPECT_TRUE(cache.is_coming(prompt));
  cache.abandon(5);
  EXPECT_FALSE(cache.is_coming(prompt));
}

TEST(PrefixCache, TheLeastUsedGoes) {
  PrefixCache cache;
  for (Token kind = 0; kind < 20; ++kind) {
    cache.keep(std::vector<Token>(50, kind), {});
    EXPECT_NE(cache.find(std::vector<Token>(60, 0)), nullptr);
  }
  EXPECT_EQ(cache.find(std::vector<Token>(60, 1)), nullptr);
  EXPECT_NE(cache.find(std::vector<Token>(60, 19)), nullptr);
}

}  // namespace
}  // namespace asynclm
