// SPDX-License-Identifier: Apache-2.0
#include "engine/fake_engine.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace asynclm {
namespace {

class FakeEngineTest : public ::testing::Test {
 protected:
  // Samples the length of the context: shows which context the script was asked with.
  static FakeScript count() {
    return [](std::span<const Token> context, std::span<const Token>) {
      return static_cast<Token>(context.size());
    };
  }
  SequenceId add(const SamplingParams& params = {}) {
    const Result<SequenceId> id = engine_.create(params);
    EXPECT_TRUE(id.has_value());
    return id.value_or(-1);
  }
  Result<Token> append(SequenceId id, const std::vector<Token>& tokens,
                       const std::vector<Token>& banned = {}, bool sample = true) {
    Token out = -7;
    const DecodeItem item{id, tokens, sample, banned};
    const Result<void> done = engine_.decode({&item, 1}, {&out, 1});
    if (!done) return std::unexpected(done.error());
    return out;
  }
  std::vector<Token> tokens(SequenceId id) {
    const auto span = engine_.tokens(id);
    return {span.begin(), span.end()};
  }

  FakeVocabulary vocabulary_;
  VirtualClock clock_;
  FakeEngine engine_{vocabulary_,
                     {.context_tokens = 20,
                      .max_sequences = 3,
                      .max_batch_tokens = 12,
                      .clock = &clock_,
                      .per_call = Time{1000},
                      .per_token = Time{10},
                      .scripts = [](SequenceId) { return count(); }}};
};

TEST_F(FakeEngineTest, AppendsAndSamples) {
  const SequenceId id = add();
  EXPECT_EQ(engine_.length(id), 0);
  EXPECT_EQ(append(id, {1, 2, 3}), 3);
  EXPECT_EQ(append(id, {3}), 4);
  EXPECT_EQ(engine_.length(id), 4);
  EXPECT_EQ(tokens(id), (std::vector<Token>{1, 2, 3, 3}));
  EXPECT_EQ(append(id, {9}, {}, false), kNoToken);
  EXPECT_EQ(engine_.decode_calls(), 3);
}

TEST_F(FakeEngineTest, OneCallServesSeveralSequences) {
  const SequenceId a = add();
  const SequenceId b = add();
  const std::vector<Token> two{5, 6};
  const std::vector<Token> one{7};
  const std::vector<DecodeItem> items{{b, one, true, {}}, {a, two, false, {}}};
  std::vector<Token> sampled(2);
  ASSERT_TRUE(engine_.decode(items, sampled).has_value());
  EXPECT_EQ(sampled, (std::vector<Token>{1, kNoToken}));
  EXPECT_EQ(engine_.length(a), 2);
  EXPECT_EQ(engine_.length(b), 1);
  EXPECT_TRUE(engine_.decode({}, {}).has_value());
}

TEST_F(FakeEngineTest, EachDecodeMovesTheClock) {
  const SequenceId id = add();
  ASSERT_TRUE(append(id, {1, 2, 3}));
  EXPECT_EQ(clock_.now(), Time{1030});
  ASSERT_TRUE(append(id, {1}));
  EXPECT_EQ(clock_.now(), Time{2040});
  ASSERT_FALSE(append(id, {}));
  EXPECT_EQ(clock_.now(), Time{2040});
  clock_.set(Time{5});
  EXPECT_EQ(clock_.now(), Time{5});
}

TEST_F(FakeEngineTest, AForkGoesOnWithItsOwnContext) {
  const SequenceId a = add();
  ASSERT_TRUE(append(a, {1, 2}));
  const SequenceId b = engine_.fork(a).value();
  EXPECT_EQ(tokens(b), tokens(a));
  EXPECT_EQ(append(b, {3}), 3);
  EXPECT_EQ(append(b, {3}), 4);
  EXPECT_EQ(append(a, {9}), 3);
  EXPECT_EQ(tokens(a), (std::vector<Token>{1, 2, 9}));
}

TEST_F(FakeEngineTest, PlayIsCopiedByAFork) {
  const SequenceId a = add();
  engine_.script(a, play({10, 11, 12}, 13));
  EXPECT_EQ(append(a, {1}), 10);
  const SequenceId b = engine_.fork(a).value();
  EXPECT_EQ(append(a, {1}), 11);
  EXPECT_EQ(append(b, {1}), 11);
  EXPECT_EQ(append(b, {1}), 12);
  EXPECT_EQ(append(b, {1}), 13);
  EXPECT_EQ(append(b, {1}), 13);
}

TEST_F(FakeEngineTest, SaveAndRestore) {
  const SequenceId a = add({.temperature = 1, .seed = 3});
  ASSERT_TRUE(append(a, {1, 2, 3}));
  const std::vector<std::byte> state = engine_.save(a).value();
  ASSERT_TRUE(append(a, {4}));
  const SequenceId b = add();
  ASSERT_TRUE(append(b, {8, 8}));
  ASSERT_TRUE(engine_.restore(b, state).has_value());
  EXPECT_EQ(tokens(b), (std::vector<Token>{1, 2, 3}));
  EXPECT_EQ(append(b, {5}), 4);
  ASSERT_TRUE(engine_.restore(a, state).has_value());
  EXPECT_EQ(engine_.save(a).value(), state);
}

TEST_F(FakeEngineTest, AStateOfAnotherVocabularyOrLongerContextIsRefused) {
  const SequenceId a = add();
  ASSERT_TRUE(append(a, {1, 2, 3, 4, 5}));
  const std::vector<std::byte> state = engine_.save(a).value();
  FakeEngine small(vocabulary_, {.context_tokens = 4});
  const SequenceId b = small.create({}).value();
  EXPECT_EQ(small.restore(b, state).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(small.length(b), 0);
}

TEST_F(FakeEngineTest, AFailingScriptRollsEverySequenceBack) {
  const SequenceId a = add();
  const SequenceId b = add();
  ASSERT_TRUE(append(a, {1}));
  const std::vector<Token> more{2, 3};
  const std::vector<Token> bans{2};
  for (FakeScript script : {FakeScript{}, play({}, kNoToken), play({}, vocabulary_.size()),
                            play({}, 2)}) {  // the last one is banned
    engine_.script(b, std::move(script));
    const std::vector<DecodeItem> items{{a, more, true, {}}, {b, more, true, bans}};
    std::vector<Token> sampled(2);
    const Result<void> done = engine_.decode(items, sampled);
    ASSERT_FALSE(done.has_value());
    EXPECT_EQ(done.error().code, ErrorCode::engine);
    EXPECT_EQ(tokens(a), (std::vector<Token>{1}));
    EXPECT_EQ(engine_.length(a), 1);
    EXPECT_EQ(engine_.length(b), 0);
  }
}

TEST_F(FakeEngineTest, FailNextDecode) {
  const SequenceId a = add();
  engine_.fail_next_decode({ErrorCode::engine, "planned"});
  EXPECT_EQ(append(a, {1}).error().message, "planned");
  EXPECT_EQ(append(a, {1}), 1);
}

TEST_F(FakeEngineTest, AbortCountsOnlyWhileDecodeRuns) {
  const SequenceId a = add();
  engine_.request_abort();
  EXPECT_EQ(append(a, {1}), 1);
  engine_.script(a, [this](std::span<const Token>, std::span<const Token>) {
    engine_.request_abort();
    return Token{5};
  });
  EXPECT_EQ(append(a, {1}).error().code, ErrorCode::cancelled);
  EXPECT_EQ(engine_.length(a), 1);
  engine_.script(a, play({}, 6));
  EXPECT_EQ(append(a, {1}), 6);
}

TEST(FakeVocabularyTest, ControlsAndBytes) {
  const FakeVocabulary vocabulary;
  EXPECT_EQ(vocabulary.size(), 265);
  for (const char* text : {"[CALL]", "[INTR]", "[TRAP]", "[END]", "[HEAD]", "<|system|>",
                           "<|user|>", "<|assistant|>", "<|end_of_text|>"}) {
    const Token token = vocabulary.control(text);
    EXPECT_TRUE(vocabulary.is_control(token)) << text;
    EXPECT_EQ(vocabulary.spelling(token), text);
    std::string out;
    vocabulary.append_piece(token, out);
    EXPECT_EQ(out, "");
    EXPECT_EQ(vocabulary.is_end_of_generation(token), std::string(text) == "<|end_of_text|>");
    EXPECT_EQ(vocabulary.encode(text).size(), std::string(text).size());
  }
  EXPECT_EQ(vocabulary.control("x"), kNoToken);
  EXPECT_EQ(vocabulary.encode("\xFFz"), (std::vector<Token>{255, 'z'}));
  EXPECT_EQ(vocabulary.spelling('z'), "z");
  EXPECT_EQ(vocabulary.spelling(-1), "");
  EXPECT_EQ(vocabulary.spelling(265), "");
}

TEST(FakeVocabularyTest, EncodeWithControls) {
  const FakeVocabulary vocabulary;
  EXPECT_EQ(encode_with_controls(vocabulary, "a[CALL]b[[END]<|user|>"),
            (std::vector<Token>{'a', vocabulary.control("[CALL]"), 'b', '[',
                                vocabulary.control("[END]"), vocabulary.control("<|user|>")}));
  EXPECT_TRUE(encode_with_controls(vocabulary, "").empty());
}

}  // namespace
}  // namespace asynclm
