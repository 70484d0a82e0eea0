// SPDX-License-Identifier: Apache-2.0
#include "bench/taught_engine.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "fixtures/fake_engine.h"

namespace asynclm::bench {
namespace {

// What a real engine would do by itself, the fake one is told: it samples "abc…".
class TaughtEngineTest : public ::testing::Test {
 protected:
  TaughtEngineTest() {
    auto fake = std::make_unique<FakeEngine>(vocabulary_);
    sequence_ = *fake->create({});
    fake->script(sequence_, play({'a', 'b', 'c'}, 'd'));
    engine_ = std::make_unique<TaughtEngine>(std::move(fake));
    engine_->teach(
        [this] { return static_cast<Token>(static_cast<unsigned char>('a' + next_++)); });
  }

  FakeVocabulary vocabulary_;
  SequenceId sequence_ = 0;
  std::unique_ptr<TaughtEngine> engine_;
  int next_ = 0;
  std::array<Token, 1> prompt_ = {'x'};
};

TEST_F(TaughtEngineTest, TokensOfADraftAreTakenAsFarAsItIsRight) {
  const std::array<Token, 3> draft = {'a', 'b', 'z'};
  DraftPolicy drafts;
  engine_->use(drafts);
  const DecodeItem item{.sequence = sequence_, .append = prompt_, .banned = {}, .draft = draft};
  std::vector<Token> sampled(4, 0);
  const auto done = engine_->decode({&item, 1}, sampled);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(sampled, (std::vector<Token>{'a', 'b', 'c', kNoToken}));
  EXPECT_EQ(next_, 3);
}

TEST_F(TaughtEngineTest, WhatTheSessionsFilterRefusesIsAnError) {
  class Nothing final : public TokenFilter {
   public:
    bool allows(Token, std::size_t) override { return false; }
    std::span<const std::uint64_t> allowed(std::size_t) override { return {}; }
  } nothing;
  const DecodeItem item{.sequence = sequence_, .append = prompt_, .banned = {}, .filter = &nothing};
  std::array<Token, 1> sampled{};
  const auto done = engine_->decode({&item, 1}, sampled);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().message, "the call grammar does not allow the teacher's a");
}

TEST_F(TaughtEngineTest, DecodesOneSequenceAtATime) {
  const DecodeItem item{.sequence = sequence_, .append = prompt_, .banned = {}};
  std::array<Token, 2> sampled{};
  const auto done = engine_->decode(std::array{item, item}, sampled);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(next_, 0);
}

}  // namespace
}  // namespace asynclm::bench
