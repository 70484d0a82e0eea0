// SPDX-License-Identifier: Apache-2.0
#include "oracle/upstream_bfcl.h"

#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "oracle/recordings.h"
#include "oracle/test_recordings.h"

namespace asynclm {
namespace {

class Upstream : public RecordingFolder {
 protected:
  void SetUp() override {
    std::filesystem::create_directory(path("possible_answer"));
    std::filesystem::create_directory(path("multi_turn_func_doc"));
  }
  // A file of questions with its answers.
  [[nodiscard]] std::string write_pair(const std::string& question,
                                       const std::string& answer) const {
    std::ignore = write("possible_answer/BFCL_v4_x.json", answer + "\n");
    return write("BFCL_v4_x.json", question + "\n");
  }
};

constexpr const char* kQuestion =
    R"({"id": "parallel_0", "question": [[{"role": "user", "content": "the area, twice"}]], "function": [{"name": "geo.area", "description": "d", "parameters": {"type": "dict", "properties": {"type": {"type": "string"}, "side": {"type": "float"}, "options": {"type": "dict", "properties": {"unit": {"type": "any"}}}}, "required": ["type", "side"]}}]})";

TEST_F(Upstream, OneTurn) {
  const auto recordings = load_recordings(write_pair(
      kQuestion,
      R"({"id": "parallel_0", "ground_truth": [{"geo.area": {"type": ["square"], "side": [2.5, 2]}}, {"geo.area": {"type": ["circle"], "side": [3], "options": [{"unit": ["cm", "mm"]}, ""]}}]})"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  ASSERT_EQ(recordings->size(), 1U);
  const Recording& recording = recordings->front();
  const Task& task = recording.sequence.tasks.front();
  EXPECT_EQ(task.user, "the area, twice");
  EXPECT_EQ(
      recording.sequence.tools.front().parameters.dump(),
      R"({"type":"object","properties":{"type":{"type":"string"},"side":{"type":"number"},"options":{"type":"object","properties":{"unit":{}}}},"required":["type","side"]})");
  ASSERT_EQ(task.calls.size(), 2U);
  EXPECT_EQ(task.calls[0].tool, "geo_area");
  EXPECT_EQ(arguments_of(task.calls[0]).dump(), R"({"type":"square","side":2.5})");
  EXPECT_EQ(arguments_of(task.calls[1]).dump(), R"({"type":"circle","side":3})");
  EXPECT_EQ(task.calls[1].accept["options"].size(), 2U);
}

TEST_F(Upstream, AnObjectIsMadeOfFirstValues) {
  const auto recordings = load_recordings(write_pair(
      kQuestion,
      R"({"id": "parallel_0", "ground_truth": [{"geo.area": {"type": ["a"], "side": [1], "options": [{"unit": ["cm", "mm"]}]}}]})"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  EXPECT_EQ(
      arguments_of(recordings->front().sequence.tasks.front().calls.front())["options"].dump(),
      R"({"unit":"cm"})");
}

TEST_F(Upstream, SeveralTurns) {
  std::ignore = write(
      "multi_turn_func_doc/math_api.json",
      R"({"name": "add", "parameters": {"type": "dict", "properties": {"a": {"type": "float"}, "b": {"type": "float"}}}})"
      "\n");
  const std::string file = write_pair(
      R"({"id": "m_0", "question": [[{"role": "user", "content": "one"}], [{"role": "user", "content": "two"}]], "involved_classes": ["MathAPI"]})",
      R"json({"id": "m_0", "ground_truth": [["add(1, b=2)", "add(a=3, b=4)"], []]})json");
  const auto recordings = load_recordings(file);
  ASSERT_TRUE(recordings) << recordings.error().message;
  const TaskSequence& sequence = recordings->front().sequence;
  ASSERT_EQ(sequence.tasks.size(), 2U);
  EXPECT_EQ(sequence.tasks[1].user, "two");
  ASSERT_EQ(sequence.tasks[0].calls.size(), 2U);
  EXPECT_EQ(arguments_of(sequence.tasks[0].calls[0]).dump(), R"({"a":1,"b":2})");
  // Of one class, and nothing is declared: one after the other.
  EXPECT_EQ(sequence.tasks[0].calls[1].after, std::vector<std::size_t>{0});
}

TEST_F(Upstream, WhatIsMissingIsNamed) {
  const auto error_of = [](const std::string& file) {
    const auto recordings = load_recordings(file);
    return recordings ? std::string() : recordings.error().message;
  };
  EXPECT_TRUE(error_of(write("BFCL_v4_y.json", std::string(kQuestion) + "\n"))
                  .contains("possible_answer/BFCL_v4_y.json"));
  EXPECT_TRUE(error_of(write_pair(kQuestion, R"({"id": "other", "ground_truth": []})"))
                  .contains("parallel_0"));
  EXPECT_TRUE(
      error_of(write_pair(R"({"id": "m", "question": [[]], "involved_classes": ["Unheard"]})",
                          R"({"id": "m", "ground_truth": [[]]})"))
          .contains("Unheard"));
  EXPECT_TRUE(
      error_of(write_pair(R"({"id": "m", "question": [[]], "involved_classes": ["MathAPI"]})",
                          R"({"id": "m", "ground_truth": [["f("]]})"))
          .contains("math_api.json"));
}

}  // namespace
}  // namespace asynclm
