// SPDX-License-Identifier: Apache-2.0
#include "cli/summary.h"

#include <algorithm>
#include <sstream>

#include <ftxui/screen/string.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_run.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<ComparedRun> compared() {
  std::vector<ComparedRun> runs = {{Mode::sync, test_report()},
                                   {Mode::sync_parallel, test_report()},
                                   {Mode::async, test_report()}};
  runs[0].report.wall = 12345600us;
  runs[1].report.wall = 1000ms;
  runs[2].report.wall = 500ms;
  return runs;
}

std::string table(const std::vector<ComparedRun>& runs, int columns) {
  std::string out;
  for (const FrameLine& line : comparison_table(runs, columns)) {
    EXPECT_LE(ftxui::string_width(line.text), columns);
    out += line.text + '\n';
  }
  return out;
}

TEST(Summary, SuccessIsAnOrdinaryEndWithAnAnswer) {
  RunReport report = test_report();
  EXPECT_TRUE(task_succeeded(report));  // although a call failed
  report.answer = " \n";
  EXPECT_FALSE(task_succeeded(report));
  for (const FinishReason reason :
       {FinishReason::length, FinishReason::context_full, FinishReason::stalled,
        FinishReason::cancelled, FinishReason::error}) {
    report = test_report();
    report.finish = reason;
    EXPECT_FALSE(task_succeeded(report));
  }
}

TEST(Summary, SaysWhereTheTimeWentAndWhichCallsFailed) {
  std::ostringstream out;
  print_summary(out, Mode::async, test_report(), 0);
  EXPECT_EQ(out.str(),
            "async: wall 501 ms, generating 350 ms, waiting 140 ms, overlap 120 ms\n"
            "calls 1 of 2 ok; tokens: prompt 200, generated 90 (0 drafted), forced 0, injected 40\n"
            "b = fetch() failed: exit status 3\n");
}

TEST(Summary, FailuresAreNamed) {
  RunReport report = test_report();
  report.finish = FinishReason::error;
  report.error = Error{ErrorCode::engine, "out of memory"};
  std::ostringstream out;
  print_summary(out, Mode::sync, report, 0);
  EXPECT_THAT(out.str(), HasSubstr("sync (error)"));
  EXPECT_THAT(out.str(), HasSubstr("error: out of memory"));
}

TEST(Summary, FitsNarrowTerminals) {
  std::ostringstream out;
  print_summary(out, Mode::async, test_report(), 40);
  print_answer(out, test_report(), 40);
  std::istringstream lines(out.str());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 40U);
}

TEST(Summary, AnswersAreMadeHarmless) {
  RunReport report = test_report();
  report.answer = "\n  x\x1b[2J\ny \n";
  std::ostringstream out;
  print_answer(out, report, 0);
  EXPECT_EQ(out.str(), "x\\x1b[2J\ny\n");
}

TEST(Comparison, SameCallsInAnyOrder) {
  std::vector<ComparedRun> runs = compared();
  EXPECT_TRUE(same_calls(runs));
  std::ranges::reverse(runs[1].report.calls);
  EXPECT_TRUE(same_calls(runs));
  runs[1].report.calls[0].arguments["path"] = "elsewhere";
  EXPECT_FALSE(same_calls(runs));
  EXPECT_TRUE(same_calls({}));
}

TEST(ComparisonTable, ARowForEachMode) {
  const std::string text = table(compared(), 80);
  EXPECT_THAT(text, HasSubstr("│sync         │"));
  EXPECT_THAT(table(compared(), 100), HasSubstr("│ sync          │"));
  EXPECT_THAT(text, HasSubstr("12345.6"));
  EXPECT_THAT(text, HasSubstr("24.69x"));
  EXPECT_THAT(text, HasSubstr("1/2"));
}

TEST(ComparisonTable, FortyColumns) {
  const std::string text = table(compared(), 40);
  EXPECT_THAT(text, HasSubstr("parallel"));
  EXPECT_THAT(text, HasSubstr("24.69x"));
}

TEST(ComparisonTable, FailedRunsHaveNoSpeedUp) {
  std::vector<ComparedRun> runs = compared();
  runs[2].report.finish = FinishReason::stalled;
  EXPECT_FALSE(speed_up(runs, runs[2]));
  EXPECT_TRUE(speed_up(runs, runs[1]));
  EXPECT_THAT(table(runs, 80), HasSubstr("failed"));
  runs[0].report.finish = FinishReason::stalled;
  EXPECT_FALSE(speed_up(runs, runs[1]));
}

}  // namespace
}  // namespace asynclm
