// SPDX-License-Identifier: Apache-2.0
// Conversations on the runtime: messages in any state, turns, cancels, saving and loading.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asynclm/runtime.h>

#include "base/file.h"
#include "base/test_folder.h"
#include "runtime/test_engine.h"
#include "session/saved_session.h"

namespace asynclm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

// What the decode thread tells, in order; waits for it without sleeping.
class Heard {
 public:
  void add(std::string what) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(what));
    changed_.notify_all();
  }
  void await(const std::string& what, std::size_t times = 1) {
    std::unique_lock lock(mutex_);
    changed_.wait(
        lock, [&] { return static_cast<std::size_t>(std::ranges::count(all_, what)) >= times; });
  }
  [[nodiscard]] std::vector<std::string> all() {
    const std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> all_;
};

ToolSpec conversation_tool(const std::string& name) {
  ToolSpec spec;
  spec.name = name;
  spec.description = "a tool of a test";
  spec.parameters["properties"]["text"] = Json{{"type", "string"}};
  return spec;
}

class ConversationTest : public ::testing::Test {
 protected:
  // hold(): runs until it is stopped. again(): idempotent; runs until a model has trapped, so that
  // its result never comes before that. echo(text).
  Toolbox tools() {
    Toolbox box;
    const auto hold = [](const Json&, std::stop_token stop) -> Result<std::string> {
      std::mutex mutex;
      std::condition_variable_any never;
      std::unique_lock lock(mutex);
      never.wait(lock, stop, [] { return false; });
      return "stopped";
    };
    EXPECT_TRUE(box.add(conversation_tool("hold"), hold));
    ToolSpec again = conversation_tool("again");
    again.idempotent = true;
    EXPECT_TRUE(box.add(again, [this](const Json&, const std::stop_token&) -> Result<std::string> {
      heard.await("trapped");
      return "run again";
    }));
    EXPECT_TRUE(box.add(conversation_tool("echo"),
                        [](const Json& arguments, const std::stop_token&) -> Result<std::string> {
                          return arguments.value("text", "");
                        }));
    return box;
  }

  void make(std::vector<std::string> texts) {
    auto made = std::make_unique<TestEngine>(std::move(texts));
    engine = made.get();
    runtime = std::move(*Runtime::create(std::move(made), tools(), {}));
  }

  RunRequest request() {
    RunRequest out;
    out.config = {};
    out.messages = {{"user", "go"}};
    out.open = true;
    out.on_event = [this](const Session& session, const Event& event) {
      if (std::holds_alternative<Trapped>(event.what)) heard.add("trapped");
      if (std::holds_alternative<TurnStarted>(event.what)) heard.add("turn");
      if (const auto* interrupt = std::get_if<InterruptDelivered>(&event.what)) {
        heard.add("told " + interrupt->id + ": " + interrupt->text);
      }
      context.assign(session.context().begin(), session.context().end());
    };
    out.on_turn = [this](const RunReport& report) {
      heard.add(std::string(to_string(report.finish)) + ": " + report.answer);
    };
    return out;
  }

  RunId start() {
    const auto run = runtime->start(request());
    EXPECT_TRUE(run) << run.error().message;
    return run.value_or(0);
  }

  Heard heard;
  std::vector<Token> context;  // of the decode thread
  TestEngine* engine = nullptr;
  std::unique_ptr<Runtime> runtime;
};

TEST_F(ConversationTest, TurnsFollowEachOtherUntilItIsClosed) {
  make({"one<|end_of_text|>two<|end_of_text|>three"});
  const RunId run = start();
  heard.await("stop: one");
  ASSERT_TRUE(runtime->interrupt(run, "user", "more"));
  heard.await("stop: two");
  ASSERT_TRUE(runtime->interrupt(run, "user", "more"));
  heard.await("stop: three");
  runtime->close(run);
  const auto report = runtime->wait(run);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->answer, "three");
  EXPECT_EQ(report->finish, FinishReason::stop);
  EXPECT_THAT(heard.all(), ElementsAre("stop: one", "turn", "stop: two", "turn", "stop: three"));
  EXPECT_EQ(runtime->interrupt(run, "user", "x").error().code, ErrorCode::not_found);
}

