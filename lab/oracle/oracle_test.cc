// SPDX-License-Identifier: Apache-2.0
#include "oracle/oracle.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "oracle/test_oracle.h"

namespace asynclm {
namespace {

// 10 ms a token, appended tokens for nothing: times can be counted by hand.
constexpr SimulationCosts kCosts{.per_token = from_ms(10), .per_appended_token = {}};
constexpr Mode kTaughtModes[] = {Mode::sync, Mode::sync_parallel, Mode::async};

OracleRun run(Mode mode, const std::vector<ToolSpec>& tools, const Task& task,
              Policy policy = Policy::lpt) {
  OracleRun out = run_oracle(mode, tools, {task}, kCosts, policy);
  EXPECT_FALSE(out.error) << out.error->message;
  EXPECT_EQ(out.reason, FinishReason::stop);
  return out;
}

const std::vector<ToolSpec> kTools = {make_tool("f", 100), make_tool("g", 300)};

// Two independent calls and something to say, f first. Each block is 12 tokens, "hi\n" 3, each
// report 9.
Task two_calls() {
  return {.user = "do it",
          .calls = {make_call("f", "1", 100, "one"), make_call("g", "2", 300, "two")},
          .say = "hi"};
}

TEST(Oracle, Async) {
  const OracleRun out = run(Mode::async, kTools, two_calls());
  // g is dispatched at 120 and f at 240 ms; the trap ends at 280, f returns at 340, and g at 420,
  // when eight tokens of the report on f are written: it waits for the end of the word.
  EXPECT_EQ(out.text,
            "[CALL]a[HEAD]g(x=\"2\")[END][CALL]b[HEAD]f(x=\"1\")[END]hi\n[TRAP][END]"
            "[INTR]b[HEAD]one[END]- b: one\n[INTR]a[HEAD]two[END]- a: two\n<|end_of_text|>");
  EXPECT_EQ(out.answer, "hi\n- b: one\n- a: two\n");
  EXPECT_EQ(to_ms(*out.calls[0].returned), 420);
  EXPECT_EQ(to_ms(*out.calls[1].returned), 340);
  EXPECT_EQ(to_ms(out.end), 340 + 90 + 90 + 10);
}

TEST(Oracle, SyncParallel) {
  const OracleRun out = run(Mode::sync_parallel, kTools, two_calls());
  EXPECT_EQ(out.text,
            "[CALL]a[HEAD]g(x=\"2\")[END][CALL]b[HEAD]f(x=\"1\")[END]hi\n[TRAP][END]"
            "[INTR]a[HEAD]two[END][INTR]b[HEAD]one[END]- a: two\n- b: one\n<|end_of_text|>");
  EXPECT_EQ(to_ms(*out.calls[0].dispatched), 280);
  EXPECT_EQ(to_ms(*out.calls[0].returned), 280 + 300);
  EXPECT_EQ(to_ms(out.end), 580 + 90 + 90 + 10);
}

TEST(Oracle, Sync) {
  const OracleRun out = run(Mode::sync, kTools, two_calls());
  EXPECT_EQ(out.text,
            "[CALL]a[HEAD]g(x=\"2\")[END][INTR]a[HEAD]two[END][CALL]b[HEAD]f(x=\"1\")[END]"
            "[INTR]b[HEAD]one[END]hi\n- a: two\n- b: one\n<|end_of_text|>");
  EXPECT_EQ(to_ms(*out.calls[0].returned), 120 + 300);
  EXPECT_EQ(to_ms(*out.calls[1].returned), 420 + 120 + 100);
  EXPECT_EQ(to_ms(out.end), 640 + 30 + 90 + 90 + 10);
}

TEST(Oracle, CallsAreNamedByWhatTheUserAsksFor) {
  Task task = {.user = "do it",
               .calls = {make_call("f", "1", 10, "one"), make_call("g", "2", 10, "two"),
                         make_call("f", "3", 10, "three")},
               .say = {}};
  task.calls[0].label = task.calls[2].label = "file";
  task.calls[1].label = "user";  // reserved
  task.calls[2].mistake = "h(1)";
  const OracleRun out = run(Mode::async, kTools, task, Policy::as_written);
  ASSERT_EQ(out.calls.size(), 4U);
  const std::vector<std::string> ids = {"file", "user2", "file2", "file3"};
  for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(out.calls[i].id, ids[i]);
  EXPECT_TRUE(out.calls[2].rejected) << "the mistake";
}

TEST(Oracle, AnIdSaysWhichOfAResultsValuesTheCallTakes) {
  const auto id_with = [](std::string label, std::string path) {
    Task task = {.user = "do it",
                 .calls = {make_call("f", "1", 10, R"({"n": {"m": "seven"}})"),
                           make_call("g", "seven", 10, "two")},
                 .say = {}};
    task.calls[0].label = "file";
    task.calls[1].label = std::move(label);
    task.calls[1].arguments[0].from = 0;
    task.calls[1].arguments[0].path = std::move(path);
    const OracleRun out = run(Mode::sync, kTools, task, Policy::as_written);
    return out.calls.size() == 2 ? out.calls[1].id : "";
  };
  EXPECT_EQ(id_with("size", ".n"), "size_n");
  EXPECT_EQ(id_with("size", ".n.m"), "size_m");
  EXPECT_EQ(id_with("size", ".n[0]"), "size") << "no name";
  EXPECT_EQ(id_with("", ".n"), "b");
  const std::string longest(60, 'a');
  EXPECT_EQ(id_with(longest, ".n"), longest) << "an id has 64 bytes";
}

TEST(Oracle, AsWrittenKeepsTheUsersOrder) {
  for (const Mode mode : kTaughtModes) {
    const OracleRun out = run(mode, kTools, two_calls(), Policy::as_written);
    ASSERT_EQ(out.calls.size(), 2U);
    EXPECT_EQ(out.calls[0].name, "f");
    EXPECT_EQ(out.calls[1].name, "g");
  }
}

// A recorded call: it comes after the first, whose result has the value that it takes.
Task recorded() {
  Task task{.user = "go",
            .calls = {make_call("f", "1", 1000, R"({"n": ["seven"]})"),
                      make_call("g", "seven", 1000, "two"), make_call("f", "3", 1000, "three")},
            .say = {}};
  task.calls[1].arguments[0].from = 0;
  task.calls[1].arguments[0].path = ".n[0]";
  task.calls[1].after = {0};
  task.calls[2].after = {0, 1};
  return task;
}

TEST(Oracle, RecordedCallsKeepTheirOrder) {
  for (const Mode mode : kTaughtModes) {
    const OracleRun out = run(mode, kTools, recorded());
    ASSERT_EQ(out.calls.size(), 3U);
    EXPECT_EQ(out.calls[1].arguments, Json({{"x", "seven"}}));
    EXPECT_GE(*out.calls[1].emitted, *out.calls[0].delivered);
    EXPECT_GE(*out.calls[2].emitted, *out.calls[1].delivered);
  }
}

TEST(Oracle, InAsyncPlusTheRuntimeKeepsTheOrder) {
  const OracleRun out = run(Mode::async_plus, kTools, recorded());
  EXPECT_TRUE(
      out.text.starts_with("[CALL]a[HEAD]f(x=\"1\")[END]"
                           "[CALL]b[HEAD]g(x=$a.n[0])[END]"
                           "[CALL]c after a b[HEAD]f(x=\"3\")[END]"))
      << out.text;
  ASSERT_EQ(out.calls.size(), 3U);
  for (const CallRecord& call : out.calls) EXPECT_EQ(call.outcome, Outcome::returned);
}

OracleRun run_with(const OracleHabits& habits, const Task& task, Mode mode = Mode::async_plus) {
  return run_oracle(mode, kTools, {task}, kCosts, Policy::lpt, {.habits = habits});
}

TEST(Oracle, WithoutFuturesACallWaitsForWhatItTakes) {
  EXPECT_TRUE(run_with({.futures = false}, recorded())
                  .written.starts_with("[CALL]a[HEAD]f(x=\"1\")[END][TRAP]a[HEAD]all[END]"
                                       "[CALL]b[HEAD]g(x=\"seven\")[END]"
                                       "[CALL]c after b[HEAD]"));
  EXPECT_TRUE(run_with({.order = false, .waits = false}, recorded())
                  .written.starts_with("[CALL]a[HEAD]f(x=\"1\")[END]"
                                       "[CALL]b[HEAD]g(x=$a.n[0])[END][TRAP][END]"));
  // What no path says cannot be named at all.
  Task read = recorded();
  read.calls[1].arguments[0].from = std::nullopt;
  read.calls[1].reads = {0};
  EXPECT_TRUE(run_with({.reports = false}, read)
                  .written.starts_with("[CALL]a[HEAD]f(x=\"1\")[END][TRAP]a[HEAD]all[END]"
                                       "[CALL]b[HEAD]g(x=\"seven\")[END]"));
}

TEST(Oracle, WhatIsToBeToldTogetherIsWaitedForTogether) {
  Task task = two_calls();
  task.say.clear();
  task.together = true;
  const OracleRun plus = run(Mode::async_plus, kTools, task);
  EXPECT_TRUE(plus.text.contains("[TRAP]a b[HEAD]all[END][INTR]")) << plus.text;
  EXPECT_EQ(plus.answer, "- b: one\n- a: two\n") << "in the order in which they came" << plus.text;
  const OracleRun other = run(Mode::async, kTools, task);
  EXPECT_TRUE(other.text.contains("[TRAP][END][INTR]b[HEAD]one[END][TRAP][END][INTR]a[HEAD]"))
      << other.text;
  EXPECT_EQ(other.answer, "- b: one\n- a: two\n");
}

TEST(Oracle, WhatIsToBeToldFirstIsWaitedForAlone) {
  Task task = two_calls();
  task.say.clear();
  task.calls.push_back(make_call("f", "3", 150, "three"));
  task.first = {1, 2};  // a and c; b returns before them
  const OracleRun plus = run(Mode::async_plus, kTools, task);
  EXPECT_TRUE(plus.text.contains("[TRAP]a c[HEAD]any[END][INTR]")) << plus.text;
  EXPECT_EQ(plus.answer, "- b: one\n- a: two\n- c: three\n");
  const OracleRun other = run(Mode::async, kTools, task);
  EXPECT_TRUE(
      other.text.contains("[INTR]b[HEAD]one[END][TRAP][END][INTR]a[HEAD]two[END]- b: one\n"))
      << other.text;
  EXPECT_EQ(other.answer, plus.answer);
}

TEST(Oracle, WhatWasWithdrawnIsNotWaitedForFirst) {
  Task task = two_calls();
  task.say.clear();
  task.calls.push_back(make_call("g", "3", 900, "three"));
  task.calls[0].duration = from_ms(600);
  task.first = {1, 2};
  task.calls[1].withdrawn_by = 0;
  task.interruptions = {{.at = from_ms(450), .text = "not g"}};
  const OracleRun out = run(Mode::async_plus, kTools, task);
  EXPECT_TRUE(out.text.contains("[HEAD]all[END]")) << out.text;
  EXPECT_TRUE(out.answer.starts_with("- b: three\n") || out.answer.starts_with("- c: one\n"))
      << out.text;
  EXPECT_FALSE(out.answer.contains("two"));
}

TEST(Oracle, NothingIsCancelledWhereAToolHasThatName) {
  Task task = two_calls();
  task.say.clear();
  task.calls[1].duration = from_ms(600);
  task.calls[1].withdrawn_by = 0;
  task.interruptions = {{.at = from_ms(200), .text = "not g"}};
  EXPECT_TRUE(run(Mode::async_plus, kTools, task).text.contains("[CALL]cancel(a)[END]"));
  std::vector<ToolSpec> tools = kTools;
  tools.push_back(make_tool("cancel", 10));
  const OracleRun out = run(Mode::async_plus, tools, task);
  EXPECT_FALSE(out.text.contains("cancel(")) << out.text;
  EXPECT_TRUE(out.text.contains("[INTR]a[HEAD]two[END]")) << out.text;
  EXPECT_EQ(out.answer, "- b: one\n");
}

TEST(Oracle, ItWaitsOnWhenAPartOfAResultComes) {
  Task task = two_calls();
  task.say.clear();
  task.calls.resize(1);
  task.calls[0].parts = {{from_ms(20), "30 %"}, {from_ms(100), "all"}};
  EXPECT_EQ(run(Mode::async_plus, kTools, task).text,
            "[CALL]a[HEAD]f(x=\"1\")[END][TRAP]a[HEAD]all[END][INTR]a part[HEAD]30 %[END]"
            "[INTR]a part[HEAD]all[END][INTR]a[HEAD]one[END]- a: one\n<|end_of_text|>");
  EXPECT_FALSE(run(Mode::async, kTools, task).text.contains("part"));
}

TEST(Oracle, WithoutReportsItOnlyCalls) {
  EXPECT_EQ(run_with({.reports = false}, two_calls(), Mode::async).answer, "hi\n");
}

TEST(Oracle, TheOrderCanBeGiven) {
  const OracleRun out = run_oracle(Mode::async, kTools, {two_calls()}, kCosts, Policy::lpt,
                                   {.ranks = std::vector<double>{0, 1}});
  EXPECT_TRUE(out.written.starts_with("[CALL]a[HEAD]f")) << out.written;
}

TEST(Oracle, TheLongestRemainingPathFirst) {
  // The short call starts a chain that takes longer than the longest call.
  const std::vector<ToolSpec> tools = {make_tool("slow", 500), make_tool("quick", 50),
                                       make_tool("slower", 600)};
  const Task task{.user = "go",
                  .calls = {make_call("slow", "1", 500, "one"), make_call("quick", "2", 50, "two"),
                            make_call_from("slower", 1, 600, "three")},
                  .say = {}};
  const auto first = [&](Policy policy) {
    return run(Mode::async, tools, task, policy).calls.front().name;
  };
  EXPECT_EQ(first(Policy::lpt), "slow");
  EXPECT_EQ(first(Policy::critical_path), "quick");
  EXPECT_EQ(first(Policy::optimal), "quick");
}

TEST(Oracle, APlanCountsTheTokensOfACall) {
  const std::vector<ToolSpec> tools = {make_tool("f", 500), make_tool("g", 50)};
  const Task task{.user = "go",
                  .calls = {make_call("f", "1", 1, ""), make_call_from("g", 0, 1, "")},
                  .say = {}};
  // A byte is a token here: f(x="1") and three markers; what is to come counts as nothing.
  const auto calls = plan(task, tools, quick_vocabulary(), from_ms(10));
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[0].write, from_ms(10 * (8 + 3)));
  EXPECT_EQ(calls[1].write, from_ms(10 * (7 + 3)));
  EXPECT_EQ(calls[0].run, from_ms(500));
  EXPECT_TRUE(calls[0].needs.empty());
  EXPECT_EQ(calls[1].needs, std::vector<std::size_t>{0});
}

TEST(Oracle, TheLongestEstimateFirst) {
  // Estimates count, not how long the calls really take; equal ones go by name as in the prompt,
  // calls of one tool in the user's order.
  const std::vector<ToolSpec> tools = {make_tool("z", 50), make_tool("b", 200), make_tool("a", 200),
                                       make_tool("q", 900)};
  const Task task{.user = "go",
                  .calls = {make_call("z", "1", 900, "r"), make_call("b", "2", 10, "r"),
                            make_call("q", "3", 10, "r"), make_call("a", "4", 10, "r"),
                            make_call("b", "5", 10, "r")},
                  .say = {}};
  for (const Mode mode : kTaughtModes) {
    std::string order;
    for (const CallRecord& call : run(mode, tools, task).calls) {
      order += call.name + call.arguments["x"].get<std::string>() + " ";
    }
    EXPECT_EQ(order, "q3 a4 b2 b5 z1 ") << to_string(mode);
  }
}

TEST(Oracle, AResultIsUsedOnlyAfterItWasDelivered) {
  // g needs f's result. Async has time to talk; the others wait.
  const Task chain{.user = "go",
                   .calls = {make_call("f", "1", 100, "one"), make_call_from("g", 0, 50, "two")},
                   .say = "hi"};
  EXPECT_EQ(run(Mode::async, kTools, chain).text,
            "[CALL]a[HEAD]f(x=\"1\")[END]hi\n[TRAP][END][INTR]a[HEAD]one[END]"
            "[CALL]b[HEAD]g(x=\"one\")[END]- a: one\n[INTR]b[HEAD]two[END]- b: two\n"
            "<|end_of_text|>");
  EXPECT_EQ(run(Mode::sync_parallel, kTools, chain).text,
            "[CALL]a[HEAD]f(x=\"1\")[END]hi\n[TRAP][END][INTR]a[HEAD]one[END]"
            "[CALL]b[HEAD]g(x=\"one\")[END]- a: one\n[TRAP][END][INTR]b[HEAD]two[END]"
            "- b: two\n<|end_of_text|>");
  EXPECT_EQ(run(Mode::sync, kTools, chain).text,
            "[CALL]a[HEAD]f(x=\"1\")[END][INTR]a[HEAD]one[END][CALL]b[HEAD]g(x=\"one\")[END]"
            "[INTR]b[HEAD]two[END]hi\n- a: one\n- b: two\n<|end_of_text|>");
}

TEST(Oracle, ResultsBecomeNumbersWhereNumbersAreWanted) {
  const std::vector<ToolSpec> tools = {make_tool("f", 100), make_tool("n", 100, "number"),
                                       make_tool("i", 100, "integer")};
  const auto argument = [&](const std::string& result, const std::string& tool) {
    const Task chain{.user = "go",
                     .calls = {make_call("f", "1", 10, result), make_call_from(tool, 0, 10, "r")},
                     .say = {}};
    return run(Mode::async, tools, chain).calls[1].code;
  };
  EXPECT_EQ(argument("17", "f"), R"(f(x="17"))");
  EXPECT_EQ(argument("17", "i"), "i(x=17)");
  EXPECT_EQ(argument("-2.5", "n"), "n(x=-2.5)");
  EXPECT_EQ(argument("none", "i"), R"(i(x="none"))");
  EXPECT_EQ(argument("a \"b\"\n\\", "f"), R"(f(x="a \"b\"\n\\"))");
}

