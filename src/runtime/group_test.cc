// SPDX-License-Identifier: Apache-2.0
// Sessions that write to each other.
#include <future>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asynclm/runtime.h>

#include "runtime/test_engine.h"

namespace asynclm {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string send_to(const std::string& id, const std::string& to, const std::string& text) {
  return "[CALL]" + id + "[HEAD]send(to=\"" + to + "\", text=\"" + text + "\")[END]";
}

class GroupTest : public ::testing::Test {
 protected:
  void make(std::vector<std::string> texts) {
    auto made = std::make_unique<TestEngine>(std::move(texts));
    engine = made.get();
    Toolbox box;
    ToolSpec spec{.name = "work", .description = "a tool of a test"};
    const auto work = [this](const Json&, const std::stop_token&) -> Result<std::string> {
      paused_.get_future().wait();
      return "worked";
    };
    EXPECT_TRUE(box.add(spec, work));
    runtime = std::move(*Runtime::create(std::move(made), std::move(box), {}));
  }

  static GroupMember member(const std::string& name) {
    GroupMember out{.name = name, .request = {}};
    out.request.config = {};
    out.request.messages = {{"user", "go"}};
    return out;
  }

  std::vector<RunReport> run(const std::vector<std::string>& names,
                             const GroupOptions& options = {}) {
    std::vector<GroupMember> members;
    for (const std::string& name : names) members.push_back(member(name));
    members.front().request.on_event = [this](const Session&, const Event& event) {
      if (std::holds_alternative<Trapped>(event.what) && !std::exchange(has_paused_, true)) {
        paused_.set_value();
      }
    };
    const auto runs = runtime->start_group(std::move(members), options);
    EXPECT_TRUE(runs) << runs.error().message;
    std::vector<RunReport> reports;
    for (const RunId id : runs.value_or(std::vector<RunId>{}))
      reports.push_back(*runtime->wait(id));
    return reports;
  }

  TestEngine* engine = nullptr;
  // The tool returns when the first member has paused: a trap behind its result would wait for what
  // does not come.
  std::promise<void> paused_;
  bool has_paused_ = false;  // of the decode thread
  std::unique_ptr<Runtime> runtime;
};

TEST_F(GroupTest, MessagesArriveAndTheGroupEnds) {
  make({send_to("q", "bob", "what is it?") + "[TRAP]thanks",
        "[TRAP]" + send_to("r", "anna", "it is 5") + "bye"});
  const auto reports = run({"anna", "bob"});
  ASSERT_THAT(reports, SizeIs(2));
  EXPECT_EQ(reports[0].finish, FinishReason::stop);
  EXPECT_EQ(reports[1].finish, FinishReason::stop);
  EXPECT_EQ(reports[0].answer, "thanks");
  EXPECT_EQ(reports[1].answer, "bye");
  EXPECT_EQ(reports[0].calls[0].result, "sent");
}

TEST_F(GroupTest, AMessageWakesOneThatHasEndedItsTurn) {
  make({send_to("q", "bob", "hello") + "[TRAP]end",
        "at once<|end_of_text|>" + send_to("r", "anna", "hi") + "later"});
  const auto reports = run({"anna", "bob"});
  EXPECT_EQ(reports[0].answer, "end");
  EXPECT_EQ(reports[1].answer, "later");
}

TEST_F(GroupTest, ManyToMany) {
  make({send_to("p", "b", "1") + send_to("q", "c", "2") + "[TRAP][TRAP]a",
        send_to("p", "a", "3") + send_to("q", "c", "4") + "[TRAP][TRAP]b",
        send_to("p", "a", "5") + send_to("q", "b", "6") + "[TRAP][TRAP]c"});
  for (const RunReport& report : run({"a", "b", "c"})) {
    EXPECT_EQ(report.finish, FinishReason::stop);
    ASSERT_THAT(report.calls, SizeIs(2));
    for (const CallRecord& call : report.calls) EXPECT_EQ(call.outcome, Outcome::returned);
  }
}

// Two that answer each other for ever: the budget ends it, and both are told.
TEST_F(GroupTest, TheBudgetEndsALoop) {
  const auto chatter = [](const std::string& to) {
    std::string text;
    for (int i = 0; i < 40; ++i)
      text += send_to("m" + std::to_string(i), to, "and you?") + "[TRAP]";
    return text;
  };
  make({chatter("b"), chatter("a")});
  int sent = 0, refused = 0;
  for (const RunReport& report : run({"a", "b"}, {.max_messages = 11})) {
    for (const CallRecord& call : report.calls) {
      sent += call.outcome == Outcome::returned ? 1 : 0;
      refused += call.result.contains("has sent its 11 messages") ? 1 : 0;
    }
  }
  EXPECT_EQ(sent, 11);
  EXPECT_GT(refused, 0);
}

// b is inside a block all the while, and cannot be told.
TEST_F(GroupTest, AFullMailboxIsSaid) {
  std::string sends;
  for (int i = 0; i < 5; ++i) sends += send_to("m" + std::to_string(i), "b", "x");
  make({sends, "[CALL]w[HEAD]" + std::string(600, 'w') + "()[END]"});
  const auto reports = run({"a", "b"}, {.mailbox = 3});
  ASSERT_THAT(reports[0].calls, SizeIs(5));
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(reports[0].calls[i].outcome, i < 3 ? Outcome::returned : Outcome::failed) << i;
  }
  EXPECT_THAT(reports[0].calls[4].result, HasSubstr("b has 3 messages that it has not read yet"));
  EXPECT_TRUE(reports[0].calls[4].delivered);
}

