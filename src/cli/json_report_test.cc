// SPDX-License-Identifier: Apache-2.0
#include "cli/json_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_run.h"

namespace asynclm {
namespace {

using ::testing::HasSubstr;

std::vector<std::string> keys(const Json& json) {
  std::vector<std::string> out;
  for (const auto& [key, value] : json.items()) out.push_back(key);
  return out;
}

TEST(ReportJson, HasTheDocumentedFields) {
  const Json json = report_to_json(Mode::async, test_report());
  EXPECT_THAT(keys(json),
              testing::ElementsAre("mode", "answer", "finish_reason", "calls", "tokens", "time"));
  EXPECT_THAT(keys(json["calls"][0]),
              testing::ElementsAre("id", "name", "arguments", "outcome", "result", "emitted_ms",
                                   "dispatched_ms", "returned_ms", "delivered_ms"));
  EXPECT_EQ(json["mode"], "async");
  EXPECT_EQ(json["finish_reason"], "stop");
  EXPECT_EQ(json["calls"][0]["arguments"]["path"], "src");
  EXPECT_EQ(json["calls"][1]["outcome"], "failed");
  EXPECT_EQ(json["calls"][0]["dispatched_ms"], 101.0);
  EXPECT_EQ(json["tokens"]["generated"], 90);
  EXPECT_EQ(json["time"]["overlap_ms"], 120.0);
}

TEST(ReportJson, NullWhereThereIsNothing) {
  RunReport report;
  report.finish = FinishReason::cancelled;
  report.calls.resize(1);
  const Json call = report_to_json(Mode::sync, report)["calls"][0];
  for (const char* key : {"id", "name", "outcome", "result", "emitted_ms", "dispatched_ms",
                          "returned_ms", "delivered_ms"}) {
    EXPECT_TRUE(call[key].is_null()) << key;
  }
  EXPECT_TRUE(call["arguments"].is_object());
}

TEST(ReportJson, IsValidWhateverToolsAndModelsWrite) {
  RunReport report = test_report();
  report.answer = "\xff\xfe \xe6\xbc";
  report.calls[0].result = std::string("\0\x80", 2);
  const std::string text = dump_json(report_to_json(Mode::async, report));
  const Json json = Json::parse(text, nullptr, false);
  ASSERT_FALSE(json.is_discarded());
  EXPECT_THAT(json["answer"].get<std::string>(), HasSubstr("\uFFFD"));
}

TEST(ReportJson, CanBeReadAgain) {
  const Json json = Json::parse(dump_json(report_to_json(Mode::async, test_report()), 2));
  const auto report = report_from_json(json);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report_to_json(Mode::async, *report), json);
}

TEST(ReportJson, WhatIsMissingIsNamed) {
  Json json = report_to_json(Mode::async, test_report());
  json["time"].erase("wall_ms");
  const auto report = report_from_json(json);
  ASSERT_FALSE(report);
  EXPECT_THAT(report.error().message, HasSubstr("wall_ms"));
  EXPECT_FALSE(report_from_json(Json::array()));
}

}  // namespace
}  // namespace asynclm