TEST_F(ConversationTest, ClosingLetsTheTurnEnd) {
  make({"all of it"});
  engine->close_gate();
  const RunId run = start();
  engine->await_decode();
  runtime->close(run);
  engine->open_gate();
  EXPECT_EQ(runtime->wait(run)->answer, "all of it");
}

TEST_F(ConversationTest, AMessageWhileTheModelWrites) {
  make({"ab"});
  engine->close_gate();
  const RunId run = start();
  engine->await_decode();
  engine->let_one_pass();
  auto asked = std::async(std::launch::async, [&] { return runtime->interrupt(run, "user", "x"); });
  engine->open_gate();
  EXPECT_TRUE(asked.get());
  heard.await("stop: ab");
  runtime->cancel(run);
  EXPECT_TRUE(runtime->wait(run));
}

TEST_F(ConversationTest, AMessageWakesAPausedModelAndCallsGoOn) {
  make({"[CALL]a[HEAD]hold()[END][TRAP]well<|end_of_text|>ok"});
  const RunId run = start();
  heard.await("trapped");
  ASSERT_TRUE(runtime->interrupt(run, "user", "how long?"));
  heard.await("told user: how long?");
  heard.await("trapped", 2);  // the end of the turn waits for the call
  runtime->cancel_call(run, 0);
  heard.await("told a: error: cancelled");
  heard.await("stop: wellok");
  runtime->close(run);
  const auto report = runtime->wait(run);
  EXPECT_EQ(report->calls[0].outcome, Outcome::cancelled);
}

TEST_F(ConversationTest, ACancelledTurnIsFollowedByAnother) {
  make({"[CALL]a[HEAD]hold()[END][TRAP]fine"});
  const RunId run = start();
  heard.await("trapped");
  runtime->cancel_turn(run);
  heard.await("cancelled: ");
  const auto report = runtime->report(run);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->ended);
  ASSERT_TRUE(runtime->interrupt(run, "user", "and now?"));
  heard.await("told a: error: cancelled: the turn ended");
  heard.await("stop: fine");
  runtime->close(run);
  EXPECT_EQ(runtime->wait(run)->finish, FinishReason::stop);
}

TEST_F(ConversationTest, ATurnThatIsCancelledInTheQueueIsFollowedByAnother) {
  auto made = std::make_unique<TestEngine>(std::vector<std::string>{"first", "second"},
                                           FakeEngineOptions{.max_sequences = 1});
  engine = made.get();
  made->close_gate();
  // Nobody gives up a place in the middle: a script that got another one would begin anew.
  runtime =
      std::move(*Runtime::create(std::move(made), tools(), {.residency = ResidencyPolicy::keep}));
  RunRequest other = request();
  other.open = false;
  other.on_event = nullptr;
  other.on_turn = nullptr;
  const auto first = runtime->start(std::move(other));
  engine->await_decode();
  const RunId run = start();
  runtime->cancel_turn(run);
  heard.await("cancelled: ");
  auto asked = std::async(std::launch::async, [&] { return runtime->interrupt(run, "user", "x"); });
  engine->open_gate();
  EXPECT_TRUE(asked.get());
  EXPECT_EQ(runtime->wait(*first)->answer, "first");
  heard.await("stop: second");
  runtime->cancel(run);
  EXPECT_TRUE(runtime->wait(run));
}

TEST_F(ConversationTest, AMessageForWhenItIsIdleWaitsForThePause) {
  // The call never returns, so that the message cannot be too late for the pause.
  make({"[CALL]a[HEAD]hold()[END]" + std::string(200, 'x') + "[TRAP]" + "done"});
  engine->close_gate();
  const RunId run = start();
  engine->await_decode();
  auto asked = std::async(std::launch::async, [&] {
    return runtime->interrupt(run, "user", "idle", Delivery::when_idle);
  });
  engine->open_gate();
  ASSERT_TRUE(asked.get());
  heard.await("told user: idle");
  const auto all = heard.all();
  const auto trapped = std::ranges::find(all, "trapped");
  ASSERT_NE(trapped, all.end());
  EXPECT_EQ(*(trapped + 1), "told user: idle");
  runtime->cancel(run);
  EXPECT_TRUE(runtime->wait(run));
}

