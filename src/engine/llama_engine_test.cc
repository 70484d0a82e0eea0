// SPDX-License-Identifier: Apache-2.0
// The llama engine on a small random model. One thread: the results must be exact.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/engine.h>

#include "base/test_folder.h"
#include "engine/test_llama_model.h"
#include "fixtures/fake_engine.h"

namespace asynclm {
namespace {

using test_model::TestModel;
using test_model::write_test_model;

// Warm enough that a small error in the logits or the random state shows within some tokens.
constexpr SamplingParams kWarm{.temperature = 1.2F, .top_k = 50, .top_p = 0.98F, .seed = 11};

class LlamaEngineTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<TemporaryFolder>();
    ASSERT_TRUE(write_test_model({}, folder_->file("a.gguf")));
    ASSERT_TRUE(write_test_model({.seed = 2}, folder_->file("b.gguf")));
    ASSERT_TRUE(write_test_model({.context = 4096}, folder_->file("long.gguf")));
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static LlamaOptions options(const std::string& file = "a.gguf") {
    return {.model_path = folder_->file(file),
            .context_tokens = 512,
            .max_sequences = 4,
            .batch_tokens = 512,
            .threads = 1};
  }
  static std::unique_ptr<Engine> make(const LlamaOptions& options) {
    Result<std::unique_ptr<Engine>> engine = make_llama_engine(options);
    EXPECT_TRUE(engine.has_value()) << engine.error().message;
    return engine ? std::move(*engine) : nullptr;
  }
  static Error error_of(const LlamaOptions& options) {
    Result<std::unique_ptr<Engine>> engine = make_llama_engine(options);
    EXPECT_FALSE(engine.has_value());
    return engine ? Error{} : engine.error();
  }
  // Tokens without meaning; two prompts of different `variant` differ everywhere.
  static std::vector<Token> prompt(std::size_t size, std::size_t variant = 0) {
    std::vector<Token> tokens(size);
    for (std::size_t i = 0; i < size; ++i) {
      tokens[i] = static_cast<Token>(10 + (i * 7 + variant * 31) % 250);
    }
    return tokens;
  }
  static Token append(Engine& engine, SequenceId id, const std::vector<Token>& tokens,
                      const std::vector<Token>& banned = {}) {
    Token out = kNoToken;
    const DecodeItem item{id, tokens, true, banned};
    const Result<void> done = engine.decode({&item, 1}, {&out, 1});
    EXPECT_TRUE(done.has_value()) << done.error().message;
    return out;
  }
  // Appends `first` and goes on with what it samples.
  static std::vector<Token> generate(Engine& engine, SequenceId id, std::vector<Token> first,
                                     std::size_t count) {
    std::vector<Token> out;
    for (std::size_t i = 0; i < count; ++i) {
      out.push_back(append(engine, id, first));
      first = {out.back()};
    }
    return out;
  }
  static std::vector<Token> alone(const SamplingParams& params, const std::vector<Token>& first,
                                  std::size_t count) {
    const std::unique_ptr<Engine> engine = make(options());
    return generate(*engine, engine->create(params).value(), first, count);
  }

