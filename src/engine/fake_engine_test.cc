// SPDX-License-Identifier: Apache-2.0
#include "engine/fake_engine.h"

#include <algorithm>
#include <limits>
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

TEST_F(FakeEngineTest, DroppedIdsAreUsedAgainAndAreEmpty) {
  const SequenceId a = add();
  add();
  add();
  EXPECT_EQ(engine_.create({}).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(engine_.fork(a).error().code, ErrorCode::limit_exceeded);
  ASSERT_TRUE(append(a, {1}));
  engine_.drop(a);
  EXPECT_EQ(engine_.length(a), -1);
  EXPECT_EQ(append(a, {1}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(add(), a);
  EXPECT_EQ(engine_.length(a), 0);
  for (const SequenceId unknown : {-1, 3, 1000, std::numeric_limits<SequenceId>::min()}) {
    engine_.drop(unknown);
    EXPECT_EQ(engine_.length(unknown), -1);
    EXPECT_EQ(engine_.fork(unknown).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(engine_.save(unknown).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(engine_.restore(unknown, {}).error().code, ErrorCode::invalid_argument);
  }
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

TEST_F(FakeEngineTest, ABadStateEmptiesTheSequence) {
  const SequenceId a = add();
  ASSERT_TRUE(append(a, {1, 2, 3}));
  const std::vector<std::byte> good = engine_.save(a).value();
  for (std::size_t i = 0; i < good.size(); ++i) {
    ASSERT_TRUE(engine_.restore(a, good).has_value());
    std::vector<std::byte> bad = good;
    bad[i] ^= std::byte{0x10};
    EXPECT_FALSE(engine_.restore(a, bad).has_value()) << "byte " << i;
    EXPECT_EQ(engine_.length(a), 0);
    EXPECT_FALSE(engine_.restore(a, std::span(good).first(i)).has_value());
  }
  EXPECT_EQ(append(a, {1}), 1);
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

TEST_F(FakeEngineTest, WrongCallsChangeNothing) {
  const SequenceId a = add();
  const SequenceId b = add();
  ASSERT_TRUE(append(a, {1, 2}));
  const std::vector<Token> good{1};
  const std::vector<Token> out_of_range{vocabulary_.size()};
  const std::vector<Token> negative{-1};
  const std::vector<Token> long_one(13, 1);
  const std::vector<Token> too_long(19, 1);
  const std::vector<Token> half(7, 1);
  struct Case {
    std::vector<DecodeItem> items;
    ErrorCode code;
    std::string word;
  };
  const std::vector<Case> cases{
      {{{a, good, true, {}}, {9, good, true, {}}}, ErrorCode::invalid_argument, "sequence 9"},
      {{{a, good, true, {}}, {-1, good, true, {}}}, ErrorCode::invalid_argument, "sequence -1"},
      {{{a, good, true, {}}, {2, good, true, {}}}, ErrorCode::invalid_argument, "sequence 2"},
      {{{a, good, true, {}}, {a, good, true, {}}}, ErrorCode::invalid_argument, "twice"},
      {{{a, good, true, {}}, {b, {}, true, {}}}, ErrorCode::invalid_argument, "at least one"},
      {{{a, good, true, {}}, {b, out_of_range, true, {}}}, ErrorCode::invalid_argument, "265"},
      {{{a, good, true, {}}, {b, negative, true, {}}}, ErrorCode::invalid_argument, "-1"},
      {{{a, good, true, out_of_range}}, ErrorCode::invalid_argument, "banned"},
      {{{a, too_long, true, {}}}, ErrorCode::limit_exceeded, "context of 20"},
      {{{b, long_one, true, {}}}, ErrorCode::limit_exceeded, "batch_tokens"},
      {{{a, half, true, {}}, {b, half, true, {}}}, ErrorCode::limit_exceeded, "batch_tokens"},
  };
  for (const Case& c : cases) {
    std::vector<Token> sampled(c.items.size());
    const Result<void> done = engine_.decode(c.items, sampled);
    ASSERT_FALSE(done.has_value()) << c.word;
    EXPECT_EQ(done.error().code, c.code) << done.error().message;
    EXPECT_NE(done.error().message.find(c.word), std::string::npos) << done.error().message;
    EXPECT_EQ(engine_.length(a), 2);
    EXPECT_EQ(engine_.length(b), 0);
  }
  const DecodeItem item{a, good, true, {}};
  EXPECT_EQ(engine_.decode({&item, 1}, {}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(engine_.decode_calls(), 1);
  EXPECT_EQ(engine_.create({.top_k = -3}).error().code, ErrorCode::invalid_argument);
}

TEST_F(FakeEngineTest, TheContextMayBeFilledCompletely) {
  const SequenceId a = add();
  ASSERT_TRUE(append(a, std::vector<Token>(12, 1)));
  ASSERT_TRUE(append(a, std::vector<Token>(8, 1)));
  EXPECT_EQ(engine_.length(a), 20);
  EXPECT_EQ(append(a, {1}).error().code, ErrorCode::limit_exceeded);
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
  for (const char* text : {"[CALL]", "[INTR]", "[TRAP]", "[END]", "[HEAD]", "<|system|>", "<|user|>",
                           "<|assistant|>", "<|end_of_text|>"}) {
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
