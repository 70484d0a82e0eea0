// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <filesystem>
#include <future>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <thread>
#include <variant>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asynclm/runtime.h>

#include "base/test_folder.h"
#include "runtime/test_engine.h"
#include "runtime/test_simulation.h"

namespace asynclm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

ToolSpec spec(const std::string& name, std::vector<std::string> parameters = {}) {
  ToolSpec out;
  out.name = name;
  out.description = "A tool of a test.";
  for (const std::string& parameter : parameters) {
    out.parameters["properties"][parameter] = Json{{"type", "string"}};
    out.parameters["required"].push_back(parameter);
  }
  return out;
}

// Blocks its callers until it is opened, or until their call is stopped.
class Latch {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void wait(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, stop, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  bool open_ = false;
};

class RuntimeTest : public ::testing::Test {
 protected:
  // echo(text): its text. hold(): "held", when `latch` opens. broken(): fails.
  Toolbox tools() {
    Toolbox box;
    EXPECT_TRUE(box.add(spec("echo", {"text"}),
                        [](const Json& arguments, const std::stop_token&) -> Result<std::string> {
                          return arguments.at("text").get<std::string>();
                        }));
    EXPECT_TRUE(box.add(spec("hold"),
                        [this](const Json&, const std::stop_token& stop) -> Result<std::string> {
                          latch.wait(stop);
                          return "held";
                        }));
    EXPECT_TRUE(
        box.add(spec("broken"), [](const Json&, const std::stop_token&) -> Result<std::string> {
          return fail(ErrorCode::io, "it is broken");
        }));
    return box;
  }

  void make(std::vector<std::string> texts, FakeEngineOptions options = {},
            const RuntimeOptions& runtime_options = {}) {
    auto made = std::make_unique<TestEngine>(std::move(texts), std::move(options));
    engine = made.get();
    auto created = Runtime::create(std::move(made), tools(), runtime_options);
    ASSERT_TRUE(created) << created.error().message;
    runtime = std::move(*created);
  }

  static RunRequest request(const std::string& task = "go", Mode mode = Mode::async) {
    RunRequest out;
    out.config = {};  // scripts write every token themselves
    out.messages = {{"user", task}};
    out.config.mode = mode;
    return out;
  }

  RunId start(RunRequest what = request()) {
    auto run = runtime->start(std::move(what));
    EXPECT_TRUE(run) << run.error().message;
    return run.value_or(0);
  }

  RunReport wait(RunId run) {
    auto report = runtime->wait(run);
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : RunReport{};
  }