  static std::unique_ptr<TemporaryFolder> folder_;
};
std::unique_ptr<TemporaryFolder> LlamaEngineTest::folder_;

// --- Making one -------------------------------------------------------------------------------

TEST_F(LlamaEngineTest, InfoNamesModelAndLibrary) {
  const auto engine = make(options());
  EXPECT_TRUE(engine->info().model.starts_with("test model, llama")) << engine->info().model;
  EXPECT_TRUE(engine->info().library.starts_with("libllama ")) << engine->info().library;
  EXPECT_NE(engine->info().library.find("ggml "), std::string::npos);
  EXPECT_NE(engine->vocabulary().control("[CALL]"), kNoToken);
}

TEST_F(LlamaEngineTest, TheContextIsCutToTheModels) {
  LlamaOptions wide = options();
  wide.context_tokens = 100000;
  EXPECT_EQ(make(wide)->info().context_tokens, 1024);
}

TEST_F(LlamaEngineTest, DefaultOptionsWork) {
  const auto engine = make({.model_path = folder_->file("a.gguf")});
  EXPECT_EQ(engine->info().context_tokens, 1024);
  EXPECT_NE(append(*engine, engine->create({}).value(), prompt(300)), kNoToken);
}

TEST_F(LlamaEngineTest, OptionsOutOfRangeAreNamed) {
  const std::vector<std::pair<std::string, void (*)(LlamaOptions&)>> wrong{
      {"context_tokens", [](LlamaOptions& o) { o.context_tokens = 0; }},
      {"context_tokens", [](LlamaOptions& o) { o.context_tokens = -5; }},
      {"max_sequences", [](LlamaOptions& o) { o.max_sequences = 0; }},
      {"max_sequences", [](LlamaOptions& o) { o.max_sequences = 257; }},
      {"batch_tokens", [](LlamaOptions& o) { o.batch_tokens = 0; }},
      {"threads", [](LlamaOptions& o) { o.threads = -1; }},
      {"threads", [](LlamaOptions& o) { o.threads = 100000; }},
      {"gpu_layers", [](LlamaOptions& o) { o.gpu_layers = -2; }},
  };
  for (const auto& [field, change] : wrong) {
    LlamaOptions changed = options();
    change(changed);
    const Error error = error_of(changed);
    EXPECT_EQ(error.code, ErrorCode::invalid_argument) << field;
    EXPECT_TRUE(error.message.starts_with(field)) << error.message;
  }
}

TEST_F(LlamaEngineTest, ExtremeOptionsWork) {
  LlamaOptions many = options();
  many.max_sequences = 256;
  many.context_tokens = 3;
  many.batch_tokens = 1;
  const auto engine = make(many);
  for (SequenceId id = 0; id < 256; ++id) ASSERT_EQ(engine->create({}).value(), id);
  append(*engine, 255, {10});
  EXPECT_EQ(engine->length(255), 1);
  many.batch_tokens = 256;
  const auto wide = make(many);
  std::vector<DecodeItem> items;
  const std::vector<Token> token{10};
  for (SequenceId id = 0; id < 256; ++id) {
    ASSERT_TRUE(wide->create({}).has_value());
    items.push_back({id, token, true, {}});
  }
  std::vector<Token> sampled(256);
  const Result<void> done = wide->decode(items, sampled);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(std::ranges::count(sampled, sampled[0]), 256);
}

TEST_F(LlamaEngineTest, FilesThatAreNoModel) {
  LlamaOptions missing = options("missing.gguf");
  EXPECT_EQ(error_of(missing).code, ErrorCode::not_found);
  // A vocabulary is not enough; libllama's words are passed on.
  ASSERT_TRUE(write_test_model({.tensors = false}, folder_->file("vocabulary.gguf")));
  const Error error = error_of(options("vocabulary.gguf"));
  EXPECT_EQ(error.code, ErrorCode::engine);
  EXPECT_NE(error.message.find("tensor"), std::string::npos) << error.message;
}

// --- Decoding ---------------------------------------------------------------------------------

TEST_F(LlamaEngineTest, InOnePieceOrTokenByTokenTheNextTokenIsTheSame) {
  const auto engine = make(options());
  for (std::size_t variant = 0; variant < 8; ++variant) {
    const std::vector<Token> tokens = prompt(40, variant);
    const SequenceId whole = engine->create({}).value();
    const SequenceId single = engine->create({}).value();
    const SequenceId pieces = engine->create({}).value();
    const Token expected = append(*engine, whole, tokens);
    Token last = kNoToken;
    for (const Token token : tokens) last = append(*engine, single, {token});
    EXPECT_EQ(last, expected) << variant;
    append(*engine, pieces, {tokens.begin(), tokens.begin() + 13});
    EXPECT_EQ(append(*engine, pieces, {tokens.begin() + 13, tokens.end()}), expected) << variant;
    for (const SequenceId id : {whole, single, pieces}) engine->drop(id);
  }
}

TEST_F(LlamaEngineTest, DifferentContextsGiveDifferentTokens) {  // or the tests here prove nothing
  std::vector<Token> seen;
  for (std::size_t variant = 0; variant < 6; ++variant) {
    seen.push_back(alone({}, prompt(20, variant), 1)[0]);
  }
  std::ranges::sort(seen);
  EXPECT_GE(std::ranges::unique(seen).begin() - seen.begin(), 4);
}

TEST_F(LlamaEngineTest, SequencesInOneBatchDoNotTouchEachOther) {
  const auto engine = make(options());
  // Prompts of different lengths enter while others generate; items in mixed order.
  std::vector<std::vector<Token>> expected;
  std::vector<std::vector<Token>> next;
  std::vector<std::vector<Token>> generated(4);
  for (std::size_t i = 0; i < 4; ++i) {
    SamplingParams params = kWarm;
    params.seed = i;
    ASSERT_EQ(engine->create(params).value(), static_cast<SequenceId>(i));
    next.push_back(prompt(5 + 40 * i, i));
    expected.push_back(alone(params, next.back(), 12));
  }
  for (std::size_t round = 0; round < 20; ++round) {
    std::vector<DecodeItem> items;
    for (const std::size_t i : {2U, 0U, 3U, 1U}) {
      if (round < 2 * i || generated[i].size() == 12) continue;  // sequence i starts later
      items.push_back({static_cast<SequenceId>(i), next[i], true, {}});
    }
    std::vector<Token> sampled(items.size());
    const Result<void> done = engine->decode(items, sampled);
    ASSERT_TRUE(done.has_value()) << done.error().message;
    for (std::size_t k = 0; k < items.size(); ++k) {
      const auto i = static_cast<std::size_t>(items[k].sequence);
      generated[i].push_back(sampled[k]);
      next[i] = {sampled[k]};
    }
  }
  EXPECT_EQ(generated, expected);
}

TEST_F(LlamaEngineTest, ItemsThatDoNotSampleOnlyAppend) {
  const auto engine = make(options());
  const SequenceId a = engine->create(kWarm).value();
  const SequenceId b = engine->create(kWarm).value();
  const std::vector<Token> first = prompt(30);
  const std::vector<Token> rest = prompt(20, 3);
  const std::vector<DecodeItem> items{{a, first, false, {}}, {b, first, true, {}}};
  std::vector<Token> sampled{55, 55};
  ASSERT_TRUE(engine->decode(items, sampled).has_value());
  EXPECT_EQ(sampled[0], kNoToken);
  EXPECT_NE(sampled[1], kNoToken);
  std::vector<Token> whole = first;
  whole.insert(whole.end(), rest.begin(), rest.end());
  EXPECT_EQ(generate(*engine, a, rest, 10), alone(kWarm, whole, 10));
}

TEST_F(LlamaEngineTest, CallsLargerThanLibllamasBatchAreSplit) {
  LlamaOptions large = options("long.gguf");
  large.context_tokens = 4096;
  large.max_sequences = 2;
  large.batch_tokens = 8192;
  const auto engine = make(large);
  const SequenceId a = engine->create({}).value();
  const SequenceId b = engine->create({}).value();
  const std::vector<Token> long_one = prompt(2500);
  const std::vector<Token> short_one = prompt(100, 1);
  const std::vector<DecodeItem> items{{b, long_one, true, {}}, {a, short_one, true, {}}};
  std::vector<Token> sampled(2);
  const Result<void> done = engine->decode(items, sampled);
  ASSERT_TRUE(done.has_value()) << done.error().message;
  EXPECT_EQ(engine->length(a), 100);
  EXPECT_EQ(engine->length(b), 2500);
  engine->drop(b);
  const SequenceId c = engine->create({}).value();
  Token last = kNoToken;
  for (auto at = long_one.begin(); at != long_one.end(); at += 500) {
    last = append(*engine, c, {at, at + 500});
  }
  EXPECT_EQ(last, sampled[0]);
  EXPECT_EQ(alone({}, short_one, 1)[0], sampled[1]);
}

TEST_F(LlamaEngineTest, BannedTokensAreNotSampled) {
  const auto engine = make(options());
  std::vector<Token> banned;
  for (int i = 0; i < 5; ++i) {
    const SequenceId id = engine->create({}).value();
    const Token token = append(*engine, id, prompt(10), banned);
    EXPECT_FALSE(std::ranges::contains(banned, token));
    banned.push_back(token);
    engine->drop(id);
  }
}

// The last item fails after the others were computed and sampled.
TEST_F(LlamaEngineTest, AnErrorRollsEverySequenceBack) {
  const auto engine = make(options());
  std::vector<Token> everything(static_cast<std::size_t>(engine->vocabulary().size()));
  std::iota(everything.begin(), everything.end(), 0);
  const SequenceId a = engine->create(kWarm).value();
  const SequenceId b = engine->create(kWarm).value();
  const SequenceId c = engine->create(kWarm).value();
  append(*engine, a, prompt(20));
  append(*engine, b, prompt(7));
  const auto state_a = engine->save(a).value();
  const auto state_b = engine->save(b).value();

  const std::vector<Token> more = prompt(9, 4);
  const std::vector<DecodeItem> items{
      {a, more, true, {}}, {b, more, false, {}}, {c, more, true, everything}};
  std::vector<Token> sampled(3);
  const Result<void> done = engine->decode(items, sampled);
  ASSERT_FALSE(done.has_value());
  EXPECT_EQ(done.error().code, ErrorCode::invalid_argument) << done.error().message;
  EXPECT_EQ(engine->length(a), 20);
  EXPECT_EQ(engine->length(b), 7);
  EXPECT_EQ(engine->length(c), 0);
  EXPECT_EQ(engine->save(a).value(), state_a);  // the random state as well
  EXPECT_EQ(engine->save(b).value(), state_b);
  EXPECT_EQ(generate(*engine, c, prompt(15), 5), alone(kWarm, prompt(15), 5));
}

TEST_F(LlamaEngineTest, AbortRollsBackAndTheSequenceGoesOn) {
  LlamaOptions large = options("long.gguf");
  large.context_tokens = 4096;
  large.batch_tokens = 4096;
  const auto engine = make(large);
  const SequenceId id = engine->create(kWarm).value();
  append(*engine, id, prompt(30));
  const auto state = engine->save(id).value();

  std::atomic<bool> stop = false;
  std::thread aborter([&] {
    while (!stop) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      engine->request_abort();
    }
  });
  // Until a request comes while libllama computes. Calls that are over before count as done.
  bool within = false;
  const std::vector<Token> more = prompt(2000, 2);
  for (int round = 0; round < 20'000 && !within; ++round) {
    Token sampled = kNoToken;
    const DecodeItem item{id, more, true, {}};
    const Result<void> done = engine->decode({&item, 1}, {&sampled, 1});
    EXPECT_EQ(engine->length(id), done ? 2030 : 30);
    if (done) {
      EXPECT_TRUE(engine->restore(id, state).has_value());
    } else {
      EXPECT_EQ(done.error().code, ErrorCode::cancelled) << done.error().message;
      within = done.error().message == "decode was aborted within a batch";
    }
  }
  stop = true;
  aborter.join();
  EXPECT_TRUE(within);
  EXPECT_EQ(engine->length(id), 30);
  EXPECT_EQ(engine->save(id).value(), state);
  const SequenceId other = engine->create({}).value();
  ASSERT_TRUE(engine->restore(other, state).has_value());
  EXPECT_EQ(generate(*engine, id, prompt(5), 10), generate(*engine, other, prompt(5), 10));
}