TEST_F(ConversationTest, WhatIsNotThereIsSaid) {
  make({"x"});
  EXPECT_EQ(runtime->interrupt(77, "user", "x").error().code, ErrorCode::not_found);
  EXPECT_EQ(runtime->report(77).error().code, ErrorCode::not_found);
  EXPECT_EQ(runtime->save(77, "/nowhere").error().code, ErrorCode::not_found);
  runtime->cancel_call(77, 0);
  runtime->cancel_turn(77);
  runtime->close(77);
  RunRequest strange = request();
  strange.tools = {"nothing"};
  EXPECT_THAT(runtime->start(strange).error().message, HasSubstr("'nothing'"));
  const RunId run = start();
  EXPECT_EQ(runtime->interrupt(run, "nobody", "x").error().code, ErrorCode::invalid_argument);
  runtime->cancel(run);
  EXPECT_TRUE(runtime->wait(run));
}

TEST_F(ConversationTest, ARunMayHaveSomeOfTheTools) {
  make({"[CALL]a[HEAD]echo(text=\"1\")[END][TRAP]x"});
  RunRequest some = request();
  some.open = false;
  some.tools = {"hold"};
  const auto report = runtime->wait(*runtime->start(some));
  ASSERT_THAT(report->calls, SizeIs(1));
  EXPECT_THAT(report->calls[0].result, HasSubstr("unknown function"));
}

// --- saving --------------------------------------------------------------------------------------

class SavedRunTest : public ConversationTest {
 protected:
  Result<RunReport> load_and_wait(const std::string& file) {
    RunRequest what = request();
    what.open = false;
    const auto run = runtime->load(file, std::move(what));
    if (!run) return std::unexpected(run.error());
    return runtime->wait(*run);
  }

  TemporaryFolder folder;
  std::string path = folder.file("saved");
};

// What the model writes here follows from its whole context, so that any difference would show.
Token next_of(std::span<const Token> context, std::span<const Token> /*banned*/) {
  std::uint64_t hash = 7;
  for (const Token token : context) hash = hash * 31 + static_cast<std::uint64_t>(token) + 1;
  return 'a' + static_cast<Token>((hash >> 20) % 26);
}

TEST_F(SavedRunTest, GoesOnWithTheSameTokens) {
  const auto make_engine = [&] {
    auto made = std::make_unique<TestEngine>(std::vector<std::string>{""});
    engine = made.get();
    made->script_all(next_of);
    runtime = std::move(*Runtime::create(std::move(made), tools(), {}));
  };
  make_engine();
  engine->close_gate();
  RunRequest what = request();
  what.config.max_generated = 1500;  // far more than are written while it is saved
  const auto run = runtime->start(std::move(what));
  ASSERT_TRUE(run);
  engine->await_decode();
  std::vector<std::string> files;
  for (int i = 0; i < 20; ++i) {
    files.push_back(folder.file(std::to_string(i)));
    auto saved = std::async(std::launch::async, [&] { return runtime->save(*run, files.back()); });
    // It is answered between two decode calls.
    while (saved.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
      engine->let_one_pass();
    }
    ASSERT_TRUE(saved.get());
  }
  engine->open_gate();
  runtime->close(*run);
  const auto whole = runtime->wait(*run);
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->finish, FinishReason::length);
  const std::vector<Token> tokens = context;
  for (const std::string& file : files) {
    make_engine();
    const auto report = load_and_wait(file);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->answer, whole->answer) << file;
    EXPECT_EQ(context, tokens);
  }
}

