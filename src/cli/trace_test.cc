// SPDX-License-Identifier: Apache-2.0
#include "cli/trace.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "cli/test_run.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

Json test_trace() {
  Timeline timeline;
  timeline.header = test_header();
  for (const RunEvent& event : test_events()) timeline.apply(event);
  return trace_events(timeline, 1);
}

TEST(Trace, EveryEventHasWhatViewersNeed) {
  for (const Json& event : test_trace()) {
    ASSERT_TRUE(event.is_object());
    EXPECT_TRUE(event.at("name").is_string());
    EXPECT_TRUE(event.at("pid").is_number_integer());
    EXPECT_TRUE(event.at("tid").is_number_integer());
    const std::string phase = event.at("ph");
    if (phase != "M") {
      EXPECT_GE(event.at("ts").get<double>(), 0);
    }
    if (phase == "X") {
      EXPECT_GE(event.at("dur").get<double>(), 0);
    }
    EXPECT_TRUE(phase == "M" || phase == "X" || phase == "i") << phase;
  }
}

TEST(Trace, TracksHaveNamesAndNoSliceOverlapsAnotherOfItsTrack) {
  std::map<int, std::string> names;
  std::map<int, std::vector<std::pair<double, double>>> slices;
  int instants = 0;
  for (const Json& event : test_trace()) {
    const int thread = event.at("tid");
    if (event.at("name") == "thread_name") names[thread] = event["args"]["name"];
    if (event.at("ph") == "X") slices[thread].emplace_back(event.at("ts"), event.at("dur"));
    if (event.at("ph") == "i") ++instants;
  }
  EXPECT_EQ(instants, 2);
  ASSERT_GE(slices.size(), 3U);  // the model and two lanes of calls
  for (auto& [thread, list] : slices) {
    EXPECT_TRUE(names.contains(thread)) << thread;
    std::ranges::sort(list);
    for (std::size_t i = 1; i < list.size(); ++i) {
      EXPECT_LE(list[i - 1].first + list[i - 1].second, list[i].first + 1e-6);
    }
  }
}

TEST(Trace, GeneratingAndWaitingFillTheModelsTrack) {
  double total = 0;
  double waiting = 0;
  for (const Json& event : test_trace()) {
    if (event.at("ph") != "X" || event.at("cat") != "model") continue;
    total += event.at("dur").get<double>();
    if (event.at("name") == "waiting") waiting += event.at("dur").get<double>();
  }
  EXPECT_DOUBLE_EQ(total, 500'000);
  EXPECT_DOUBLE_EQ(waiting, 140'000);
}

TEST(Trace, CallsShareALaneWhereTheyDoNotOverlap) {
  std::vector<TimelineCall> calls(4);
  calls[0].emitted = 0ms;
  calls[0].returned = 10ms;
  calls[1].emitted = 5ms;
  calls[1].returned = 8ms;
  calls[2].emitted = 9ms;
  calls[2].returned = 20ms;
  calls[3].emitted = 12ms;  // never returned
  EXPECT_THAT(call_lanes(calls, 30ms), ElementsAre(0, 1, 1, 0));
}

TEST(Trace, TheFileIsValidJsonBeforeAndAfterRuns) {
  const TemporaryFolder folder;
  const std::string path = folder.file("trace.json");
  const auto read = [&path] {
    std::ifstream file(path);
    return Json::parse(file);
  };
  auto writer = TraceWriter::open(path);
  ASSERT_TRUE(writer) << writer.error().message;
  EXPECT_TRUE(read()["traceEvents"].empty());
  for (int run = 0; run < 2; ++run) {
    (*writer)->begin(test_header());
    for (const RunEvent& event : test_events()) (*writer)->event(event);
    (*writer)->end(test_report());
  }
  ASSERT_TRUE((*writer)->write());
  const Json trace = read();
  EXPECT_EQ(trace["traceEvents"].front()["pid"], 1);
  EXPECT_EQ(trace["traceEvents"].back()["pid"], 2);
}

TEST(Trace, FilesThatCannotBeWrittenAreFoundAtOnce) {
  EXPECT_FALSE(TraceWriter::open("/nonexistent/folder/trace.json"));
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_FALSE(TraceWriter::open("/dev/full"));
  }
}

}  // namespace
}  // namespace asynclm