// --- Copies -----------------------------------------------------------------------------------

TEST_F(LlamaEngineTest, ARestoredSequenceContinuesExactly) {
  const auto engine = make(options());
  const SequenceId a = engine->create(kWarm).value();
  const std::vector<Token> start = generate(*engine, a, prompt(50), 10);
  const std::vector<std::byte> state = engine->save(a).value();
  const std::vector<Token> expected = generate(*engine, a, {start.back()}, 30);

  // Into itself, into one that held something else, and in another engine of the same model.
  ASSERT_TRUE(engine->restore(a, state).has_value());
  EXPECT_EQ(engine->length(a), 59);
  EXPECT_EQ(generate(*engine, a, {start.back()}, 30), expected);
  const SequenceId b = engine->create({}).value();
  append(*engine, b, prompt(200, 7));
  ASSERT_TRUE(engine->restore(b, state).has_value());
  EXPECT_EQ(generate(*engine, b, {start.back()}, 30), expected);
  const auto other = make(options());
  const SequenceId c = other->create({}).value();
  ASSERT_TRUE(other->restore(c, state).has_value());
  EXPECT_EQ(generate(*other, c, {start.back()}, 30), expected);
}

TEST_F(LlamaEngineTest, AStateOfAnotherModelIsRefused) {
  const auto engine = make(options());
  const SequenceId a = engine->create({}).value();
  append(*engine, a, prompt(20));
  const std::vector<std::byte> state = engine->save(a).value();
  const auto other = make(options("b.gguf"));  // same shape, other weights
  const SequenceId b = other->create({}).value();
  append(*other, b, prompt(20));
  const Result<void> restored = other->restore(b, state);
  ASSERT_FALSE(restored.has_value());
  EXPECT_EQ(restored.error().code, ErrorCode::invalid_argument);
  EXPECT_NE(restored.error().message.find("another model"), std::string::npos);
  EXPECT_EQ(other->length(b), 0);

  const FakeVocabulary vocabulary;
  FakeEngine fake(vocabulary);
  const SequenceId f = fake.create({}).value();
  EXPECT_FALSE(engine->restore(a, fake.save(f).value()).has_value());
  EXPECT_FALSE(fake.restore(f, state).has_value());
}

