// SPDX-License-Identifier: Apache-2.0
#include "cli/drive.h"

#include <array>
#include <atomic>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_run.h"
#include "runtime/test_engine.h"

namespace asynclm {
namespace {

using ::testing::SizeIs;

class Recorder : public RunSink {
 public:
  void begin(const RunHeader&) override { ++begins; }
  void event(const RunEvent& event) override {
    EXPECT_EQ(begins, 1);
    events.push_back(event);
  }
  void tick(Time) override { ++ticks; }
  void end(const RunReport&) override { ++ends; }

  std::atomic<int> begins = 0, ends = 0, ticks = 0;
  std::vector<RunEvent> events;
};

struct DriveTest : ::testing::Test {
  void make(const std::string& text) {
    auto made = std::make_unique<TestEngine>(std::vector<std::string>{text});
    engine = made.get();
    runtime = std::move(*Runtime::create(std::move(made), Toolbox(), {}));
  }
  static RunRequest request() {
    RunRequest out;
    out.config = {};  // scripts write every token themselves
    out.messages = {{"user", "go"}};
    return out;
  }

  TestEngine* engine = nullptr;
  std::unique_ptr<Runtime> runtime;
  Recorder recorder;
  std::array<RunSink*, 1> sinks = {&recorder};
};

TEST_F(DriveTest, SinksSeeTheWholeRun) {
  make("[CALL]a[HEAD]nothing()[END]Hello.");
  const auto report = drive(*runtime, request(), test_header(), sinks, [] { return false; });
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->answer, "Hello.");
  EXPECT_EQ(recorder.ends, 1);
  ASSERT_FALSE(recorder.events.empty());
  EXPECT_EQ(recorder.events.back().kind, RunEventKind::finished);
  std::string text;
  for (const RunEvent& event : recorder.events) {
    if (event.kind == RunEventKind::text) text += event.text;
    if (event.kind == RunEventKind::emitted) {
      EXPECT_EQ(event.name, "nothing");
    }
    if (event.kind == RunEventKind::completed) {
      EXPECT_TRUE(event.rejected);
    }
  }
  EXPECT_EQ(text, "Hello.");
}

TEST_F(DriveTest, StopCancelsTheRun) {
  make("Hello.");
  engine->close_gate();  // this run would never end
  const auto report =
      drive(*runtime, request(), test_header(), sinks, [this] { return recorder.ticks > 1; });
  ASSERT_TRUE(report);
  EXPECT_EQ(report->finish, FinishReason::cancelled);
  EXPECT_EQ(recorder.ends, 1);
}

TEST_F(DriveTest, ARunThatCannotStartIsNotShown) {
  make("Hello.");
  RunRequest bad = request();
  bad.sampling.temperature = -1;
  EXPECT_FALSE(drive(*runtime, bad, test_header(), sinks, [] { return false; }));
  EXPECT_EQ(recorder.begins, 0);
}

}  // namespace
}  // namespace asynclm
