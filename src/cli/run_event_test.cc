// SPDX-License-Identifier: Apache-2.0
#include "cli/run_event.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/json_report.h"
#include "cli/test_run.h"

namespace asynclm {
namespace {

using ::testing::HasSubstr;

// Through text, as in a log.
Json again(const Json& json) { return Json::parse(dump_json(json)); }

TEST(RunEventJson, EachEventSurvives) {
  std::vector<RunEvent> events = test_events();
  events.emplace_back().kind = RunEventKind::cancelled;
  events.back().call = 1;
  for (const RunEvent& event : events) {
    const Json json = again(to_json(event));
    const auto back = run_event_from_json(json);
    ASSERT_TRUE(back) << json << back.error().message;
    EXPECT_EQ(back->kind, event.kind);
    EXPECT_EQ(to_json(*back), json);
  }
}

// A replay shows the run's own durations: one that rounds up stays one that rounds up.
TEST(RunEventJson, EachNanosecondSurvives) {
  RunEvent event = test_events().front();
  event.kind = RunEventKind::completed;
  event.call = 0;
  event.outcome = Outcome::returned;
  for (Time time(1); time < std::chrono::days(20); time = time * 3 + Time(1)) {
    event.time = time;
    event.dispatched = time - Time(1);
    const auto back = run_event_from_json(again(to_json(event)));
    ASSERT_TRUE(back) << back.error().message;
    EXPECT_EQ(back->time, event.time);
    EXPECT_EQ(back->dispatched, event.dispatched);
  }
}

TEST(RunEventJson, TheHeaderSurvives) {
  const Json json = again(to_json(test_header(Mode::sync_parallel)));
  const auto back = run_header_from_json(json);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(back->mode, Mode::sync_parallel);
  EXPECT_EQ(to_json(*back), json);
}

TEST(RunEventJson, WhatIsWrongIsNamed) {
  const auto message = [](const char* text) {
    const auto event = run_event_from_json(Json::parse(text));
    return event ? "no error" : event.error().message;
  };
  EXPECT_THAT(message(R"({"t_ms": 1})"), HasSubstr("'event'"));
  EXPECT_THAT(message(R"({"t_ms": 1, "event": "party"})"), HasSubstr("party"));
  EXPECT_THAT(message(R"({"event": "trapped"})"), HasSubstr("'t_ms'"));
  EXPECT_THAT(message(R"({"t_ms": "soon", "event": "trapped"})"), HasSubstr("number"));
  EXPECT_THAT(message(R"({"t_ms": 1, "event": "dispatched"})"), HasSubstr("'call'"));
  EXPECT_THAT(message(R"({"t_ms": 1, "event": "completed", "call": 0, "outcome": "fine"})"),
              HasSubstr("fine"));
  EXPECT_THAT(message(R"({"t_ms": 1, "event": "finished", "reason": "fine"})"), HasSubstr("fine"));
  EXPECT_THAT(message(R"({"t_ms": 1, "event": "text", "text": 7})"), HasSubstr("string"));
}

TEST(RunEventJson, OtherFormatsAreRefused) {
  Json json = to_json(test_header());
  json["asynclm_log"] = kLogFormat + 1;
  const auto header = run_header_from_json(json);
  ASSERT_FALSE(header);
  EXPECT_EQ(header.error().code, ErrorCode::unsupported);
}

}  // namespace
}  // namespace asynclm
