// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_workload.h"

#include <chrono>

#include <gtest/gtest.h>

#include "oracle/test_recordings.h"

namespace asynclm::bench {
namespace {

class BfclWorkloads : public RecordingFolder {
 protected:
  [[nodiscard]] Result<BfclWorkload> load(const BfclSource& source) const {
    return load_bfcl(path("."), source);
  }
};

constexpr BfclSource kOneTurn{.name = "one", .file = "one", .upstream = "one", .says = ""};

TEST_F(BfclWorkloads, WhatReturnsNothingReturnsTheStandIn) {
  (void)write("one.jsonl", std::string(kRecording) + "\n");
  (void)write("function_times_ms.json", R"({"music.play": 40})");
  auto workload = load(kOneTurn);
  ASSERT_TRUE(workload) << workload.error().message;
  ASSERT_EQ(workload->samples.size(), 1U);
  const BfclSample& sample = workload->samples.front();
  const TaskCall& call = sample.sequence.tasks.front().calls.front();
  EXPECT_EQ(call.result.text, kStandInResult);
  EXPECT_EQ(call.duration, from_ms(40));
  EXPECT_TRUE(sample.documents.contains("\"music_play\"")) << sample.documents;
  keep_called_tools(*workload);
  EXPECT_EQ(sample.sequence.tools.size(), 1U);
  scale_times(*workload, 0.01);
  EXPECT_EQ(call.duration, from_ms(0.4));
  EXPECT_EQ(sample.sequence.tools.front().estimate, std::chrono::milliseconds(1));
}

constexpr const char* kTurns =
    R"({"id": "m_0", "involved_classes": ["A"], "turns": [)"
    R"({"user": ["first"], "calls": [{"name": "one", "args": {}, "result": "1"}]},)"
    R"({"user": ["nothing"], "calls": []},)"
    R"({"user": ["last"], "calls": [{"name": "one", "args": {}, "result": "2"}]}]})"
    "\n";
constexpr const char* kParts =
    R"({"id": "p_0", "user": "all", "classes_called": ["A"], "subtasks": [)"
    R"({"user": "a", "calls": [{"name": "one", "args": {}}]},)"
    R"({"user": "b", "calls": [{"name": "one", "args": {}}, {"name": "one", "args": {}}]},)"
    R"({"user": "c", "calls": [{"name": "one", "args": {}}]}]})"
    "\n";
constexpr const char* kClassA =
    R"({"A": [{"name": "one", "parameters": {"type": "object", "properties": {}}},)"
    R"( {"name": "other", "parameters": {"type": "object", "properties": {}}}]})";

TEST_F(BfclWorkloads, ConversationsAreRunAsAWholeOrBegun) {
  (void)write("multi_turn_functions.json", kClassA);
  (void)write("turns.jsonl", kTurns);
  const auto whole = load({.name = "w", .file = "turns", .upstream = "", .says = ""});
  ASSERT_TRUE(whole) << whole.error().message;
  ASSERT_EQ(whole->samples.at(0).sequence.tasks.size(), 2U);
  EXPECT_EQ(whole->samples[0].sequence.tasks[1].user, "last");
  EXPECT_EQ(whole->samples[0].sequence.tools.size(), 2U);
  BfclWorkload called = *whole;
  keep_called_tools(called);
  EXPECT_EQ(called.samples[0].sequence.tools.size(), 1U);
  EXPECT_FALSE(called.samples[0].documents.contains("other"));
  const auto first =
      load({.name = "f", .file = "turns", .upstream = "", .says = "", .first_turn_only = true});
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->samples.at(0).sequence.tasks.size(), 1U);
}

TEST_F(BfclWorkloads, TasksSideBySideCanBeSaidOneAfterAnother) {
  (void)write("multi_turn_functions.json", kClassA);
  (void)write("parts.jsonl", kParts);
  const auto workload =
      load({.name = "a", .file = "parts", .upstream = "", .says = "", .arrivals = from_ms(200)});
  ASSERT_TRUE(workload) << workload.error().message;
  const Task& task = workload->samples.at(0).sequence.tasks.front();
  EXPECT_EQ(task.user, "a");
  ASSERT_EQ(task.interruptions.size(), 2U);
  EXPECT_EQ(task.interruptions[1].text, "c");
  EXPECT_EQ(task.interruptions[1].at, from_ms(400));
  ASSERT_EQ(task.calls.size(), 4U);
  EXPECT_FALSE(task.calls[0].asked_by);
  EXPECT_EQ(task.calls[1].asked_by, 0U);
  EXPECT_EQ(task.calls[2].asked_by, 0U);
  EXPECT_EQ(task.calls[3].asked_by, 1U);
}

TEST_F(BfclWorkloads, TheLeaderboardsOwnFileIsFound) {
  (void)write("BFCL_v4_live_one.json", "no JSON");
  (void)write("BFCL_v4_one.json", std::string(kRecording) + "\n");
  const auto workload = load(kOneTurn);
  ASSERT_TRUE(workload) << workload.error().message;
  EXPECT_EQ(workload->samples.at(0).id, "p_0");
}

TEST_F(BfclWorkloads, WhatIsNotThereIsSaid) {
  const auto missing = load(kOneTurn);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_TRUE(missing.error().message.contains("one.jsonl")) << missing.error().message;
  (void)write("one.jsonl", "");
  const auto empty = load(kOneTurn);
  ASSERT_FALSE(empty);
  EXPECT_TRUE(empty.error().message.contains("no sample with a call")) << empty.error().message;
  (void)write("one.jsonl", std::string(kRecording) + "\n");
  const auto alone =
      load({.name = "a", .file = "one", .upstream = "", .says = "", .arrivals = from_ms(0)});
  ASSERT_FALSE(alone);
  EXPECT_TRUE(alone.error().message.contains("side by side")) << alone.error().message;
}

}  // namespace
}  // namespace asynclm::bench