  Latch latch;
  TestEngine* engine = nullptr;  // the runtime's
  std::unique_ptr<Runtime> runtime;
};

TEST_F(RuntimeTest, TextOnly) {
  make({"Hello there."});
  const RunReport report = wait(start());
  EXPECT_EQ(report.finish, FinishReason::stop);
  EXPECT_EQ(report.answer, "Hello there.");
  EXPECT_THAT(report.calls, SizeIs(0));
  EXPECT_GT(report.tokens.prompt, 0);
  EXPECT_EQ(report.tokens.generated, 13);
  EXPECT_FALSE(report.error);
  EXPECT_GE(report.wall, report.generating);
  EXPECT_GT(report.generating, Time{});
  EXPECT_EQ(report.overlap, Time{});
}

TEST_F(RuntimeTest, ACallsResultComesBackAsAnInterrupt) {
  for (const Mode mode : {Mode::async, Mode::sync, Mode::sync_parallel}) {
    make({"[CALL]a[HEAD]echo(text=\"hi\")[END][TRAP]done"});
    const RunReport report = wait(start(request("go", mode)));
    EXPECT_EQ(report.finish, FinishReason::stop);
    ASSERT_THAT(report.calls, SizeIs(1));
    const CallRecord& call = report.calls[0];
    EXPECT_EQ(call.outcome, Outcome::returned);
    EXPECT_EQ(call.result, "hi");
    ASSERT_TRUE(call.emitted && call.dispatched && call.returned && call.delivered);
    EXPECT_LE(*call.emitted, *call.dispatched);
    EXPECT_LE(*call.dispatched, *call.returned);
    EXPECT_LE(*call.returned, *call.delivered);
    EXPECT_LE(*call.delivered, report.wall);
  }
}

TEST_F(RuntimeTest, FailedCallsAreReported) {
  make({"[CALL]a[HEAD]broken()[END][TRAP]It failed."});
  const RunReport report = wait(start());
  EXPECT_EQ(report.finish, FinishReason::stop);
  ASSERT_THAT(report.calls, SizeIs(1));
  EXPECT_EQ(report.calls[0].outcome, Outcome::failed);
  EXPECT_THAT(report.calls[0].result, HasSubstr("it is broken"));
}

TEST_F(RuntimeTest, EventsInOrderAndWithTimesThatDoNotDecrease) {
  make({"a[CALL]x[HEAD]hold()[END][TRAP]b"});
  std::vector<std::string> seen;
  Time last{};
  RunRequest what = request();
  what.on_event = [&](const Session& session, const Event& event) {
    EXPECT_GE(event.time, last);
    last = event.time;
    constexpr const char* kNames[] = {"text",       "reasoning", "cut",       "emitted",
                                      "dispatched", "cancelled", "completed", "interrupt",
                                      "trapped",    "resumed",   "turn",      "finished"};
    static_assert(std::size(kNames) == std::variant_size_v<decltype(event.what)>);
    seen.emplace_back(kNames[event.what.index()]);
    if (std::holds_alternative<Trapped>(event.what)) latch.open();
    if (std::holds_alternative<Finished>(event.what)) {
      EXPECT_TRUE(std::holds_alternative<Done>(session.step()));
    }
  };
  wait(start(std::move(what)));
  EXPECT_THAT(seen, ElementsAre("text", "emitted", "dispatched", "trapped", "completed", "resumed",
                                "interrupt", "text", "finished"));
}

TEST_F(RuntimeTest, SessionsShareDecodeCalls) {
  make({"[CALL]a[HEAD]echo(text=\"1\")[END][TRAP]one",
        "[CALL]a[HEAD]echo(text=\"2\")[END][TRAP]two", "three", "four"});
  engine->close_gate();
  std::vector<RunId> runs = {start()};
  engine->await_decode();
  for (int i = 0; i < 3; ++i) runs.push_back(start());
  engine->open_gate();
  std::vector<std::string> answers;
  for (const RunId run : runs) answers.push_back(wait(run).answer);
  EXPECT_THAT(answers, ElementsAre("one", "two", "three", "four"));
  const auto batches = engine->batches();
  const auto largest = std::ranges::max(batches, {}, &TestEngine::Batch::size);
  EXPECT_THAT(largest, SizeIs(4));
}

TEST_F(RuntimeTest, CancelInTheMiddleOfADecodeCall) {
  make({"never", "the other"});
  engine->close_gate();
  const RunId first = start();
  engine->await_decode();
  const RunId second = start();
  runtime->cancel(first);
  const RunReport report = wait(first);  // while the gate is closed
  EXPECT_EQ(report.finish, FinishReason::cancelled);
  EXPECT_GE(engine->aborted(), 1);
  engine->open_gate();
  EXPECT_EQ(wait(second).answer, "the other");
}

TEST_F(RuntimeTest, AnAbortedDecodeIsMadeAgainForTheOthers) {
  make({"first", "the other"});
  engine->close_gate();
  const RunId first = start();
  engine->await_decode();
  const RunId second = start();
  engine->let_one_pass();  // both are in the next call, which is aborted
  runtime->cancel(first);
  const RunReport report = wait(first);
  engine->open_gate();
  EXPECT_EQ(report.finish, FinishReason::cancelled);
  EXPECT_EQ(wait(second).answer, "the other");
}

TEST_F(RuntimeTest, CancelWhileTheModelWaits) {
  make({"[CALL]a[HEAD]hold()[END][TRAP]x"});
  std::promise<void> trapped;
  RunRequest what = request();
  what.on_event = [&](const Session&, const Event& event) {
    if (std::holds_alternative<Trapped>(event.what)) trapped.set_value();
  };
  const RunId run = start(std::move(what));
  trapped.get_future().wait();
  runtime->cancel(run);
  const RunReport report = wait(run);
  EXPECT_EQ(report.finish, FinishReason::cancelled);
  ASSERT_THAT(report.calls, SizeIs(1));
  EXPECT_EQ(report.calls[0].outcome, Outcome::cancelled);
  EXPECT_FALSE(report.calls[0].delivered);
}

TEST_F(RuntimeTest, CancelWhileQueued) {
  make({"first", "second"}, {.max_sequences = 1});
  engine->close_gate();
  const RunId first = start();
  engine->await_decode();
  const RunId second = start();
  runtime->cancel(second);
  EXPECT_EQ(wait(second).finish, FinishReason::cancelled);
  engine->open_gate();
  EXPECT_EQ(wait(first).answer, "first");
}

TEST_F(RuntimeTest, CancelOfWhatIsOverOrUnknownDoesNothing) {
  make({"text"});
  const RunId run = start();
  EXPECT_EQ(wait(run).finish, FinishReason::stop);
  runtime->cancel(run);
  runtime->cancel(12345);
  EXPECT_EQ(wait(start()).answer, "text");
}

TEST_F(RuntimeTest, MoreSessionsThanSequencesTakeTurns) {
  make({""}, {.max_sequences = 2});
  // On a slow machine a session loses its place while it writes, too.
  engine->script_all(follow([](const std::string& /*prompt*/) {
    return std::string("[CALL]a[HEAD]echo(text=\"1\")[END][TRAP]done");
  }));
  engine->close_gate();
  std::vector<RunId> runs = {start()};
  engine->await_decode();
  for (int i = 0; i < 6; ++i) runs.push_back(start());
  engine->open_gate();
  for (const RunId run : runs) EXPECT_EQ(wait(run).answer, "done");
  EXPECT_EQ(engine->most_sequences(), 2U);
}

TEST_F(RuntimeTest, QueuedTimeIsWaitingTime) {
  make({"[CALL]a[HEAD]hold()[END][TRAP]x", "second"}, {.max_sequences = 1},
       {.residency = ResidencyPolicy::keep});
  const RunId first = start();
  const RunId second = start();
  latch.open();
  wait(first);
  const RunReport report = wait(second);
  EXPECT_GT(report.waiting, Time{});
  EXPECT_LE(report.waiting + report.generating, report.wall);
}

TEST_F(RuntimeTest, SequencesThatTheEngineRefusesAreAskedForAgain) {
  auto made = std::make_unique<TestEngine>(std::vector<std::string>{"text"});
  engine = made.get();
  int created = 0;
  made->on_create = [&created]() -> Result<void> {
    if (++created == 2) return fail(ErrorCode::limit_exceeded, "no sequence is free");
    return {};
  };
  made->close_gate();
  runtime = std::move(*Runtime::create(std::move(made), tools(), {}));
  const RunId first = start();
  engine->await_decode();
  const RunId second = start();
  engine->open_gate();
  EXPECT_EQ(wait(first).answer, "text");
  EXPECT_EQ(wait(second).answer, "text");
}

TEST_F(RuntimeTest, LongPromptsAreCutAndOthersDecodeMeanwhile) {
  constexpr std::int32_t kBatch = 64;
  make({std::string(40, 'x'), "long"}, {.max_batch_tokens = kBatch});
  engine->close_gate();
  const RunId first = start();
  engine->await_decode();
  const RunId second = start(request(std::string(2000, 'p')));
  engine->open_gate();
  EXPECT_EQ(wait(first).answer, std::string(40, 'x'));
  EXPECT_EQ(wait(second).answer, "long");
  bool both = false;
  for (const TestEngine::Batch& batch : engine->batches()) {
    std::size_t sum = 0;
    for (const TestEngine::Item& item : batch) sum += item.tokens;
    EXPECT_LE(sum, static_cast<std::size_t>(kBatch));
    if (batch.size() != 2) continue;
    // The one that decodes a token gets it with each piece of the other's prompt.
    const auto [small, large] = std::minmax(batch[0].tokens, batch[1].tokens);
    both = both || (small == 1 && large == kBatch - 1);
  }
  EXPECT_TRUE(both);
}

// What is copied from the task comes in fewer decode calls, and is the same.
TEST_F(RuntimeTest, DraftsSaveDecodeCalls) {
  const std::string value = "a text that stands in the task word for word";
  std::size_t calls[2] = {};
  for (const bool drafts : {false, true}) {
    make({"[CALL]a[HEAD]echo(text=\"" + value + "\")[END][TRAP]done"});
    RunRequest what = request("Please echo " + value + ".", Mode::sync);
    what.config.constrained = true;
    what.config.drafts = drafts;
    const RunReport report = wait(start(std::move(what)));
    EXPECT_EQ(report.answer, "done");
    ASSERT_THAT(report.calls, SizeIs(1));
    EXPECT_EQ(report.calls[0].result, value);
    EXPECT_EQ(report.tokens.accepted > 4, drafts);
    calls[drafts ? 1 : 0] = engine->batches().size();
    EXPECT_EQ(calls[0], calls[drafts ? 1 : 0] + static_cast<std::size_t>(report.tokens.accepted));
  }
}

TEST_F(RuntimeTest, DraftsGiveWayToPrompts) {
  make({"[CALL]a[HEAD]echo(text=\"word for word\")[END][TRAP]done"}, {.max_batch_tokens = 3});
  RunRequest what = request("echo word for word");
  what.config.constrained = true;
  what.config.drafts = true;
  std::vector<RunId> runs;
  for (int i = 0; i < 3; ++i) runs.push_back(start(what));
  for (const RunId run : runs) EXPECT_EQ(wait(run).answer, "done");
}

TEST_F(RuntimeTest, FewerBatchTokensThanSessions) {
  make({"abc"}, {.max_batch_tokens = 2});
  engine->close_gate();
  std::vector<RunId> runs = {start()};
  engine->await_decode();
  for (int i = 0; i < 4; ++i) runs.push_back(start());
  engine->open_gate();
  for (const RunId run : runs) EXPECT_EQ(wait(run).answer, "abc");
}

// A result that arrives while a long interrupt is being fed in pieces must not change the step that
// is under way. What the engine holds must be what the session believes.
TEST_F(RuntimeTest, ResultsThatArriveBetweenThePiecesOfAnInterrupt) {
  const std::string text(1500, 'r');
  auto made = std::make_unique<TestEngine>(
      std::vector<std::string>{"[CALL]h[HEAD]hold()[END][CALL]a[HEAD]echo(text=\"" + text +
                               "\")[END][TRAP]b[TRAP]c"},
      FakeEngineOptions{.max_batch_tokens = 16});
  engine = made.get();
  std::atomic<bool> interrupted = false;
  made->on_decode = [&](std::span<const DecodeItem> items) -> Result<void> {
    if (interrupted && !items[0].sample) latch.open();  // the other result comes in between
    return {};
  };
  runtime = std::move(*Runtime::create(std::move(made), tools(), {}));
  bool finished = false;
  RunRequest what = request();
  what.config.max_call_tokens = 1 << 16;
  what.on_event = [&](const Session& session, const Event& event) {
    if (std::holds_alternative<InterruptDelivered>(event.what)) interrupted = true;
    if (!std::holds_alternative<Finished>(event.what)) return;
    finished = true;
    const std::span<const Token> held = engine->tokens(0);
    const std::span<const Token> context = session.context();
    ASSERT_LE(held.size(), context.size());
    EXPECT_TRUE(std::ranges::equal(held, context.first(held.size())));
  };
  const RunReport report = wait(start(std::move(what)));
  EXPECT_TRUE(finished);
  EXPECT_EQ(report.answer, "bc");
  ASSERT_THAT(report.calls, SizeIs(2));
  EXPECT_EQ(report.calls[0].result, "held");
  EXPECT_TRUE(report.calls[0].delivered);
  EXPECT_EQ(report.calls[1].result, text);
}

TEST_F(RuntimeTest, AnEngineErrorEndsOnlyTheGuiltySession) {
  auto made = std::make_unique<TestEngine>(std::vector<std::string>{"guilty", "innocent"});
  engine = made.get();
  made->on_decode = [](std::span<const DecodeItem> items) -> Result<void> {
    for (const DecodeItem& item : items) {
      const bool guilty = item.sequence == 0 && item.append[0] == 'u';
      if (guilty) return fail(ErrorCode::engine, "this sequence is damaged");
    }
    return {};
  };
  made->close_gate();
  runtime = std::move(*Runtime::create(std::move(made), tools(), {}));
  const RunId first = start();
  engine->await_decode();
  const RunId second = start();
  engine->open_gate();
  const RunReport report = wait(first);
  EXPECT_EQ(report.finish, FinishReason::error);
  ASSERT_TRUE(report.error);
  EXPECT_THAT(report.error->message, HasSubstr("damaged"));
  EXPECT_EQ(report.answer, "gu");
  EXPECT_EQ(wait(second).answer, "innocent");
}

TEST_F(RuntimeTest, AFailedSequenceEndsTheRunWithTheEnginesError) {
  auto made = std::make_unique<TestEngine>(std::vector<std::string>{"text"});
  engine = made.get();
  int created = 0;
  made->on_create = [&created]() -> Result<void> {
    if (++created == 1) return fail(ErrorCode::engine, "no memory");
    return {};
  };
  runtime = std::move(*Runtime::create(std::move(made), tools(), {}));
  const RunReport report = wait(start());
  EXPECT_EQ(report.finish, FinishReason::error);
  ASSERT_TRUE(report.error);
  EXPECT_EQ(report.error->message, "no memory");
  EXPECT_EQ(wait(start()).answer, "text");
}

TEST_F(RuntimeTest, AThrowingObserverEndsItsRunOnly) {
  make({"text"});
  RunRequest what = request();
  what.on_event = [](const Session&, const Event&) { throw std::runtime_error("oh no"); };
  const RunReport report = wait(start(std::move(what)));
  EXPECT_EQ(report.finish, FinishReason::error);
  ASSERT_TRUE(report.error);
  EXPECT_THAT(report.error->message, HasSubstr("oh no"));
  EXPECT_EQ(wait(start()).answer, "text");
}

TEST_F(RuntimeTest, AnExceptionOfTheEngineEndsTheRunsButNotTheRuntime) {
  auto made = std::make_unique<TestEngine>(std::vector<std::string>{"text"});
  int calls = 0;
  made->on_decode = [&calls](std::span<const DecodeItem>) -> Result<void> {
    if (++calls == 2) throw std::bad_alloc();
    return {};
  };
  runtime = std::move(*Runtime::create(std::move(made), tools(), {}));
  const RunReport report = wait(start());
  EXPECT_EQ(report.finish, FinishReason::error);
  EXPECT_TRUE(report.error);
  EXPECT_EQ(wait(start()).answer, "text");
}

TEST_F(RuntimeTest, EachRunCanBeWaitedForOnce) {
  make({"text"});
  const RunId run = start();
  EXPECT_EQ(wait(run).answer, "text");
  const auto again = runtime->wait(run);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::not_found);
  EXPECT_FALSE(runtime->wait(999));
}

