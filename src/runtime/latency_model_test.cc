// SPDX-License-Identifier: Apache-2.0
#include "runtime/latency_model.h"

#include <algorithm>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "base/test_folder.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

std::vector<ToolSpec> two_tools() {
  std::vector<ToolSpec> tools(2);
  tools[0].name = "search";
  tools[0].estimate = 200ms;
  tools[1].name = "build";
  tools[1].estimate = 4s;
  tools[1].timeout = 10s;
  return tools;
}

void expect_near(Time seen, Time expected, double share) {
  EXPECT_NEAR(to_ms(seen), to_ms(expected), share * to_ms(expected));
}

TEST(LatencyModel, BelievesTheEstimateBeforeAnyCall) {
  const LatencyModel model(two_tools());
  expect_near(model.quantile("search", 0.5), 200ms, 0.2);
  expect_near(model.remaining("search", 0ms), 200ms, 0.3);
  EXPECT_EQ(model.quantile("nothing", 0.5), Time{});
}

TEST(LatencyModel, LearnsQuantiles) {
  LatencyModel model(two_tools());
  Random random(3);
  std::vector<Time> seen;
  for (int i = 0; i < 400; ++i) {
    seen.push_back(from_ms(random.log_uniform(10, 1000)));
    model.observe("search", seen.back());
  }
  // The last hundred calls weigh the most.
  std::vector<Time> recent(seen.end() - 150, seen.end());
  std::ranges::sort(recent);
  for (const double q : {0.1, 0.5, 0.9, 0.99}) {
    const Time exact = recent[static_cast<std::size_t>(q * static_cast<double>(recent.size()))];
    expect_near(model.quantile("search", q), exact, 0.35);
  }
}

TEST(LatencyModel, RemainingIsConditionalOnWhatHasPassed) {
  LatencyModel model(two_tools());
  // Half of the calls take 100 ms, half 2 s.
  for (int i = 0; i < 200; ++i) model.observe("search", i % 2 == 0 ? 100ms : 2000ms);
  expect_near(model.remaining("search", 0ms), 1050ms, 0.15);
  expect_near(model.remaining("search", 500ms), 1500ms, 0.15);  // it is one of the long ones
  EXPECT_LT(model.remaining("search", 1900ms), 300ms);
  // Longer than anything that was seen: as much again, but never beyond the time-out.
  expect_near(model.remaining("search", 5s), 5s, 0.01);
  expect_near(model.remaining("search", 20s), 10s, 0.01);
}

TEST(LatencyModel, OldCallsAreForgotten) {
  LatencyModel model(two_tools());
  for (int i = 0; i < 300; ++i) model.observe("search", 1s);
  for (int i = 0; i < 300; ++i) model.observe("search", 100ms);
  expect_near(model.quantile("search", 0.5), 100ms, 0.2);
}

TEST(LatencyModel, PromptEstimatesMoveSeldom) {
  LatencyModel model(two_tools());
  int changes = 0;
  const auto observe = [&](Time took) {
    model.observe("search", took);
    changes += model.specs_changed() ? 1 : 0;
  };
  for (int i = 0; i < 100; ++i) observe(from_ms(190 + i % 30));
  EXPECT_EQ(changes, 0);
  EXPECT_EQ(model.specs()[0].estimate, 200ms);
  for (int i = 0; i < 200; ++i) observe(600ms);
  EXPECT_GE(changes, 1);
  EXPECT_LE(changes, 4);  // prompts of hundreds of sessions stay equal
  expect_near(model.specs()[0].estimate, 600ms, 0.2);
  EXPECT_EQ(model.specs()[1].estimate, 4s);
}

TEST(LatencyModel, AFewCallsDoNotChangeThePrompt) {
  LatencyModel model(two_tools());
  for (int i = 0; i < 7; ++i) model.observe("search", 5s);
  EXPECT_EQ(model.specs()[0].estimate, 200ms);
}

TEST(LatencyModel, ExtremesAreKept) {
  LatencyModel model(two_tools());
  model.observe("search", Time{-5});
  model.observe("search", Time{});
  model.observe("search", 1000h);
  EXPECT_GE(model.remaining("search", Time{}), Time{});
  EXPECT_LE(model.remaining("search", Time{}), 30s);
}

TEST(LatencyModel, SavedAndLoaded) {
  const TemporaryFolder folder;
  const std::string path = folder.file("latency.json");
  LatencyModel model(two_tools());
  for (int i = 0; i < 50; ++i) model.observe("search", 700ms);
  ASSERT_TRUE(model.save(path));
  ASSERT_TRUE(model.save(path));  // over the one that is there

  LatencyModel again(two_tools());
  ASSERT_TRUE(again.load(path));
  for (const double q : {0.1, 0.5, 0.9}) {
    expect_near(again.quantile("search", q), model.quantile("search", q), 1e-9);
  }
  expect_near(again.specs()[0].estimate, model.specs()[0].estimate, 0.2);

  // Another program with other tools keeps what it does not know.
  std::vector<ToolSpec> others = two_tools();
  others.erase(others.begin());
  LatencyModel other(others);
  ASSERT_TRUE(other.load(path));
  EXPECT_EQ(other.quantile("search", 0.5), Time{});
  ASSERT_TRUE(other.save(path));
  LatencyModel third(two_tools());
  ASSERT_TRUE(third.load(path));
  expect_near(third.quantile("search", 0.5), model.quantile("search", 0.5), 1e-9);
}

TEST(LatencyModel, BadFilesAreRefusedAndChangeNothing) {
  const TemporaryFolder folder;
  LatencyModel model(two_tools());
  const Time before = model.quantile("search", 0.5);
  for (const char* text :
       {"", "{", "[]", R"({"format":2,"tools":{}})", R"({"format":1})",
        R"({"format":1,"tools":{"search":{"calls":1}}})",
        R"({"format":1,"tools":{"search":{"calls":-1,"buckets":[]}}})",
        R"({"format":1,"tools":{"search":{"calls":1,"buckets":[[110,1]]}}})",
        R"({"format":1,"tools":{"search":{"calls":1,"buckets":[[-1,1]]}}})",
        R"({"format":1,"tools":{"search":{"calls":1,"buckets":[[3,"x"]]}}})",
        R"({"format":1,"tools":{"build":{"calls":9,"buckets":[[3,9]]},"search":7}})"}) {
    const std::string path = folder.write("bad.json", text);
    const auto loaded = model.load(path);
    ASSERT_FALSE(loaded) << text;
    EXPECT_THAT(loaded.error().message, HasSubstr("bad.json"));
    EXPECT_EQ(model.quantile("search", 0.5), before);
  }
  EXPECT_FALSE(model.load(folder.file("absent.json")));
  EXPECT_FALSE(model.save(folder.file("no/such/folder.json")));
}

}  // namespace
}  // namespace asynclm