TEST(Oracle, WhatNeedsAFailedCallIsNotRun) {
  Task task{.user = "go",
            .calls = {make_call("f", "1", 100, "no such file"), make_call_from("g", 0, 50, "two"),
                      make_call_from("f", 1, 50, "three"), make_call("f", "4", 50, "four")},
            .say = {}};
  task.calls[0].result.outcome = Outcome::failed;
  for (const Mode mode : kTaughtModes) {
    const OracleRun out = run(mode, kTools, task);
    EXPECT_EQ(out.calls.size(), 2U) << to_string(mode);
    EXPECT_TRUE(out.text.contains("[HEAD]error: no such file[END]"));
    for (const auto* const line :
         {"- a failed: no such file\n- g not run\n- f not run\n", "- b: four\n"}) {
      EXPECT_TRUE(out.answer.contains(line)) << out.answer;
    }
  }
}

TEST(Oracle, WhatNeedsTwoFailedCallsIsReportedOnce) {
  Task task{.user = "go",
            .calls = {make_call("f", "1", 100, "no"), make_call("f", "2", 200, "no"),
                      make_call_from("g", 0, 50, "two")},
            .say = {}};
  task.calls[0].result.outcome = Outcome::timed_out;
  task.calls[1].result.outcome = Outcome::failed;
  task.calls[2].arguments.push_back({.name = "y", .value = nullptr, .from = 1});
  for (const Mode mode : kTaughtModes) {
    EXPECT_EQ(run(mode, kTools, task).answer, "- a failed: no\n- g not run\n- b failed: no\n");
  }
}