TEST_F(RuntimeTest, WhatCannotStartIsSaidAtOnce) {
  make({"text"}, {.context_tokens = 300});
  RunRequest hot = request();
  hot.sampling.temperature = -1;
  EXPECT_FALSE(runtime->start(hot));
  const auto too_long = runtime->start(request(std::string(1000, 'p')));
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().code, ErrorCode::limit_exceeded);
  RunRequest nobody;
  EXPECT_FALSE(runtime->start(nobody));
}

TEST_F(RuntimeTest, CreateChecksItsArguments) {
  EXPECT_FALSE(Runtime::create(nullptr, Toolbox(), {}));
  for (const RuntimeOptions& bad :
       {RuntimeOptions{.max_running_calls = 0}, RuntimeOptions{.max_queued = 0},
        RuntimeOptions{.max_gap = Time{}}, RuntimeOptions{.kv_sequences = -1},
        RuntimeOptions{.kv_tokens = -1}, RuntimeOptions{.host_kv_bytes = -1},
        RuntimeOptions{.kv_folder = "/dev/null/folder"}}) {
    EXPECT_FALSE(Runtime::create(std::make_unique<TestEngine>(std::vector<std::string>{"x"}),
                                 Toolbox(), bad));
  }
}

TEST_F(RuntimeTest, TheDestructorCancelsWhatRuns) {
  make({"[CALL]a[HEAD]hold()[END][TRAP]x", std::string(100, 'y'), "queued"}, {.max_sequences = 2});
  std::vector<FinishReason> ends;
  const auto watched = [&] {
    RunRequest what = request();
    what.on_event = [&](const Session&, const Event& event) {
      if (const auto* end = std::get_if<Finished>(&event.what)) ends.push_back(end->reason);
    };
    return what;
  };
  std::promise<void> trapped;
  RunRequest first = watched();
  first.on_event = [&, inner = first.on_event](const Session& session, const Event& event) {
    if (std::holds_alternative<Trapped>(event.what)) trapped.set_value();
    inner(session, event);
  };
  start(std::move(first));
  trapped.get_future().wait();
  engine->close_gate();
  start(watched());
  engine->await_decode();
  start(watched());
  runtime.reset();  // one waits for its call, one is in a decode call, one is queued
  EXPECT_THAT(
      ends, ElementsAre(FinishReason::cancelled, FinishReason::cancelled, FinishReason::cancelled));
}

