// SPDX-License-Identifier: Apache-2.0
// A run on the default model, saved at every token: loaded, it goes on with the same tokens.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/engine.h>
#include <asynclm/session.h>

#include "base/test_sanitized.h"
#include "engine/saved_sequence.h"
#include "session/saved_session.h"

namespace asynclm {
namespace {

struct SavedPoint {
  std::string session;
  SamplingParams sampling;
  Time now{};
};

class SavedModelRun : public ::testing::Test {
 protected:
  void SetUp() override {
    auto engine = make_llama_engine({.model_path = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf",
                                     .context_tokens = 1024,
                                     .max_sequences = 1,
                                     .threads = 1});
    ASSERT_TRUE(engine) << engine.error().message;
    engine_ = std::move(*engine);
    ToolSpec spec;
    spec.name = "count_lines";
    spec.description = "count the lines of a file";
    spec.parameters = {{"type", "object"},
                       {"properties", {{"path", {{"type", "string"}}}}},
                       {"required", {"path"}}};
    tools_ = {spec};
  }

  // Until the session is done, or for so many tokens; before each token `at_token` is told. A call
  // returns after ten tokens, or when the model waits for it.
  template <class AtToken>
  void play(Session& session, const SamplingParams& sampling, Time now, int tokens,
            AtToken at_token) {
    const auto sequence = engine_->create(sampling);
    ASSERT_TRUE(sequence) << sequence.error().message;
    while (tokens > 0) {
      const Step step = session.step();
      if (std::holds_alternative<Done>(step)) break;
      const auto* decode = std::get_if<Decode>(&step);
      for (CallKey key = 0; key < session.calls().size(); ++key) {
        const CallRecord& call = session.calls()[key];
        if (!call.dispatched || call.outcome) continue;
        if (decode != nullptr && now < *call.dispatched + from_ms(10)) continue;
        session.completed(key, {Outcome::returned, std::to_string(key + 7)}, now);
      }
      const Step after = session.step();
      decode = std::get_if<Decode>(&after);
      if (decode == nullptr) continue;
      at_token(*sequence, now);
      Token sampled = kNoToken;
      const auto held = static_cast<std::size_t>(engine_->length(*sequence));
      const DecodeItem item{.sequence = *sequence,
                            .append = session.context().subspan(held),
                            .sample = true,
                            .banned = decode->banned,
                            .filter = decode->filter};
      const auto done = engine_->decode({&item, 1}, {&sampled, 1});
      ASSERT_TRUE(done) << done.error().message;
      session.decoded(sampled, now += from_ms(1));
      --tokens;
    }
    engine_->drop(*sequence);
  }

  void check(const SamplingParams& sampling) {
    const SessionConfig config{
        .max_generated = 60, .context_tokens = 1024, .constrained = true, .jump_forward = true};
    Session session = *Session::create(
        engine_->vocabulary(), tools_,
        {{"user", "Count the lines of alpha.txt and count the lines of beta.txt."}}, config);
    std::vector<SavedPoint> points;
    play(session, sampling, Time{}, kToTheEnd, [&](SequenceId sequence, Time now) {
      const auto bytes = engine_->save_sampler(sequence);
      ASSERT_TRUE(bytes);
      const auto sampler = saved_sampler(*bytes);
      ASSERT_TRUE(sampler) << sampler.error().message;
      SamplingParams params = sampler->params;
      params.seed = sampler->random.state();
      points.push_back({seal_session(session.save()), params, now});
    });
    EXPECT_GT(points.size(), 10U);
    EXPECT_GE(session.calls().size(), 1U);
    const std::span<const Token> whole = session.context();
    // Sanitizers are ten times slower.
    for (std::size_t i = 0; i < points.size(); i += kSanitized ? 9 : 1) {
      const auto opened = open_session(points[i].session);
      ASSERT_TRUE(opened) << opened.error().message;
      auto loaded = Session::load(engine_->vocabulary(), tools_, *opened);
      ASSERT_TRUE(loaded) << loaded.error().message;
      const bool to_the_end = i % 9 == 0;
      play(*loaded, points[i].sampling, points[i].now, to_the_end ? kToTheEnd : 6,
           [](SequenceId, Time) {});
      const std::span<const Token> context = loaded->context();
      ASSERT_LE(context.size(), whole.size()) << "saved at " << i;
      ASSERT_TRUE(std::ranges::equal(context, whole.first(context.size()))) << "saved at " << i;
      ASSERT_TRUE(!to_the_end || loaded->answer() == session.answer());
    }
  }

  static constexpr int kToTheEnd = 1 << 20;
  std::unique_ptr<Engine> engine_;
  std::vector<ToolSpec> tools_;
};

TEST_F(SavedModelRun, TheLikeliestTokens) { check({}); }

TEST_F(SavedModelRun, SampledTokens) { check({.temperature = 0.8F, .top_k = 40, .seed = 5}); }

}  // namespace
}  // namespace asynclm