TEST(Oracle, OnlySomethingToSay) {
  for (const Mode mode : kTaughtModes) {
    const OracleRun out = run(mode, kTools, {.user = "go", .calls = {}, .say = "hello"});
    EXPECT_EQ(out.text, "hello\n<|end_of_text|>");
    EXPECT_EQ(to_ms(out.end), 70);
  }
  EXPECT_EQ(run(Mode::async, kTools, {.user = "go", .calls = {}, .say = {}}).text,
            "<|end_of_text|>");
}

TEST(Oracle, IdsGoOnThroughAConversation) {
  Task many{.user = "many", .calls = {}, .say = {}};
  for (int i = 0; i < 15; ++i) many.calls.push_back(make_call("f", "1", 10, "r"));
  for (const Mode mode : kTaughtModes) {
    const OracleRun out = run_oracle(mode, kTools, {many, many}, kCosts);
    ASSERT_FALSE(out.error) << out.error->message;
    ASSERT_EQ(out.calls.size(), 30U);
    EXPECT_EQ(out.calls[0].id, "a");
    EXPECT_EQ(out.calls[25].id, "z");
    EXPECT_EQ(out.calls[26].id, "aa");
    EXPECT_EQ(out.calls[29].id, "ad");
    EXPECT_TRUE(std::ranges::none_of(out.calls, &CallRecord::rejected));
  }
}