TEST_F(GroupTest, WhoHasLeftCannotBeWrittenTo) {
  make({"x" + send_to("q", "b", "x") + "ok", std::string(500, 'y')});
  engine->close_gate();
  const auto runs = runtime->start_group({member("a"), member("b")});
  ASSERT_TRUE(runs);
  engine->await_decode();
  runtime->cancel((*runs)[1]);
  EXPECT_EQ(runtime->wait((*runs)[1])->finish, FinishReason::cancelled);
  engine->open_gate();
  const auto report = runtime->wait((*runs)[0]);
  ASSERT_THAT(report->calls, SizeIs(1));
  EXPECT_EQ(report->calls[0].result, "b has left");
  EXPECT_EQ(report->answer, "xok");
}

TEST_F(GroupTest, NobodyWritesToOthersThanMembers) {
  make({send_to("p", "a", "to myself") + send_to("q", "zoe", "x") + "[TRAP]", "[TRAP]"});
  const auto reports = run({"a", "b"});
  ASSERT_THAT(reports[0].calls, SizeIs(2));
  for (const CallRecord& call : reports[0].calls) EXPECT_TRUE(call.rejected) << call.result;
}

TEST_F(GroupTest, OpenCallsKeepAGroup) {
  make({"[CALL]w[HEAD]work()[END][TRAP]" + send_to("q", "b", "done") + "[TRAP]", "[TRAP]good"});
  const auto reports = run({"a", "b"});
  EXPECT_EQ(reports[0].calls[0].result, "worked");
  EXPECT_EQ(reports[1].answer, "good");
}

TEST_F(GroupTest, WhatIsNoGroupIsSaid) {
  make({"x"});
  const auto refusal = [&](std::vector<std::string> names, const GroupOptions& options = {}) {
    std::vector<GroupMember> members;
    for (const std::string& name : names) members.push_back(member(name));
    const auto runs = runtime->start_group(std::move(members), options);
    return runs ? "accepted" : runs.error().message;
  };
  EXPECT_THAT(refusal({"a"}), HasSubstr("at least two"));
  EXPECT_THAT(refusal({"a", "a"}), HasSubstr("'a'"));
  EXPECT_THAT(refusal({"a", "b c"}), HasSubstr("'b c'"));
  EXPECT_THAT(refusal({"a", "b"}, {.mailbox = 0}), HasSubstr("mailbox"));
  std::vector<GroupMember> empty = {member("a"), member("b")};
  empty[1].request.messages.clear();
  EXPECT_THAT(runtime->start_group(std::move(empty)).error().message, HasSubstr("b: "));
}

}  // namespace
}  // namespace asynclm
