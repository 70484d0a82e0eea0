// SPDX-License-Identifier: Apache-2.0
#include "oracle/recordings.h"

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "oracle/test_recordings.h"

namespace asynclm {
namespace {

using Recordings = RecordingFolder;
using Indices = std::vector<std::size_t>;

constexpr const char* kClasses =
    R"({"A": [{"name": "one", "parameters": {"properties": {"x": {"type": "string"}}}}],
        "B": [{"name": "two", "parameters": {"properties": {"x": {"type": "string"}}}}]})";

TEST_F(Recordings, OneTurn) {
  const auto recordings = load_recordings(write("s.jsonl", std::string(kRecording) + "\n"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  ASSERT_EQ(recordings->size(), 1U);
  const Recording& recording = recordings->front();
  EXPECT_EQ(recording.id, "p_0");
  ASSERT_EQ(recording.sequence.tasks.size(), 1U);
  EXPECT_EQ(recording.sequence.tasks[0].user, "play Somebody");
  EXPECT_EQ(recording.sequence.tools.front().name, "music_play");
  EXPECT_EQ(arguments_of(recording.sequence.tasks[0].calls.front()).dump(),
            R"({"artist":"Somebody","minutes":20})");
}

TEST_F(Recordings, WhatCannotBeReadIsNamed) {
  const auto missing = load_recordings(path("none.jsonl"));
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_TRUE(missing.error().message.contains("none.jsonl"));
  const auto bad = load_recordings(write("bad.jsonl", std::string(kRecording) + "\n{\"id\": 1}\n"));
  ASSERT_FALSE(bad);
  EXPECT_TRUE(bad.error().message.contains("bad.jsonl:2: ")) << bad.error().message;
  (void)write("multi_turn_functions.json", kClasses);
  const auto loop = load_recordings(write(
      "loop.jsonl", R"({"id": "m", "user": "go", "classes_called": ["A"], "subtasks": [{"calls": [)"
                    R"({"name": "one", "args": {}, "deps_state": [0]}]}]})"));
  ASSERT_FALSE(loop);
  EXPECT_TRUE(loop.error().message.contains("loop.jsonl:1: deps_state: there is no earlier call 0"))
      << loop.error().message;
  // Blank lines are none, but they count.
  const auto unknown = load_recordings(
      write("unknown.jsonl", std::string(kRecording) + "\n \r\n" +
                                 R"({"id": "u", "messages": [], "functions": [], "calls": [)"
                                 R"({"name": "f.g", "args": {}}]})"));
  ASSERT_FALSE(unknown);
  EXPECT_TRUE(unknown.error().message.contains("unknown.jsonl:3: there is no function 'f_g'"))
      << unknown.error().message;
}

TEST_F(Recordings, FunctionsAndTimesStandInFilesBesideIt) {
  const std::string file =
      write("steps.jsonl",
            R"({"id": "m_0", "user": "go", "classes_called": ["B", "A"], "subtasks": [{"calls": [)"
            R"({"name": "two", "args": {}, "result": "7"}]},)"
            R"({"calls": [{"name": "one", "args": {}}], "sample": "s_1"}]})"
            "\n");
  const auto missing = load_recordings(file);
  ASSERT_FALSE(missing);
  EXPECT_TRUE(missing.error().message.contains("multi_turn_functions.json"));
  (void)write("multi_turn_functions.json", kClasses);
  (void)write("function_times_ms.json", R"({"two": 41.6})");
  const auto recordings = load_recordings(file);
  ASSERT_TRUE(recordings) << recordings.error().message;
  const TaskSequence& sequence = recordings->front().sequence;
  EXPECT_EQ(sequence.tools.at(0).name, "two");
  EXPECT_EQ(sequence.tools.at(0).estimate, std::chrono::milliseconds(42));
  EXPECT_EQ(sequence.tools.at(1).name, "one");
  ASSERT_EQ(sequence.tasks.size(), 1U);
  EXPECT_EQ(sequence.tasks[0].calls.at(0).result.text, "7");
  EXPECT_EQ(sequence.tasks[0].calls.at(0).duration, std::chrono::milliseconds(42));
  EXPECT_EQ(sequence.tasks[0].calls.at(1).tool, "one");
  ASSERT_EQ(recordings->front().parts.size(), 2U);
  EXPECT_EQ(recordings->front().parts[0].sample, "");
  EXPECT_EQ(recordings->front().parts[1].sample, "s_1");
}

TEST_F(Recordings, ACallComesAfterThoseWhoseValuesItTakes) {
  (void)write("multi_turn_functions.json", kClasses);
  const auto recordings = load_recordings(write(
      "flow.jsonl",
      R"({"id": "m", "involved_classes": ["A", "B"], "turns": [{"user": ["go to 94704"], "calls": [)"
      R"({"name": "one", "args": {"x": "p"}, "result": "{\"a\": [{\"code\": \"W77\"}, 94704]}"},)"
      R"({"name": "two", "args": {"x": "W77"}, "result": "null"},)"
      R"({"name": "two", "args": {"x": "94704"}},)"
      R"({"name": "one", "args": {"x": "q"}, "deps_state": [1]}]},)"
      R"({"user": ["and", "then"], "calls": [{"name": "one", "args": {"x": "W77"}}]}]})"
      "\n"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  const auto& tasks = recordings->front().sequence.tasks;
  ASSERT_EQ(tasks.size(), 2U);
  EXPECT_EQ(tasks[1].user, "and\nthen");
  const auto& calls = tasks[0].calls;
  EXPECT_EQ(calls.at(1).after, Indices{0});
  EXPECT_EQ(calls[1].arguments[0].from, 0U);
  EXPECT_EQ(calls[1].arguments[0].path, ".a[0].code");
  EXPECT_EQ(calls[1].arguments[0].value, "W77");
  EXPECT_TRUE(calls.at(2).after.empty()) << "the user has said it";
  EXPECT_EQ(calls.at(3).after, Indices{1});
  EXPECT_TRUE(tasks[1].calls.at(0).after.empty()) << "another turn";
}

TEST_F(Recordings, AValueThatNoPathLeadsToHasToBeRead) {
  (void)write("multi_turn_functions.json", kClasses);
  const auto recordings = load_recordings(write(
      "read.jsonl",
      R"({"id": "m", "user": "go", "classes_called": ["A"], "subtasks": [{"user": "a", "calls": [)"
      R"({"name": "one", "args": {"x": "p"}, "result": "{\"zip\": \"W77\", \"n\": 750.0}"},)"
      R"({"name": "one", "args": {"x": "W77"}, "deps_data": [0]},)"
      R"({"name": "one", "args": {"x": "750"}, "deps_data": [0]}]},)"
      R"({"user": "b", "calls": [{"name": "one", "args": {"x": "q"}}]}]})"
      "\n"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  const auto& calls = recordings->front().sequence.tasks.at(0).calls;
  EXPECT_TRUE(calls.at(1).reads.empty());
  EXPECT_EQ(calls.at(1).arguments[0].path, ".zip");
  EXPECT_EQ(calls.at(2).reads, Indices{0});
  ASSERT_EQ(recordings->front().parts.size(), 2U);
  EXPECT_EQ(recordings->front().parts[1].user, "b");
  EXPECT_EQ(recordings->front().parts[0].calls, 3U);
}

// Of a recording of one turn whose user says `user`, with functions one(x) and two(x).
std::string turn(const std::string& user, const std::string& calls) {
  const Json classes = Json::parse(kClasses);
  const Json line = {{"id", "t"},
                     {"messages", {{{"role", "user"}, {"content", user}}}},
                     {"functions", {classes["A"][0], classes["B"][0]}},
                     {"calls", Json::parse(calls)}};
  return line.dump() + "\n";
}

TEST_F(Recordings, AResultThatIsNoJsonIsAValueAsAWhole) {
  const auto recordings = load_recordings(write("plain.jsonl", turn("hash the newest file", R"([
        {"name": "one", "args": {"x": "newest"}, "result": "notes alpha.txt"},
        {"name": "two", "args": {"x": "notes alpha.txt"}},
        {"name": "two", "args": {"x": "alpha.txt"}}])")));
  ASSERT_TRUE(recordings) << recordings.error().message;
  const auto& calls = recordings->front().sequence.tasks.at(0).calls;
  EXPECT_EQ(calls.at(1).arguments[0].from, 0U);
  EXPECT_EQ(calls[1].arguments[0].path, "");
  EXPECT_EQ(calls.at(2).arguments[0].from, std::nullopt);
  EXPECT_EQ(calls[2].reads, Indices{0}) << "a part of it has no path";
}

TEST_F(Recordings, PartsOfAnArgumentAreReadFromResults) {
  const auto recordings = load_recordings(write("parts.jsonl", turn("zip both", R"([
        {"name": "one", "args": {"x": "a"}, "result": "\"alpha.txt\""},
        {"name": "one", "args": {"x": "b"}, "result": "[\"beta.txt\"]"},
        {"name": "two", "args": {"x": ["alpha.txt", {"second": "beta.txt"}]}}])")));
  ASSERT_TRUE(recordings) << recordings.error().message;
  EXPECT_EQ(recordings->front().sequence.tasks.at(0).calls.at(2).reads, (Indices{0, 1}));
}

TEST_F(Recordings, AnArgumentMayHaveAResultInItsText) {
  const auto recordings =
      load_recordings(write("within.jsonl", turn("mail the hash and 5 to bob", R"([
        {"name": "one", "args": {"x": "bob"}, "result": "9f3a"},
        {"name": "one", "args": {"x": "5"}, "result": "{\"size\": 77, \"to\": \"bob\"}"},
        {"name": "one", "args": {"x": "hash"}, "result": "9f3a"},
        {"name": "two", "args": {"x": "bob: 9f3a, 77"}}])")));
  ASSERT_TRUE(recordings) << recordings.error().message;
  const auto& calls = recordings->front().sequence.tasks.at(0).calls;
  EXPECT_TRUE(calls.at(1).reads.empty());
  EXPECT_TRUE(calls.at(2).reads.empty());
  EXPECT_EQ(calls.at(3).reads, (Indices{1, 2})) << "of two that have it, the latest";
}

TEST_F(Recordings, AFailedCallGivesNothingAndMayBeRepeated) {
  const auto recordings = load_recordings(write("failed.jsonl", turn("go", R"([
        {"name": "one", "args": {"x": "a"}, "error": "busy W77", "class": "A"},
        {"name": "one", "args": {"x": "a"}, "result": "W77", "class": "A"},
        {"name": "two", "args": {"x": "W77"}}])")));
  ASSERT_TRUE(recordings) << recordings.error().message;
  const auto& calls = recordings->front().sequence.tasks.at(0).calls;
  EXPECT_EQ(calls.at(0).result.outcome, Outcome::failed);
  EXPECT_EQ(calls.at(1).retry_of, 0U);
  EXPECT_TRUE(calls[1].after.empty());
  EXPECT_EQ(calls.at(2).arguments[0].from, 1U);
}

TEST_F(Recordings, ARepeatedCallKeepsItsPlace) {
  const auto recordings = load_recordings(write("again.jsonl", turn("go", R"([
        {"name": "one", "args": {"x": "open"}, "error": "locked", "class": "A"},
        {"name": "two", "args": {"x": "find"}, "result": "W77", "class": "A", "error": null},
        {"name": "two", "args": {"x": "W77", "y": null}, "class": "A"},
        {"name": "one", "args": {"x": "open"}, "error": "busy", "class": "A"},
        {"name": "one", "args": {"x": "open"}, "class": "A"},
        {"name": "one", "args": {"x": "open"}, "class": "A"}])")));
  ASSERT_TRUE(recordings) << recordings.error().message;
  const auto& calls = recordings->front().sequence.tasks.at(0).calls;
  EXPECT_TRUE(calls.at(1).after.empty()) << "a failed call changed nothing";
  EXPECT_EQ(arguments_of(calls.at(2)).dump(), R"({"x":"W77"})");
  EXPECT_EQ(calls.at(3).retry_of, 0U);
  EXPECT_EQ(calls[3].after, Indices{2});
  EXPECT_EQ(calls.at(4).retry_of, 3U);
  EXPECT_EQ(calls[4].after, Indices{2});
  EXPECT_EQ(calls.at(5).retry_of, std::nullopt) << "the one before has returned";
  EXPECT_EQ(calls[5].after, Indices{4});
}

TEST_F(Recordings, AFunctionMaySayHowLongItTakes) {
  const Json classes = Json::parse(kClasses);
  Json line = {{"id", "t"},
               {"messages", Json::array()},
               {"functions", {classes["A"][0]}},
               {"calls", {{{"name", "one"}, {"args", Json::object()}}}}};
  line["functions"][0]["estimate_ms"] = 250;
  const auto recordings = load_recordings(write("timed.jsonl", line.dump() + "\n"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  EXPECT_EQ(recordings->front().sequence.tools.at(0).estimate, std::chrono::milliseconds(250));
  line["functions"][0]["estimate_ms"] = -1;
  const auto wrong = load_recordings(write("wrong.jsonl", line.dump() + "\n"));
  ASSERT_FALSE(wrong);
  EXPECT_TRUE(wrong.error().message.contains("'one': a time of -1 ms")) << wrong.error().message;
}

TEST_F(Recordings, WhatTheUserSaysIsWordsNotParts) {
  const auto uses = [&](const std::string& user, const std::string& value) {
    const auto recordings = load_recordings(write(
        "said.jsonl", turn(user, R"([{"name": "one", "args": {"x": "p"}, "result": ")" + value +
                                     R"("}, {"name": "two", "args": {"x": )" + value + "}}]")));
    EXPECT_TRUE(recordings) << recordings.error().message;
    const TaskCall& call = recordings->front().sequence.tasks.at(0).calls.at(1);
    return call.arguments[0].from.has_value();
  };
  for (const char* const user : {"in 2010", "120", "20.5", "0.20", "no"}) {
    EXPECT_TRUE(uses(user, "20")) << user;
  }
  for (const char* const user : {"20", "20km, please", "by 20.", "[10,20]", "2020 and 20",
                                 "20.5.2010", "1.20.2010", "5.11.20", "\u201c20\u201d"}) {
    EXPECT_FALSE(uses(user, "20")) << user;
  }
}

TEST_F(Recordings, AllThatTheUserSaysIsThere) {
  const auto recordings = load_recordings(
      write("said.jsonl",
            R"({"id": "t", "messages": [{"role": "user", "content": "x is 42"},)"
            R"( {"role": "assistant", "content": "noted"}, {"role": "user", "content": "add it"}],)"
            R"( "functions": [{"name": "add", "parameters": {"properties": {"x": {}}}}],)"
            R"( "calls": [{"name": "add", "args": {"x": 42}}]})"
            "\n"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  EXPECT_EQ(recordings->front().sequence.tasks.at(0).user, "x is 42\nadd it");
}

TEST_F(Recordings, WhereNothingIsDeclaredAClassKeepsItsOrder) {
  (void)write("multi_turn_functions.json", kClasses);
  const auto recordings = load_recordings(write(
      "state.jsonl",
      R"({"id": "m", "involved_classes": ["A", "B"], "turns": [{"user": ["go"], "calls": [)"
      R"({"name": "one", "args": {}, "class": "A"}, {"name": "two", "args": {}, "class": "B"},)"
      R"({"name": "one", "args": {}, "class": "A"}, {"name": "one", "args": {}, "class": "A"}]}]})"
      "\n"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  const auto& calls = recordings->front().sequence.tasks.at(0).calls;
  EXPECT_TRUE(calls.at(1).after.empty());
  EXPECT_EQ(calls.at(2).after, Indices{0});
  EXPECT_EQ(calls.at(3).after, Indices{2});
}

}  // namespace
}  // namespace asynclm
