// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_author.h"

#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "cml/test_vocabulary.h"
#include "fixtures/fake_engine.h"
#include "oracle/test_oracle.h"

namespace asynclm::bench {
namespace {

// f("1"), then g("2") after it, f("3") besides.
Task three_calls() {
  Task task{.user = "go",
            .calls = {make_call("f", "1", 10, "one"), make_call("g", "2", 10, "two"),
                      make_call("f", "3", 10, "three")},
            .say = {}};
  task.calls[1].after = {0};
  return task;
}

// What becomes of the task when a model writes this, and ends its turn at each |: it goes on there
// while calls are open.
BfclScore score_of(const Task& task, const std::string& written, Mode mode = Mode::async) {
  const TestVocabulary& vocabulary = quick_vocabulary();
  const std::vector<ToolSpec> tools = {make_tool("f", 10), make_tool("g", 10)};
  auto session = Session::create(vocabulary, tools, {{"user", task.user}}, {.mode = mode});
  EXPECT_TRUE(session) << session.error().message;
  FakeEngine engine(vocabulary, {.context_tokens = 4096, .max_sequences = 1});
  const auto id = engine.create({});
  EXPECT_TRUE(id);
  std::vector<Token> tokens;
  Token stop = 0;
  while (!vocabulary.is_end_of_generation(stop)) ++stop;
  for (const auto part : std::views::split(written, '|')) {
    tokens.append_range(encode_with_controls(vocabulary, std::string_view(part)));
    tokens.push_back(stop);
  }
  engine.script(*id, play(std::move(tokens), stop));
  ModelAuthor author;
  author.begin(task, *session, {});
  const auto tool = [&](CallKey key, const CallRecord& call) {
    const TaskCall* const right = author.call(key, call);
    return SimulatedReturn{
        from_ms(10), right != nullptr ? right->result : CallResult{Outcome::failed, "unknown"}};
  };
  const auto done = simulate(*session, engine, *id, Time{},
                             {.costs = {.per_token = from_ms(1), .per_appended_token = {}}}, tool);
  EXPECT_TRUE(done) << done.error().message;
  return score_task(task, *session, 0, author);
}

TEST(BfclScore, CallsOnceEachInAPossibleOrderAreRight) {
  const BfclScore right = score_of(
      three_calls(),
      R"([CALL]c[HEAD]f(x="3")[END][CALL]a[HEAD]f(x="1")[END]|[CALL]b[HEAD]g(x="2")[END]|)");
  EXPECT_TRUE(right.is_right());
  EXPECT_EQ(right, (BfclScore{.expected = 3, .exact = 3}));
}

TEST(BfclScore, ACallBeforeWhatItNeedsIsEarly) {
  const char* const written =
      R"([CALL]a[HEAD]f(x="1")[END][CALL]b[HEAD]g(x="2")[END][CALL]c[HEAD]f(x="3")[END]||)";
  EXPECT_EQ(score_of(three_calls(), written), (BfclScore{.expected = 3, .exact = 3, .early = 1}));
  // In async+ the session holds it back, if the model says so.
  EXPECT_EQ(score_of(three_calls(), written, Mode::async_plus).early, 1);
  EXPECT_TRUE(score_of(three_calls(),
                       R"([CALL]a[HEAD]f(x="1")[END][CALL]b after a[HEAD]g(x="2")[END])"
                       R"([CALL]c[HEAD]f(x="3")[END]||)",
                       Mode::async_plus)
                  .is_right());
}

TEST(BfclScore, WrongRefusedAndRepeatedCallsAreExtra) {
  const BfclScore wrong = score_of(three_calls(), R"([CALL]a[HEAD]f(x="2")[END]|)");
  EXPECT_EQ(wrong, (BfclScore{.expected = 3, .extra = 1}));
  EXPECT_EQ(score_of(three_calls(), R"([CALL]a[HEAD]h(x="1")[END]|)").extra, 1);
  EXPECT_EQ(score_of(three_calls(), R"([CALL]a[HEAD]f(z="1")[END]|)").extra, 1);
  const BfclScore twice =
      score_of(three_calls(), R"([CALL]a[HEAD]f(x="1")[END][CALL]b[HEAD]f(x="1")[END]|)");
  EXPECT_EQ(twice, (BfclScore{.expected = 3, .exact = 1, .extra = 1}));
}

TEST(BfclScore, ValuesThatTheDataAcceptsAreRight) {
  Task task = three_calls();
  task.calls.resize(1);
  task.calls[0].accept = {{"x", {"1", "one"}}};
  EXPECT_TRUE(score_of(task, R"([CALL]a[HEAD]f(x="ONE")[END]|)").is_right());
  EXPECT_FALSE(score_of(task, R"([CALL]a[HEAD]f(x="two")[END]|)").is_right());
}

TEST(BfclScore, ARunThatIsCutHasNotEnded) {
  Task task = three_calls();
  task.calls.resize(1);
  const std::string call = R"([CALL]a[HEAD]f(x="1")[END])";
  EXPECT_TRUE(score_of(task, call + "|").ended);
  const BfclScore cut = score_of(task, call + std::string(5000, 'x'));
  EXPECT_EQ(cut, (BfclScore{.expected = 1, .exact = 1, .ended = false}));
}

}  // namespace
}  // namespace asynclm::bench
