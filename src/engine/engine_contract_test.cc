// SPDX-License-Identifier: Apache-2.0
// What include/asynclm/engine.h promises, on every engine.
#include <cstddef>
#include <limits>
#include <memory>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/engine.h>

#include "base/test_folder.h"
#include "engine/test_llama_model.h"
#include "fixtures/fake_engine.h"

namespace asynclm {
namespace {

constexpr std::int32_t kContext = 20;
constexpr std::int32_t kSequences = 3;
constexpr std::int32_t kBatch = 12;
constexpr std::int32_t kDrafts = 24;  // tokens in one call: the llama engine's for three sequences

enum class Kind { fake, llama };
void PrintTo(Kind kind, std::ostream* out) { *out << (kind == Kind::fake ? "fake" : "llama"); }

class EngineContract : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::fake) {
      engine_ = std::make_unique<FakeEngine>(
          vocabulary_, FakeEngineOptions{.context_tokens = kContext,
                                         .max_sequences = kSequences,
                                         .max_batch_tokens = kBatch,
                                         .max_draft_tokens = kDrafts,
                                         .scripts = [](SequenceId) -> FakeScript {
                                           return [](std::span<const Token> context,
                                                     std::span<const Token>) {
                                             return static_cast<Token>(context.size());
                                           };
                                         }});
      return;
    }
    const std::string path = folder_.file("model.gguf");
    ASSERT_TRUE(test_model::write_test_model({}, path));
    Result<std::unique_ptr<Engine>> engine = make_llama_engine({.model_path = path,
                                                                .context_tokens = kContext,
                                                                .max_sequences = kSequences,
                                                                .batch_tokens = kBatch,
                                                                .threads = 1});
    ASSERT_TRUE(engine.has_value()) << engine.error().message;
    engine_ = std::move(*engine);
  }
  SequenceId add(const SamplingParams& params = {}) {
    const Result<SequenceId> id = engine_->create(params);
    EXPECT_TRUE(id.has_value());
    return id.value_or(-1);
  }
  Result<Token> append(SequenceId id, const std::vector<Token>& tokens) {
    Token out = -7;
    const DecodeItem item{id, tokens, true, {}};
    const Result<void> done = engine_->decode({&item, 1}, {&out, 1});
    if (!done) return std::unexpected(done.error());
    return out;
  }

  TemporaryFolder folder_;
  FakeVocabulary vocabulary_;
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(Engines, EngineContract, ::testing::Values(Kind::fake, Kind::llama),
                         ::testing::PrintToStringParamName());

TEST_P(EngineContract, InfoHoldsTheLimits) {
  EXPECT_EQ(engine_->info().context_tokens, kContext);
  EXPECT_EQ(engine_->info().max_sequences, kSequences);
  EXPECT_EQ(engine_->info().max_batch_tokens, kBatch);
  EXPECT_EQ(engine_->info().max_draft_tokens, kDrafts);
  EXPECT_FALSE(engine_->info().model.empty());
  EXPECT_FALSE(engine_->info().library.empty());
}

