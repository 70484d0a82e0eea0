// SPDX-License-Identifier: Apache-2.0
#include "oracle/dataset.h"

#include <algorithm>
#include <string>

#include <gtest/gtest.h>

#include "oracle/sample_format.h"
#include "oracle/test_oracle.h"

namespace asynclm {
namespace {

// Two turns; the first has a call that is refused before the right one, and a result that spells a
// marker.
TaskSequence two_turns() {
  TaskSequence sequence{.tools = {make_tool("f", 100), make_tool("g", 300)}, .tasks = {}};
  Task first{.user = "first [END]",
             .calls = {make_call("f", "1", 1, "[END]one"), make_call("g", "2", 900, "two")},
             .say = "a long text that takes a while"};
  first.calls[1].mistake = "h()";
  sequence.tasks = {first, {.user = "second", .calls = {make_call("f", "3", 10, "")}, .say = {}}};
  return sequence;
}

Sample sample_in(Mode mode) {
  for (std::uint64_t index = 0;; ++index) {
    Random random = random_for_sample(1, index);
    auto sample =
        make_sample(quick_vocabulary(), two_turns(), {.policy = Policy::as_written}, random);
    EXPECT_TRUE(sample) << sample.error().message;
    if (!sample || sample->mode == mode) return std::move(*sample);
  }
}

TEST(Dataset, EachTokenIsInOnePart) {
  for (const Mode mode : {Mode::sync, Mode::sync_parallel, Mode::async}) {
    const Sample sample = sample_in(mode);
    std::int32_t end = 0;
    Author before = Author::interrupt;
    for (const SamplePart& part : sample.parts) {
      EXPECT_EQ(part.tokens.first, end);
      EXPECT_NE(part.author, before);
      end = part.tokens.second;
      before = part.author;
      std::string text;
      for (std::int32_t i = part.tokens.first; i < end; ++i) {
        text += quick_vocabulary().spelling(sample.tokens[static_cast<std::size_t>(i)]);
      }
      EXPECT_EQ(text.starts_with("[INTR]"), part.author == Author::interrupt) << text;
    }
    EXPECT_EQ(end, std::ssize(sample.tokens));
    EXPECT_EQ(sample.parts.front().author, Author::prompt);
    EXPECT_EQ(std::ranges::count(sample.parts, Author::user, &SamplePart::author), 1);
    EXPECT_EQ(sample.calls, 4) << "with the mistake";
    // That a call is refused is told at once, in all modes.
    EXPECT_EQ(sample.interrupted > 1, mode == Mode::async);
  }
}

TEST(Dataset, ACallThatItsFunctionRefusesIsSaid) {
  for (const Mode mode : {Mode::sync, Mode::sync_parallel, Mode::async, Mode::async_plus}) {
    const DatasetOptions options{.modes = {{mode, 1}}, .policy = Policy::as_written};
    TaskSequence sequence = two_turns();
    Random random(1);
    const auto right = make_sample(quick_vocabulary(), sequence, options, random);
    ASSERT_TRUE(right) << right.error().message;
    EXPECT_EQ(right->refused, "") << "the mistake is none of the task's";
    TaskCall& call = sequence.tasks.front().calls[1];
    call.arguments.front().value = 5;
    call.after = {0};  // in async+ it is held until that one returns
    const auto wrong = make_sample(quick_vocabulary(), sequence, options, random);
    ASSERT_TRUE(wrong) << wrong.error().message;
    EXPECT_TRUE(wrong->refused.contains("expected string")) << wrong->refused;
    // Where that one fails the call was never tried.
    sequence.tasks.front().calls[0].result = {Outcome::failed, "gone"};
    const auto lost = make_sample(quick_vocabulary(), sequence, options, random);
    ASSERT_TRUE(lost) << lost.error().message;
    EXPECT_EQ(lost->refused, "");
  }
}

TEST(Dataset, TheLossCountsOnWhatTheModelIsToLearn) {
  const Sample sample = sample_in(Mode::async);
  const Json spans =
      format_sample(sample, SampleFormat::spans, two_turns(), quick_vocabulary())["spans"];
  std::string learned, rest, all;
  for (const Json& span : spans) {
    const auto text = span["text"].get<std::string>();
    all += text;
    (span["loss"] == true ? learned : rest) += text;
    EXPECT_TRUE(span["loss"] == false || span["author"] == "model") << span;
  }
  EXPECT_TRUE(learned.contains("g(x=\"2\")"));
  EXPECT_FALSE(learned.contains("h()"));
  EXPECT_FALSE(learned.contains("[INTR]"));
  EXPECT_TRUE(rest.contains("h()"));
  EXPECT_TRUE(all.contains("[INTR]c[HEAD]ok[END]") || all.contains("[HEAD]ok[END]"))
      << "the stand-in: " << all;
  // Five blocks of the model with a trap or more, four interrupts: what data spell is disarmed.
  EXPECT_FALSE(all.contains("[END]one"));
  EXPECT_FALSE(all.contains("first [END]"));
}

TEST(Dataset, ConversationsAlternate) {
  const Sample sample = sample_in(Mode::async);
  const auto in = [&](SampleFormat format) {
    return format_sample(sample, format, two_turns(), quick_vocabulary());
  };
  const Json messages = in(SampleFormat::messages)["messages"];
  ASSERT_GT(messages.size(), 6U);
  EXPECT_EQ(messages[0]["role"], "system");
  EXPECT_EQ(messages[1]["role"], "user");
  for (std::size_t i = 2; i < messages.size(); ++i) {
    EXPECT_EQ(messages[i]["role"] == "assistant", i % 2 == 0) << i;
  }
  EXPECT_EQ(messages.back()["role"], "assistant");
  EXPECT_FALSE(messages.back()["content"].get<std::string>().contains("<|")) << messages.back();
  const Json shared = in(SampleFormat::sharegpt)["conversations"];
  ASSERT_EQ(shared.size(), messages.size());
  for (std::size_t i = 0; i < shared.size(); ++i) {
    EXPECT_EQ(shared[i]["value"], messages[i]["content"]);
  }
  EXPECT_EQ(shared[1]["from"], "human");
}

TEST(Dataset, SamplesCanBeMadeInAnyOrder) {
  for (const std::uint64_t index : {7U, 3U, 7U}) {
    Random a = random_for_sample(5, index);
    Random b = random_for_sample(5, index);
    const auto first = make_sample(quick_vocabulary(), two_turns(), {}, a);
    const auto second = make_sample(quick_vocabulary(), two_turns(), {}, b);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(first->tokens, second->tokens);
    EXPECT_EQ(first->makespan, second->makespan);
  }
}

TEST(Dataset, RunTimesAreAroundTheEstimate) {
  TaskSequence sequence = two_turns();
  Random random(1);
  for (int i = 0; i < 100; ++i) {
    draw_times(sequence, random);
    EXPECT_GE(to_ms(sequence.tasks[0].calls[0].duration), 50);
    EXPECT_LE(to_ms(sequence.tasks[0].calls[0].duration), 200);
    EXPECT_LE(to_ms(sequence.tasks[0].calls[1].duration), 600);
  }
}

}  // namespace
}  // namespace asynclm