TEST(Simulator, WhatTheModelWroteIsMarked) {
  const OracleRun out = run(Mode::async, kTools, two_calls());
  EXPECT_EQ(out.written,
            "[CALL]a[HEAD]g(x=\"2\")[END][CALL]b[HEAD]f(x=\"1\")[END]hi\n[TRAP]"
            "- b: one\n- a: two\n<|end_of_text|>");
}

TEST(Simulator, AppendedTokensCost) {
  const Task say{.user = "go", .calls = {}, .say = "hi"};
  const auto session = Session::create(quick_vocabulary(), kTools, {{"user", "go"}}, {});
  const int prompt = session->token_counts().prompt;
  // Four decode steps; the first appends the prompt, each other the token sampled before.
  EXPECT_EQ(run_oracle(Mode::async, kTools, {say}, {from_ms(10), from_ms(1)}).end,
            from_ms(4 * 10 + prompt - 1));
}

TEST(Simulator, ClientsOfRequestsAreSlower) {
  const auto end = [](const Serving& serving) {
    return run_oracle(Mode::async, kTools, {two_calls()}, kCosts, Policy::lpt, {.serving = serving})
        .end;
  };
  const Time embedded = end({});
  EXPECT_EQ(end({.per_request = from_ms(1000)}) - embedded, from_ms(2000)) << "two results";
  EXPECT_EQ(end({.keeps_cache = false}), embedded) << "appended tokens cost nothing here";
}

