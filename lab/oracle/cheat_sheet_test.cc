// SPDX-License-Identifier: Apache-2.0
#include "oracle/cheat_sheet.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "oracle/test_oracle.h"

namespace asynclm {
namespace {

// The user's text says more than the sheet, whose rank is the call's place from behind.
TaskSequence with_sheet(Task task) {
  task.user = "Do it.";
  TaskSequence sequence{.tools = {make_tool("f", 100), make_tool("g", 200)},
                        .tasks = {std::move(task)}};
  write_cheat_sheet(sequence, [](const Task& of) {
    std::vector<double> ranks;
    for (std::size_t i = 0; i < of.calls.size(); ++i) ranks.push_back(-static_cast<double>(i));
    return ranks;
  });
  return sequence;
}

TEST(CheatSheet, ListsTheCallsInOrderOfRank) {
  const TaskSequence sequence =
      with_sheet({.calls = {make_call("f", "x \"y\"", 1, "1"), make_call("g", "z", 1, "2")}});
  const Task& task = sequence.tasks.front();
  EXPECT_EQ(task.user,
            "Do it.\nMake these calls and say nothing else:\na: g(x=\"z\")\n"
            "b: f(x=\"x \\\"y\\\"\")\n");
  EXPECT_EQ(task.calls[0].tool, "g");
  EXPECT_EQ(task.calls[1].label, "b");
  EXPECT_FALSE(task.reports);
}

TEST(CheatSheet, ACallStandsBehindWhatItNeeds) {
  TaskCall last = make_call("f", "1", 1, "2");
  last.arguments.front().from = 0;  // has the value of the first
  last.after = {1};
  const TaskSequence sequence =
      with_sheet({.calls = {make_call("g", "p", 1, "1"), make_call("g", "q", 1, "3"), last}});
  const Task& task = sequence.tasks.front();
  EXPECT_EQ(task.user.substr(task.user.find("a: ")),
            "a: g(x=\"q\")\nb: g(x=\"p\")\nc after a b: f(x=\"1\")\n");
  EXPECT_EQ(task.calls[2].after, (std::vector<std::size_t>{0, 1}));
  EXPECT_FALSE(task.calls[2].arguments.front().from);
}

TEST(CheatSheet, WhatIsAskedLaterStandsInTheInterruption) {
  TaskCall later = make_call("f", "late", 1, "2");
  later.asked_by = 0;
  const TaskSequence sequence =
      with_sheet({.calls = {make_call("g", "p", 1, "1"), later},
                  .interruptions = {{.at = from_ms(5), .text = "One more."}}});
  const Task& task = sequence.tasks.front();
  EXPECT_EQ(task.user, "Do it.\nMake these calls and say nothing else:\na: g(x=\"p\")\n");
  EXPECT_EQ(task.interruptions.front().text,
            "One more.\nMake these calls and say nothing else:\nb: f(x=\"late\")\n");
}

TEST(CheatSheet, IdsGoOnFromTaskToTask) {
  TaskSequence sequence{.tools = {make_tool("f", 100)},
                        .tasks = {{.user = "1", .calls = {make_call("f", "x", 1, "1")}},
                                  {.user = "2", .calls = {make_call("f", "y", 1, "1")}}}};
  write_cheat_sheet(sequence, [](const Task& of) { return std::vector<double>(of.calls.size()); });
  EXPECT_EQ(sequence.tasks[1].calls.front().label, "b");
}

}  // namespace
}  // namespace asynclm