TEST_F(RuntimeTest, WaitersOnOtherThreadsAreWokenByCancel) {
  make({"[CALL]a[HEAD]hold()[END][TRAP]x"});
  const RunId run = start();
  auto report = std::async(std::launch::async, [&] { return wait(run); });
  runtime->cancel(run);
  EXPECT_EQ(report.get().finish, FinishReason::cancelled);
}

TEST_F(RuntimeTest, ManySessionsWithCallsAndCancels) {
  make({"[CALL]a[HEAD]echo(text=\"1\")[END][CALL]b[HEAD]echo(text=\"2\")[END][TRAP]x[TRAP]y",
        "[CALL]a[HEAD]broken()[END]z[TRAP]", "[CALL]echo(text=\"silent\")[END]w"},
       {.max_sequences = 5, .max_batch_tokens = 40});
  std::vector<std::jthread> threads;
  std::atomic<int> ended = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 8; ++i) {
        const RunId run = start();
        if ((i + t) % 4 == 0) runtime->cancel(run);
        const RunReport report = wait(run);
        EXPECT_TRUE(report.finish == FinishReason::stop ||
                    report.finish == FinishReason::cancelled);
        for (const CallRecord& call : report.calls) EXPECT_TRUE(call.outcome);
        ++ended;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(ended, 32);
}