TEST(Simulator, ABarrierHandsInAllResultsAtOnce) {
  const OracleRun out = run_oracle(Mode::async, kTools, {two_calls()}, kCosts, Policy::lpt,
                                   {.serving = {.all_at_once = true}});
  ASSERT_EQ(out.calls.size(), 2U);
  EXPECT_EQ(out.calls[0].delivered, from_ms(120 + 300));
  EXPECT_EQ(out.calls[1].delivered, out.calls[0].delivered);
}

TEST(Simulator, SaysWhenItCannotGoOn) {
  const FakeVocabulary vocabulary;
  auto session = Session::create(vocabulary, kTools, {{"user", "go"}}, {});
  FakeEngine engine(vocabulary);
  const SequenceId sequence = *engine.create({});
  engine.script(sequence, play({}, kNoToken));
  const auto report = simulate(*session, engine, sequence, {}, {.costs = kCosts}, {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::engine);
}

TEST(Simulator, LongAppendsAreCutToBatches) {
  const FakeVocabulary vocabulary;
  auto session = Session::create(vocabulary, kTools, {{"user", "go"}}, {});
  FakeEngine engine(vocabulary, {.max_batch_tokens = 7});
  const SequenceId sequence = *engine.create({});
  engine.script(sequence, play({'h', 'i'}, vocabulary.control("<|end_of_text|>")));
  const auto report = simulate(*session, engine, sequence, {}, {.costs = kCosts}, {});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(session->answer(), "hi");
  EXPECT_EQ(spelled(vocabulary, engine.tokens(sequence)) + "<|end_of_text|>",
            spelled(vocabulary, session->context()));
}

}  // namespace
}  // namespace asynclm
