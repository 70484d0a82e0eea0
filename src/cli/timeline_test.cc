// SPDX-License-Identifier: Apache-2.0
#include "cli/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_run.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;
using ::testing::SizeIs;

TEST(Timeline, FollowsARun) {
  Timeline timeline;
  timeline.header = test_header();
  for (const RunEvent& event : test_events()) timeline.apply(event);
  EXPECT_EQ(timeline.text, "I will look.\nb failed. a says 12.");
  ASSERT_THAT(timeline.calls, SizeIs(2));
  EXPECT_EQ(timeline.calls[0].label, "count_lines(path=\"src\")");
  EXPECT_TRUE(timeline.calls[0].ok());
  EXPECT_EQ(timeline.calls[0].dispatched, 101ms);
  EXPECT_EQ(timeline.calls[0].delivered, 400ms);
  EXPECT_EQ(timeline.calls[1].outcome, Outcome::failed);
  ASSERT_THAT(timeline.waits, SizeIs(2));
  EXPECT_EQ(timeline.waits[0].begin, 200ms);
  EXPECT_EQ(timeline.waits[0].end, 300ms);
  EXPECT_THAT(timeline.marks, SizeIs(2));
  EXPECT_EQ(timeline.finish, FinishReason::stop);
  EXPECT_EQ(timeline.latest, 500ms);
}

TEST(Timeline, EventsOfCallsThatThereAreNotChangeNothing) {
  Timeline timeline;
  for (const RunEventKind kind : {RunEventKind::dispatched, RunEventKind::completed,
                                  RunEventKind::cancelled, RunEventKind::interrupt}) {
    RunEvent event;
    event.kind = kind;
    event.call = 5;
    timeline.apply(event);
  }
  EXPECT_THAT(timeline.calls, SizeIs(0));
}

TEST(Timeline, AMalformedBlockIsShownAsItWasWritten) {
  Timeline timeline;
  RunEvent event;
  event.kind = RunEventKind::emitted;
  event.call = 0;
  event.text = "f(((";
  timeline.apply(event);
  EXPECT_EQ(timeline.calls.at(0).label, "f(((");
}

TEST(CallText, Arguments) {
  EXPECT_EQ(call_text("f", Json::object()), "f()");
  EXPECT_EQ(call_text("f", Json{{"a", 1}, {"b", Json{{"c", nullptr}}}}), R"(f(a=1, b={"c":null}))");
  EXPECT_EQ(call_text("f", Json("odd")), "f(\"odd\")");  // a log can hold anything
}

}  // namespace
}  // namespace asynclm