TEST_F(RuntimeTest, TooManyThatWaitAreRefusedWithATimeToTryAgain) {
  make({"text"}, {.max_sequences = 1}, {.max_queued = 2, .residency = ResidencyPolicy::keep});
  engine->close_gate();
  std::vector<RunId> runs = {start()};
  engine->await_decode();  // it has its sequence
  runs.push_back(start());
  runs.push_back(start());
  const auto refused = runtime->start(request());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::overloaded);
  EXPECT_GT(refused.error().retry_after, std::chrono::milliseconds(0));
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr("2 runs wait"), HasSubstr("ms")));
  // One that leaves the queue makes room.
  runtime->cancel(runs[2]);
  EXPECT_EQ(wait(runs[2]).finish, FinishReason::cancelled);
  runs[2] = start();
  engine->open_gate();
  for (const RunId run : runs) EXPECT_EQ(wait(run).answer, "text");
  const Metrics metrics = runtime->metrics();
  EXPECT_EQ(metrics.refused, 1);
  EXPECT_EQ(metrics.started, 4);
  EXPECT_EQ(metrics.queued, 0);
}

TEST_F(RuntimeTest, HigherPriorityIsServedFirst) {
  make({"text"}, {.max_sequences = 1}, {.residency = ResidencyPolicy::keep});
  engine->close_gate();
  std::vector<RunId> runs = {start()};
  engine->await_decode();
  std::vector<int> order;
  for (const int priority : {0, 0, 2, 1}) {
    RunRequest what = request();
    what.priority = priority;
    what.on_event = [&, priority](const Session&, const Event& event) {
      if (std::holds_alternative<Finished>(event.what)) order.push_back(priority);
    };
    runs.push_back(start(std::move(what)));
  }
  engine->open_gate();
  for (const RunId run : runs) wait(run);
  EXPECT_THAT(order, ElementsAre(2, 1, 0, 0));
}

