// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_log.h"

#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/test_folder.h"

namespace asynclm::bench {
namespace {

const Json kTheseOptions = {{"kind", "real"}, {"seed", 1}};

BfclRun a_run() {
  BfclRun run;
  run.makespan = Time{123'456'789};
  run.bound_taking_in = Time{5};
  run.score = {.expected = 3, .exact = 2, .early = 1, .extra = 1, .ended = false};
  run.tokens = 7;
  run.calls.push_back({.name = "f", .begun = Time{1}, .written = Time{2}, .taken_in = Time{3}});
  return run;
}

TEST(BfclLog, WhatIsAddedIsFoundByTheNextOne) {
  const TemporaryFolder folder;
  const std::string path = folder.file("log");
  {
    auto log = BfclLog::open(path, kTheseOptions);
    ASSERT_TRUE(log) << log.error().message;
    EXPECT_FALSE(log->find("a"));
    EXPECT_TRUE(log->add("a", std::vector<BfclRun>{a_run(), {}}));
    EXPECT_TRUE(log->add("b", fail(ErrorCode::limit_exceeded, "too long")));
  }
  const auto log = BfclLog::open(path, kTheseOptions);
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->recalled(), 2U);
  const auto runs = log->find("a");
  ASSERT_TRUE(runs && *runs);
  ASSERT_EQ((*runs)->size(), 2U);
  const BfclRun& run = (*runs)->front();
  EXPECT_EQ(run.makespan, a_run().makespan);
  EXPECT_FALSE(run.bound);
  EXPECT_EQ(run.bound_taking_in, a_run().bound_taking_in);
  EXPECT_EQ(run.score, a_run().score);
  EXPECT_EQ(run.tokens, 7);
  ASSERT_EQ(run.calls.size(), 1U);
  EXPECT_EQ(run.calls[0].name, "f");
  EXPECT_EQ(run.calls[0].written, Time{2});
  EXPECT_EQ(run.calls[0].taken_in, Time{3});
  const auto skipped = log->find("b");
  ASSERT_TRUE(skipped && !*skipped);
  EXPECT_EQ(skipped->error().message, "too long");
}

TEST(BfclLog, ALastLineThatWasCutIsRunAgain) {
  const TemporaryFolder folder;
  const std::string path = folder.file("log");
  EXPECT_TRUE(BfclLog::open(path, kTheseOptions)->add("a", std::vector<BfclRun>{a_run()}));
  const std::string whole = *read_whole_file(path, 1 << 20);
  std::ofstream(path, std::ios::app) << R"({"key":"b","runs":[{"bou)";
  auto log = BfclLog::open(path, kTheseOptions);
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->recalled(), 1U);
  EXPECT_EQ(*read_whole_file(path, 1 << 20), whole);
  // A file that was cut in its first line is begun anew.
  std::ofstream(path, std::ios::trunc) << R"({"bfcl":{"ki)";
  EXPECT_TRUE(BfclLog::open(path, kTheseOptions));
  EXPECT_TRUE(BfclLog::open(path, kTheseOptions));
}

TEST(BfclLog, OtherOptionsAndOtherFilesAreRefused) {
  const TemporaryFolder folder;
  const std::string path = folder.file("log");
  ASSERT_TRUE(BfclLog::open(path, kTheseOptions));
  const auto other = BfclLog::open(path, {{"kind", "real"}, {"seed", 2}, {"quick", true}});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, ErrorCode::invalid_argument);
  EXPECT_TRUE(other.error().message.contains("seed: 1 there, 2 here")) << other.error().message;
  EXPECT_TRUE(other.error().message.contains("quick: nothing there, true here"));
  EXPECT_FALSE(other.error().message.contains("kind"));
  std::ofstream(path, std::ios::trunc) << "a letter\nto a friend\n";
  EXPECT_EQ(BfclLog::open(path, kTheseOptions).error().code, ErrorCode::invalid_argument);
  EXPECT_EQ(*read_whole_file(path, 1 << 20), "a letter\nto a friend\n") << "it was left alone";
  EXPECT_EQ(BfclLog::open("/no/such/log", kTheseOptions).error().code, ErrorCode::io);
}

}  // namespace
}  // namespace asynclm::bench