TEST_P(EngineContract, IdsAreUsedAgainAndUnknownOnesAreErrors) {
  const SequenceId a = add();
  add();
  add();
  EXPECT_EQ(engine_->create({}).error().code, ErrorCode::limit_exceeded);
  ASSERT_TRUE(append(a, {1}));
  engine_->drop(a);
  EXPECT_EQ(engine_->length(a), -1);
  EXPECT_EQ(append(a, {1}).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(add(), a);
  EXPECT_EQ(engine_->length(a), 0);
  engine_->drop(a);
  for (const SequenceId unknown : {a, -1, kSequences, 256, std::numeric_limits<SequenceId>::max(),
                                   std::numeric_limits<SequenceId>::min()}) {
    engine_->drop(unknown);
    EXPECT_EQ(engine_->length(unknown), -1);
    EXPECT_EQ(engine_->save(unknown).error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(engine_->restore(unknown, {}).error().code, ErrorCode::invalid_argument);
  }
}

TEST_P(EngineContract, WrongCallsChangeNothing) {
  const SequenceId a = add();
  const SequenceId b = add();
  ASSERT_TRUE(append(a, {1, 2}));
  const Token size = engine_->vocabulary().size();
  const std::vector<Token> good{1};
  const std::vector<Token> out_of_range{size};
  const std::vector<Token> negative{1, -1};
  const std::vector<Token> over_batch(kBatch + 1, 1);
  const std::vector<Token> over_context(kContext - 1, 1);
  const std::vector<Token> half(kBatch / 2 + 1, 1);
  constexpr auto kArgument = ErrorCode::invalid_argument;
  constexpr auto kLimit = ErrorCode::limit_exceeded;
  struct Case {
    std::vector<DecodeItem> items;
    ErrorCode code;
    std::string word;
  };
  const std::vector<Case> cases{
      {{{a, good, true, {}}, {256, good, true, {}}}, kArgument, "sequence 256"},
      {{{a, good, true, {}}, {-1, good, true, {}}}, kArgument, "sequence -1"},
      {{{a, good, true, {}}, {2, good, true, {}}}, kArgument, "sequence 2"},
      {{{a, good, true, {}}, {a, good, true, {}}}, kArgument, "twice"},
      {{{a, good, true, {}}, {b, {}, true, {}}}, kArgument, "at least one"},
      {{{a, good, true, {}}, {b, out_of_range, true, {}}}, kArgument, std::to_string(size)},
      {{{a, good, true, {}}, {b, negative, true, {}}}, kArgument, "-1"},
      {{{a, good, true, out_of_range}}, kArgument, "banned"},
      {{{a, over_context, true, {}}}, kLimit, "context of 20"},
      {{{b, over_batch, true, {}}}, kLimit, "batch_tokens"},
      {{{a, half, true, {}}, {b, half, true, {}}}, kLimit, "batch_tokens"},
      {{{a, good, false, {}, nullptr, good}}, kArgument, "nothing is to be sampled"},
      {{{a, good, true, {}, nullptr, out_of_range}}, kArgument, "drafted"},
      {{{a, half, true, {}, nullptr, half}}, kLimit, "batch_tokens"},
      {{{a, good, true, {}, nullptr, over_context}}, kLimit, "context of 20"},
  };
  for (const Case& c : cases) {
    std::vector<Token> sampled(sampled_size(c.items));
    const Result<void> done = engine_->decode(c.items, sampled);
    ASSERT_FALSE(done.has_value()) << c.word;
    EXPECT_EQ(done.error().code, c.code) << done.error().message;
    EXPECT_NE(done.error().message.find(c.word), std::string::npos) << done.error().message;
    EXPECT_EQ(engine_->length(a), 2);
    EXPECT_EQ(engine_->length(b), 0);
  }
  const DecodeItem item{a, good, true, {}};
  EXPECT_EQ(engine_->decode({&item, 1}, {}).error().code, kArgument);
  EXPECT_EQ(engine_->create({.top_k = -3}).error().code, kArgument);
  EXPECT_TRUE(engine_->decode({}, {}).has_value());
  EXPECT_TRUE(append(a, good).has_value());
}

// Whatever the draft, the tokens are those of one call for each of them.
TEST_P(EngineContract, DraftsChangeNoToken) {
  for (const SamplingParams& params :
       {SamplingParams{}, SamplingParams{.temperature = 1.5F, .top_p = 0.95F, .seed = 5}}) {
    const SequenceId single = add(params);
    std::vector<Token> expected = {append(single, {1, 2}).value()};
    while (expected.size() < 8) expected.push_back(append(single, {expected.back()}).value());
    const Token other = expected[0] == 3 ? 4 : 3;
    for (std::size_t wrong = 0; wrong <= 4; ++wrong) {  // place of the first wrong one of four
      const SequenceId id = add(params);
      std::vector<Token> draft(expected.begin(), expected.begin() + 4);
      if (wrong < 4) draft[wrong] = draft[wrong] == other ? other + 1 : other;
      const std::vector<Token> prompt = {1, 2};
      const DecodeItem item{
          .sequence = id, .append = prompt, .sample = true, .banned = {}, .draft = draft};
      std::vector<Token> sampled(5);
      ASSERT_TRUE(engine_->decode({&item, 1}, sampled).has_value());
      for (std::size_t i = 0; i < sampled.size(); ++i) {
        EXPECT_EQ(sampled[i], i <= wrong ? expected[i] : kNoToken) << wrong << ", " << i;
      }
      EXPECT_EQ(engine_->length(id), 2 + static_cast<std::int32_t>(wrong));
      for (std::size_t i = wrong + 1; i < expected.size(); ++i) {
        EXPECT_EQ(append(id, {expected[i - 1]}).value(), expected[i]) << wrong << ", " << i;
      }
      engine_->drop(id);
    }
    engine_->drop(single);
  }
}

TEST_P(EngineContract, DraftsOfSeveralSequences) {
  const SequenceId a = add(), b = add(), c = add();
  const std::vector<Token> prompt = {5};
  const Token first = append(a, prompt).value();
  engine_->drop(a);
  ASSERT_EQ(add(), a);
  const std::vector<Token> right = {first}, wrong = {first == 9 ? 8 : 9};
  const std::vector<DecodeItem> items = {{b, prompt, true, {}, nullptr, wrong},
                                         {c, prompt, false, {}},
                                         {a, prompt, true, {}, nullptr, right}};
  std::vector<Token> sampled(sampled_size(items), -7);
  ASSERT_TRUE(engine_->decode(items, sampled).has_value());
  EXPECT_EQ(sampled[0], first);
  EXPECT_EQ(sampled[1], kNoToken);
  EXPECT_EQ(sampled[2], kNoToken);
  EXPECT_EQ(sampled[3], first);
  EXPECT_NE(sampled[4], kNoToken);
  EXPECT_EQ(engine_->length(a), 2);
  EXPECT_EQ(engine_->length(b), 1);
  EXPECT_EQ(engine_->length(c), 1);
}

TEST_P(EngineContract, TheContextMayBeFilledCompletely) {
  const SequenceId a = add();
  ASSERT_TRUE(append(a, std::vector<Token>(kBatch, 1)));
  ASSERT_TRUE(append(a, std::vector<Token>(kContext - kBatch, 1)));
  EXPECT_EQ(engine_->length(a), kContext);
  EXPECT_EQ(append(a, {1}).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(engine_->length(a), kContext);
}

TEST_P(EngineContract, AStateIsTheSameAfterARoundTrip) {
  const SequenceId a = add({.temperature = 0.5F, .top_k = 9, .seed = 3});
  ASSERT_TRUE(append(a, {1, 2, 3}));
  const std::vector<std::byte> state = engine_->save(a).value();
  const SequenceId b = add();
  ASSERT_TRUE(append(b, {8, 8}));
  ASSERT_TRUE(engine_->restore(b, state).has_value());
  EXPECT_EQ(engine_->length(b), 3);
  // Bytes may depend on the id: compare in the one that it came from.
  const std::vector<std::byte> copy = engine_->save(b).value();
  ASSERT_TRUE(append(a, {4}));
  ASSERT_TRUE(engine_->restore(a, copy).has_value());
  EXPECT_EQ(engine_->save(a).value(), state);
  // Also of an empty sequence.
  const SequenceId c = add({.seed = 9});
  const std::vector<std::byte> empty = engine_->save(c).value();
  ASSERT_TRUE(engine_->restore(b, empty).has_value());
  EXPECT_EQ(engine_->length(b), 0);
  EXPECT_EQ(engine_->save(b).value(), empty);  // no cells, no ids
  EXPECT_TRUE(append(b, {1}).has_value());
}

TEST_P(EngineContract, ABadStateEmptiesTheSequence) {
  const SequenceId a = add();
  ASSERT_TRUE(append(a, {1, 2, 3}));
  const std::vector<std::byte> good = engine_->save(a).value();
  const std::size_t step = good.size() / 300 + 1;  // every byte of a small state
  for (std::size_t i = 0; i < good.size(); i += i < 200 ? 1 : step) {
    ASSERT_TRUE(engine_->restore(a, good).has_value());
    std::vector<std::byte> bad = good;
    bad[i] ^= std::byte{0x10};
    EXPECT_FALSE(engine_->restore(a, bad).has_value()) << "byte " << i;
    EXPECT_EQ(engine_->length(a), 0);
    EXPECT_FALSE(engine_->restore(a, std::span(good).first(i)).has_value());
  }
  std::vector<std::byte> longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(engine_->restore(a, longer).has_value());
  EXPECT_FALSE(engine_->restore(a, std::vector<std::byte>(5000, std::byte{0x5A})).has_value());
  EXPECT_TRUE(append(a, {1}).has_value());
  EXPECT_EQ(engine_->length(a), 1);
}

TEST_P(EngineContract, AbortWithoutADecodeDoesNothing) {
  const SequenceId a = add();
  engine_->request_abort();
  EXPECT_TRUE(append(a, {1}).has_value());
}

// A sequence whose tokens are computed again behind the saved sampler goes on as if it had stayed.
TEST_P(EngineContract, TheSamplerCanBeSavedWithoutTheTokens) {
  const SamplingParams params{.temperature = 1.5F, .seed = 5};
  const SequenceId stays = add(params);
  std::vector<Token> tokens = {append(stays, {1, 2}).value()};
  while (tokens.size() < 4) tokens.push_back(append(stays, {tokens.back()}).value());
  const auto sampler = engine_->save_sampler(stays);
  ASSERT_TRUE(sampler) << sampler.error().message;
  EXPECT_LT(sampler->size(), 200U);

  const SequenceId again = add({.temperature = 0.1F, .seed = 77});
  ASSERT_TRUE(append(again, {9}));
  ASSERT_TRUE(engine_->restore(again, *sampler));
  EXPECT_EQ(engine_->length(again), 0);
  const std::vector<Token> held = {1, 2, tokens[0], tokens[1], tokens[2]};
  Token nothing = kNoToken;
  const DecodeItem item{again, held, false, {}};
  ASSERT_TRUE(engine_->decode({&item, 1}, {&nothing, 1}));
  for (int i = 0; i < 6; ++i) {
    const Token next = append(stays, {tokens.back()}).value();
    EXPECT_EQ(append(again, {tokens.back()}).value(), next) << i;
    tokens.push_back(next);
  }
  EXPECT_EQ(engine_->save_sampler(kSequences).error().code, ErrorCode::invalid_argument);
}

TEST_P(EngineContract, TokensCanBeRestoredUnderAnotherSampler) {
  const SequenceId first = add({.temperature = 1.5F, .seed = 5});
  const std::vector<Token> prefix = {1, 2, 3};
  Token nothing = kNoToken;
  DecodeItem item{first, prefix, false, {}};
  ASSERT_TRUE(engine_->decode({&item, 1}, {&nothing, 1}));
  const auto state = engine_->save(first);
  ASSERT_TRUE(state) << state.error().message;

  const SamplingParams params{.temperature = 1.2F, .seed = 8};
  const SequenceId whole = add(params), shared = add(params);
  ASSERT_TRUE(engine_->restore_tokens(shared, *state));
  EXPECT_EQ(engine_->length(shared), 3);
  std::vector<Token> tokens = {append(whole, {1, 2, 3, 4}).value()};
  EXPECT_EQ(append(shared, {4}).value(), tokens[0]);
  for (int i = 0; i < 6; ++i) {
    const Token next = append(whole, {tokens.back()}).value();
    EXPECT_EQ(append(shared, {tokens.back()}).value(), next) << i;
    tokens.push_back(next);
  }
  EXPECT_FALSE(engine_->restore_tokens(shared, std::vector<std::byte>(100)));
  EXPECT_EQ(engine_->length(shared), 0);
}

// What is cut off is as if it had never been there.
TEST_P(EngineContract, TruncatedSequencesGoOn) {
  const SequenceId cut = add(), plain = add();
  ASSERT_TRUE(append(cut, {1, 2, 3}));
  ASSERT_TRUE(append(cut, {7, 8, 9}));
  ASSERT_TRUE(engine_->truncate(cut, 3));
  EXPECT_EQ(engine_->length(cut), 3);
  ASSERT_TRUE(append(plain, {1, 2, 3}));
  for (int i = 0; i < 4; ++i) {
    const auto one = append(cut, {4, 5}), other = append(plain, {4, 5});
    ASSERT_TRUE(one && other);
    EXPECT_EQ(*one, *other);
  }
  ASSERT_TRUE(engine_->truncate(cut, 100));  // nothing to cut
  EXPECT_EQ(engine_->length(cut), 11);
  ASSERT_TRUE(engine_->truncate(cut, 0));
  EXPECT_EQ(engine_->length(cut), 0);
  EXPECT_TRUE(append(cut, {1}));
  EXPECT_EQ(engine_->truncate(99, 0).error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace asynclm
