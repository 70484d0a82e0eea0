// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "bench/large_vocabulary.h"
#include "bench/monitor.h"

namespace asynclm::bench {
namespace {

namespace fs = std::filesystem;

class BfclTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() /
              ("asynclm_bfcl_" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) +
               ::testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
  }
  fs::path folder_;
};

constexpr const char* kLine =
    R"({"id": "p_0", "messages": [{"role": "user", "content": "play Somebody"}], "functions": [{"name": "music.play", "description": "d", "parameters": {"type": "object", "properties": {"artist": {"type": "string"}, "minutes": {"type": "integer"}}, "required": ["artist", "minutes"]}}], "calls": [{"name": "music.play", "args": {"minutes": 20, "artist": "Somebody"}}]})";

TEST_F(BfclTest, ASampleIsRead) {
  write("s.jsonl", std::string(kLine) + "\n");
  const auto samples = load_samples(folder_.string(), "s");
  ASSERT_TRUE(samples) << samples.error().message;
  ASSERT_EQ(samples->size(), 1U);
  const Sample& sample = samples->front();
  EXPECT_EQ(sample.user, "play Somebody");
  EXPECT_EQ(sample.tools.front().name, "music_play");
  EXPECT_EQ(sample.calls.front().arguments.dump(), R"({"artist":"Somebody","minutes":20})");
}

TEST_F(BfclTest, WhatCannotBeReadIsNamed) {
  const auto missing = load_samples(folder_.string(), "none");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_TRUE(missing.error().message.contains("--data"));
  write("bad.jsonl", std::string(kLine) + "\n{\"id\": 1}\n");
  const auto bad = load_samples(folder_.string(), "bad");
  ASSERT_FALSE(bad);
  EXPECT_TRUE(bad.error().message.contains("bad.jsonl:2: ")) << bad.error().message;
}

TEST_F(BfclTest, TheTokensOfCallsAreCounted) {
  write("s.jsonl", std::string(kLine) + "\n");
  std::string words;
  for (const char* word : {"play", "music", "artist", "minutes", "Somebody"})
    words += std::string(word) + "\n";
  write("words", words);
  const auto samples = load_samples(folder_.string(), "s");
  ASSERT_TRUE(samples);
  const auto vocabulary = LargeVocabulary::create((folder_ / "words").string(), 8192);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  std::array<CallTokens, kFeatures.size()> counts;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto counted = count_tokens(*vocabulary, *samples, kFeatures[i]);
    ASSERT_TRUE(counted) << counted.error().message;
    counts[i] = *counted;
    EXPECT_EQ(counted->calls, 1);
    EXPECT_EQ(counted->refused, 0);
    EXPECT_EQ(counted->tokens, counts[0].tokens);
    EXPECT_EQ(counted->steps, counted->tokens - counted->forced - counted->accepted);
    EXPECT_LE(counted->accepted, counted->drafted);
    EXPECT_EQ(counted->forced > 3, kFeatures[i].fast_forward);
    EXPECT_EQ(counted->accepted > 0, kFeatures[i].drafts);
  }
  EXPECT_LT(counts.back().steps, counts[1].steps);
}

TEST_F(BfclTest, MultiStepSamplesTakeTheFunctionsOfTheirClasses) {
  write(
      "steps.jsonl",
      R"({"id": "m_0", "user": "go", "classes_called": ["B", "A"], "subtasks": [{"calls": [)"
      R"({"name": "two", "args": {}, "result": "7"}]}, {"calls": [{"name": "one", "args": {}}]}]})"
      "\n");
  const auto missing = load_samples(folder_.string(), "steps");
  ASSERT_FALSE(missing);
  EXPECT_TRUE(missing.error().message.contains("multi_turn_functions.json"));
  write("multi_turn_functions.json",
        R"({"A": [{"name": "one", "parameters": {}}], "B": [{"name": "two", "parameters": {}}]})");
  const auto samples = load_samples(folder_.string(), "steps");
  ASSERT_TRUE(samples) << samples.error().message;
  const Sample& sample = samples->at(0);
  EXPECT_EQ(sample.tools.at(0).name, "two");
  EXPECT_EQ(sample.tools.at(1).name, "one");
  EXPECT_EQ(sample.calls.at(0).result, "7");
  EXPECT_EQ(sample.calls.at(1).tool, "one");
}

}  // namespace
}  // namespace asynclm::bench