TEST_F(LlamaEngineTest, AStateLongerThanTheContextIsRefused) {
  const auto engine = make(options());
  const SequenceId a = engine->create({}).value();
  append(*engine, a, prompt(300));
  const std::vector<std::byte> state = engine->save(a).value();
  LlamaOptions small = options();
  small.context_tokens = 299;
  const auto other = make(small);
  const SequenceId b = other->create({}).value();
  EXPECT_EQ(other->restore(b, state).error().code, ErrorCode::limit_exceeded);
  EXPECT_EQ(other->length(b), 0);
}

TEST_F(LlamaEngineTest, AStateFitsEnginesWithAsManySequences) {
  const auto engine = make(options());
  ASSERT_TRUE(engine->create({}).has_value());
  const SequenceId a = engine->create(kWarm).value();
  append(*engine, a, prompt(100));
  const std::vector<std::byte> state = engine->save(a).value();
  const std::vector<Token> expected = generate(*engine, a, prompt(3, 1), 20);

  LlamaOptions smaller = options();
  smaller.context_tokens = 300;
  smaller.batch_tokens = 64;
  const auto other = make(smaller);
  const SequenceId b = other->create({}).value();
  const Result<void> restored = other->restore(b, state);
  ASSERT_TRUE(restored.has_value()) << restored.error().message;
  EXPECT_EQ(generate(*other, b, prompt(3, 1), 20), expected);

  smaller.max_sequences = 2;
  const auto fewer = make(smaller);
  const SequenceId c = fewer->create(kWarm).value();
  const Result<void> refused = fewer->restore(c, state);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("max_sequences"), std::string::npos)
      << refused.error().message;
  EXPECT_EQ(fewer->length(c), 0);
  EXPECT_EQ(generate(*fewer, c, prompt(10), 5), alone(kWarm, prompt(10), 5));
}

TEST_F(LlamaEngineTest, ADroppedSequenceLeavesNothingBehind) {
  const auto engine = make(options());
  const SequenceId a = engine->create({}).value();
  append(*engine, a, prompt(400, 9));
  engine->drop(a);
  ASSERT_EQ(engine->create(kWarm).value(), a);
  EXPECT_EQ(generate(*engine, a, prompt(50), 10), alone(kWarm, prompt(50), 10));
}

TEST_F(LlamaEngineTest, TwoEnginesInTwoThreads) {
  const std::vector<Token> expected = alone(kWarm, prompt(60), 20);
  std::vector<std::vector<Token>> got(2);
  {
    std::vector<std::jthread> threads;
    for (auto& result : got) {
      threads.emplace_back([&result] { result = alone(kWarm, prompt(60), 20); });
    }
  }
  EXPECT_EQ(got[0], expected);
  EXPECT_EQ(got[1], expected);
}

}  // namespace
}  // namespace asynclm