TEST_F(SavedRunTest, CallsOfTheLostProcessFailOrRunAgain) {
  make({"[CALL]a[HEAD]hold()[END][CALL]b[HEAD]again()[END][TRAP]x[TRAP]y"});
  const RunId run = start();
  heard.await("told b: run again");
  heard.await("trapped", 2);
  ASSERT_TRUE(runtime->save(run, path));
  make({"y"});
  const auto report = load_and_wait(path);
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_THAT(report->calls, SizeIs(2));
  EXPECT_EQ(report->calls[0].outcome, Outcome::failed);
  EXPECT_EQ(report->calls[0].result, "lost: the process that ran it ended");
  EXPECT_TRUE(report->calls[0].delivered);
  EXPECT_EQ(report->answer, "xy");
}

TEST_F(SavedRunTest, AnIdempotentCallRunsAgain) {
  make({"x"});
  const RunId run = start();
  heard.await("stop: x");
  ASSERT_TRUE(runtime->save(run, path));
  // The session as it is when the call has been written and nothing has come back.
  Session session = *Session::create(test_vocabulary(), runtime->tools(), {{"user", "go"}}, {});
  for (const Token token : encode_with_controls(test_vocabulary(), "[CALL]b[HEAD]again()[END]")) {
    session.decoded(token, {});
  }
  auto file = *open_session(*read_whole_file(path, kMaxSavedSession));
  file["session"] = session.save();
  ASSERT_TRUE(replace_file(path, seal_session(file)));
  make({"[TRAP]y"});
  const auto report = load_and_wait(path);
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_THAT(report->calls, SizeIs(1));
  EXPECT_EQ(report->calls[0].result, "run again");
  EXPECT_EQ(report->answer, "y");
}

TEST_F(SavedRunTest, AnEndedTurnGoesOnWithAMessage) {
  make({"one"});
  const RunId run = start();
  heard.await("stop: one");
  ASSERT_TRUE(runtime->save(run, path));
  make({"two"});
  const auto loaded = runtime->load(path, request());
  ASSERT_TRUE(loaded) << loaded.error().message;
  const auto report = runtime->report(*loaded);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->ended);
  EXPECT_EQ(report->answer, "one");
  ASSERT_TRUE(runtime->interrupt(*loaded, "user", "more"));
  heard.await("stop: two");
  runtime->close(*loaded);
  EXPECT_TRUE(runtime->wait(*loaded));
}

TEST_F(SavedRunTest, WhatCannotBeLoadedIsSaid) {
  make({"one"});
  const RunId run = start();
  heard.await("stop: one");
  ASSERT_TRUE(runtime->save(run, path));
  EXPECT_EQ(runtime->save(run, folder.file("no/folder")).error().code, ErrorCode::not_found);
  const auto refusal = [&](const std::string& file) {
    const auto loaded = runtime->load(file, request());
    EXPECT_FALSE(loaded);
    return loaded ? "accepted" : loaded.error().message;
  };
  EXPECT_THAT(refusal(folder.file("none")), HasSubstr(folder.file("none")));
  EXPECT_THAT(refusal(folder.write("text", std::string(100, 'x'))), HasSubstr("no saved session"));
  const std::string bytes = *read_whole_file(path, kMaxSavedSession);
  EXPECT_THAT(refusal(folder.write("cut", bytes.substr(0, bytes.size() / 2))),
              HasSubstr("cut off"));
  std::string damaged = bytes;
  damaged[bytes.size() / 2] ^= 1;
  EXPECT_THAT(refusal(folder.write("damaged", damaged)), HasSubstr("damaged"));
  Json other = *open_session(bytes);
  other["fingerprint"] = 1;
  other["model"] = "another model";
  EXPECT_THAT(refusal(folder.write("model", seal_session(other))), HasSubstr("another model"));
  EXPECT_THAT(refusal(folder.write("empty", seal_session(Json::object()))),
              HasSubstr("not a saved run"));
  RunRequest fewer = request();
  fewer.tools = {"echo"};
  EXPECT_THAT(runtime->load(path, fewer).error().message, HasSubstr("other tools"));
}

}  // namespace
}  // namespace asynclm