TEST_F(RuntimeTest, EqualBeginningsOfPromptsAreComputedTwiceAtMost) {
  make({"text"}, {.max_batch_tokens = 64});
  engine->close_gate();
  std::vector<RunId> runs = {start()};
  engine->await_decode();
  for (int i = 0; i < 5; ++i)
    runs.push_back(start(request(std::string(1, static_cast<char>('a' + i)))));
  engine->open_gate();
  std::int64_t prompts = 0;
  for (const RunId run : runs) {
    const RunReport report = wait(run);
    EXPECT_EQ(report.answer, "text");
    prompts += report.tokens.prompt;
  }
  const Metrics metrics = runtime->metrics();
  EXPECT_GT(metrics.tokens_shared, 0);
  // Four of six take it, and it is nearly all of the prompt.
  EXPECT_GT(metrics.tokens_shared * 10, prompts * 6);
  const std::int64_t generated = 6 * 4;  // fed back, the last one but is not
  EXPECT_EQ(metrics.tokens_appended, prompts - metrics.tokens_shared + generated);
}

TEST_F(RuntimeTest, MetricsCountWhatHappened) {
  make({"[CALL]a[HEAD]echo(text=\"hi\")[END][TRAP]done"});
  for (int i = 0; i < 3; ++i) wait(start());
  const Metrics metrics = runtime->metrics();
  EXPECT_EQ(metrics.started, 3);
  EXPECT_EQ(metrics.admitted, 3);
  EXPECT_EQ(metrics.finished[static_cast<std::size_t>(FinishReason::stop)], 3);
  EXPECT_EQ(metrics.calls_started, 3);
  EXPECT_EQ(metrics.calls_ended, 3);
  EXPECT_EQ(metrics.running + metrics.trapped + metrics.queued + metrics.returning, 0);
  EXPECT_EQ(metrics.first_token.count(), 3U);
  EXPECT_EQ(metrics.queue_time.count(), 3U);
  EXPECT_GE(metrics.interrupt_delay.count(), 3U);  // one more where the result came before the trap
  EXPECT_GT(metrics.token_gap.count(), 20U);
  EXPECT_GT(metrics.tokens_sampled, 60);
  EXPECT_EQ(metrics.batch_sessions, metrics.decode_calls);
  EXPECT_GT(metrics.decode_time, Time{});
}

TEST_F(RuntimeTest, LearnedLatenciesAreKeptInAFile) {
  const TemporaryFolder folder;
  const std::string path = folder.file("latency.json");
  make({"[CALL]a[HEAD]echo(text=\"hi\")[END][TRAP]done"}, {}, {.latency_file = path});
  const std::int32_t declared = wait(start()).tokens.prompt;
  for (int i = 0; i < 10; ++i) wait(start());
  runtime.reset();
  ASSERT_TRUE(std::filesystem::exists(path));
  // A call of echo takes a millisecond or so, not the hundred that it declares.
  make({"text"}, {}, {.latency_file = path});
  EXPECT_LT(wait(start()).tokens.prompt, declared);
  runtime.reset();

  folder.write("latency.json", "{");
  auto bad = Runtime::create(std::make_unique<TestEngine>(std::vector<std::string>{"x"}), Toolbox(),
                             {.latency_file = path});
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("latency.json"));
}

TEST_F(RuntimeTest, CostsCanBeMeasuredAtStart) {
  make({"text"}, {.max_sequences = 1}, {.measure_costs = true});
  EXPECT_GT(engine->batches().size(), 3U);
  EXPECT_EQ(wait(start()).answer, "text");
}

}  // namespace
}  // namespace asynclm
