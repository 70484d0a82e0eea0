// SPDX-License-Identifier: Apache-2.0
// The llama engine on the default model: what a sequence holds decides what comes next, not the way
// in which it came to hold it.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/engine.h>

#include "fixtures/fake_engine.h"  // encode_with_controls

namespace asynclm {
namespace {

constexpr std::size_t kNewTokens = 48;

class DefaultModel : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = make_llama_engine({.model_path = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf",
                                     .context_tokens = 1024,
                                     .max_sequences = 3,
                                     .batch_tokens = 512,
                                     .threads = 1});
    ASSERT_TRUE(engine.has_value()) << engine.error().message;
    engine_ = std::move(*engine);
    prompt_ = encode_with_controls(
        engine_->vocabulary(),
        "<|system|>mode async\n1 900 ms roast the walnuts of a kiln: roast_walnuts(kiln: string)\n"
        "2 40 ms paint the fence: paint_fence(color: string)\n"
        "<|user|>Roast the walnuts of north and paint the fence red.<|assistant|>");
  }

  SequenceId create(const SamplingParams& params = {}) { return engine_->create(params).value(); }

  Token append(SequenceId sequence, std::span<const Token> tokens) {
    Token sampled = kNoToken;
    const DecodeItem item{.sequence = sequence, .append = tokens, .sample = true, .banned = {}};
    const auto done = engine_->decode({&item, 1}, {&sampled, 1});
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return sampled;
  }

  // What follows `first`, which was sampled but not appended; the last token is not appended
  // either.
  std::vector<Token> generate(SequenceId sequence, Token first) {
    std::vector<Token> tokens = {first};
    while (tokens.size() < kNewTokens) tokens.push_back(append(sequence, {&tokens.back(), 1}));
    return tokens;
  }

  std::unique_ptr<Engine> engine_;
  std::vector<Token> prompt_;
};

TEST_F(DefaultModel, OnePieceAndTokenByTokenGiveTheSameTokens) {
  const SequenceId whole = create();
  const auto expected = generate(whole, append(whole, prompt_));
  const SequenceId single = create();
  Token next = kNoToken;
  for (const Token& token : prompt_) next = append(single, {&token, 1});
  EXPECT_EQ(generate(single, next), expected);
  // A model that repeats one token would make this test worthless.
  EXPECT_GT(std::ranges::count_if(expected, [&](Token t) { return t != expected.front(); }), 10);
}

// Drafts of every length, right and wrong, give the tokens that are sampled without them.
TEST_F(DefaultModel, DraftsGiveTheSameTokens) {
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.temperature = 1.0F, .top_k = 50, .seed = 11}}) {
    const SequenceId plain = create(params);
    const auto expected = generate(plain, append(plain, prompt_));
    engine_->drop(plain);
    const SequenceId drafted = create(params);
    std::vector<Token> tokens = {append(drafted, prompt_)};
    int accepted = 0, rejected = 0;
    for (std::size_t round = 0; tokens.size() < expected.size(); ++round) {
      const std::size_t length = std::min(round % 8, expected.size() - tokens.size() - 1);
      const auto from = expected.begin() + static_cast<std::ptrdiff_t>(tokens.size());
      std::vector<Token> draft(from, from + static_cast<std::ptrdiff_t>(length));
      if (length > 2 && round % 3 == 0) draft[length / 2] = prompt_.front();
      std::vector<Token> sampled(1 + length);
      const DecodeItem item{.sequence = drafted,
                            .append = std::span(tokens).last(1),
                            .sample = true,
                            .banned = {},
                            .draft = draft};
      const auto done = engine_->decode({&item, 1}, sampled);
      ASSERT_TRUE(done.has_value()) << done.error().message;
      sampled.erase(std::ranges::find(sampled, kNoToken), sampled.end());
      (sampled.size() == 1 + length ? accepted : rejected) += 1;
      tokens.insert(tokens.end(), sampled.begin(), sampled.end());
    }
    EXPECT_EQ(tokens, expected);
    EXPECT_GT(accepted, 3);
    EXPECT_GT(rejected, 0);
    engine_->drop(drafted);
  }
}

TEST_F(DefaultModel, SavedAndRestoredGoesOnTheSame) {
  const SamplingParams params{.temperature = 0.8F, .top_k = 40, .seed = 7};
  const SequenceId original = create(params);
  const Token first = append(original, prompt_);
  const auto state = engine_->save(original);
  ASSERT_TRUE(state.has_value()) << state.error().message;
  const auto expected = generate(original, first);

  const SequenceId restored = create({.temperature = 0.1F, .seed = 99});
  append(restored, std::span(prompt_).first(3));
  ASSERT_TRUE(engine_->restore(restored, *state).has_value());
  EXPECT_EQ(engine_->length(restored), static_cast<std::int32_t>(prompt_.size()));
  EXPECT_EQ(generate(restored, first), expected);
}

TEST_F(DefaultModel, OtherSequencesInTheBatchChangeNothing) {
  const SequenceId alone = create();
  const auto expected = generate(alone, append(alone, prompt_));
  const SequenceId a = create();
  const SequenceId b = create();
  std::vector<Token> tokens_a = {append(a, prompt_)};
  std::vector<Token> tokens_b = {append(b, std::span(prompt_).first(20))};
  while (tokens_a.size() < kNewTokens) {
    const DecodeItem items[] = {
        {.sequence = b, .append = {&tokens_b.back(), 1}, .sample = true, .banned = {}},
        {.sequence = a, .append = {&tokens_a.back(), 1}, .sample = true, .banned = {}}};
    Token sampled[2];
    ASSERT_TRUE(engine_->decode(items, sampled).has_value());
    tokens_b.push_back(sampled[0]);
    tokens_a.push_back(sampled[1]);
  }
  EXPECT_EQ(tokens_a, expected);
}

}  // namespace
}  // namespace asynclm
