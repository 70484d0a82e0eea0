// SPDX-License-Identifier: Apache-2.0
// With real processes. Nothing here depends on how long something takes: a call that is not ended
// as it should makes its test run into the runner's time limit.
#include "tools/executor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <latch>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace asynclm {
namespace {

using std::chrono::milliseconds;

// Starts calls and collects what becomes of them.
class Calls {
 public:
  explicit Calls(const Toolbox& tools, ExecutorOptions options = {}) : executor_(tools, options) {}

  Executor::Handle start(const std::string& tool, Json arguments = Json::object()) {
    const int call = count_++;
    return executor_.start(
        tool, std::move(arguments),
        [this, call] {
          const std::lock_guard lock(mutex_);
          started_.push_back(call);
          most_running_ = std::max(most_running_, ++running_);
        },
        [this, call](CallResult result) {
          const std::lock_guard lock(mutex_);
          if (std::ranges::find(started_, call) != started_.end()) --running_;
          EXPECT_TRUE(results_.emplace(call, std::move(result)).second) << "a second outcome";
          changed_.notify_all();
        });
  }

  // The outcome of the n-th call, counted from 0.
  CallResult wait(int call) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return results_.contains(call); });
    return results_[call];
  }

  // "returned: text" of one call from start to end.
  std::string run(const std::string& tool, Json arguments = Json::object()) {
    const int call = count_;
    start(tool, std::move(arguments));
    return text(wait(call));
  }

  static std::string text(const CallResult& result) {
    return std::string(to_string(result.outcome)) + ": " + result.text;
  }

  Executor& executor() { return executor_; }
  int most_running() const { return most_running_; }
  std::vector<int> started() {
    const std::lock_guard lock(mutex_);
    return started_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
  int running_ = 0;
  int most_running_ = 0;
  std::vector<int> started_;
  std::map<int, CallResult> results_;
  Executor executor_;  // last: its destructor may call back
};

ToolSpec spec(const std::string& name, milliseconds timeout = milliseconds(60'000)) {
  ToolSpec out;
  out.name = name;
  out.timeout = timeout;
  out.parameters["additionalProperties"] = true;
  return out;
}

Toolbox shell(const std::string& script, milliseconds timeout = milliseconds(60'000)) {
  Toolbox tools;
  EXPECT_TRUE(tools.add(spec("f", timeout), ProcessCommand{{"sh", "-c", script}, ""}));
  return tools;
}

std::string run_shell(const std::string& script, milliseconds timeout = milliseconds(60'000)) {
  const Toolbox tools = shell(script, timeout);
  return Calls(tools).run("f");
}

Toolbox function(ToolFunction f, milliseconds timeout = milliseconds(60'000)) {
  Toolbox tools;
  EXPECT_TRUE(tools.add(spec("f", timeout), std::move(f)));
  return tools;
}

// A FIFO that processes hold open for writing: the test sees what they say, and by the end of file
// that all of them are gone.
class Witness {
 public:
  Witness() {
    EXPECT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    fd_ = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    // So that the end of file does not come before the test waits for it, and does come even if a
    // process ended before it could open the FIFO.
    writer_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
    EXPECT_GE(fd_, 0);
    EXPECT_GE(writer_, 0);
  }
  ~Witness() {
    ::close(fd_);
    if (writer_ >= 0) ::close(writer_);
  }
  const std::string& path() const { return path_; }
  // Waits until somebody has written something; false at the end of file.
  bool heard() {
    pollfd poll{fd_, POLLIN, 0};
    while (::poll(&poll, 1, -1) < 0 && errno == EINTR) continue;
    char c = 0;
    const bool something = ::read(fd_, &c, 1) == 1;
    if (something) said_ += c;
    return something;
  }
  void wait_for_end() {
    ::close(std::exchange(writer_, -1));
    while (heard()) continue;
  }
  const std::string& said() const { return said_; }

 private:
  TemporaryFolder folder_;
  std::string path_ = folder_.file("witness"), said_;
  int fd_ = -1;
  int writer_ = -1;
};

int open_fds() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

// --- Programs ---------------------------------------------------------------------------------

TEST(ExecutorProgram, GetsItsArgumentsOnStdin) {
  const Toolbox tools = shell("cat");
  EXPECT_EQ(Calls(tools).run("f", {{"b", "x\ny"}, {"a", 1}}), R"(returned: {"b":"x\ny","a":1})");
}

TEST(ExecutorProgram, TextIsStdoutWithoutOneNewline) {
  EXPECT_EQ(run_shell("echo a; echo b; echo; echo no >&2"), "returned: a\nb\n");
  EXPECT_EQ(run_shell("printf 'a\\r\\n'"), "returned: a");
  EXPECT_EQ(run_shell("true"), "returned: ");
  EXPECT_EQ(run_shell("printf 'a\\377b'"),
            "returned: a\xEF\xBF\xBD"
            "b");
}

TEST(ExecutorProgram, RunsInItsDirectory) {
  Toolbox tools;
  ASSERT_TRUE(tools.add(spec("f"), ProcessCommand{{"pwd"}, "/proc/self"}));
  ASSERT_TRUE(tools.add(spec("g"), ProcessCommand{{"./fd/../fd/../does-not-exist"}, "/proc/self"}));
  ASSERT_TRUE(tools.add(spec("h"), ProcessCommand{{"./sh", "-c", "echo here"}, "/bin"}));
  Calls calls(tools);
  EXPECT_TRUE(calls.run("f").starts_with("returned: /proc/"));
  EXPECT_EQ(calls.run("g"),
            "failed: cannot start './fd/../fd/../does-not-exist': No such file or directory");
  EXPECT_EQ(calls.run("h"), "returned: here");
}

TEST(ExecutorProgram, FailuresSayWhy) {
  EXPECT_EQ(run_shell("echo out; exit 3"), "failed: exit status 3");
  EXPECT_EQ(run_shell("echo first >&2; echo '  the\treason ' >&2; echo >&2; exit 3"),
            "failed: exit status 3: the reason");
  EXPECT_EQ(run_shell("yes | head -c 3000000 >&2; echo the reason >&2; exit 1"),
            "failed: exit status 1: the reason");
  EXPECT_EQ(run_shell("kill -SEGV $$"), "failed: killed by signal 11 (SIGSEGV)");
  EXPECT_LT(run_shell("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1").size(), 260U);
}

TEST(ExecutorProgram, FailureToStartSaysWhy) {
  Toolbox tools;
  ASSERT_TRUE(tools.add(spec("f"), ProcessCommand{{"no-such-program"}, ""}));
  ASSERT_TRUE(tools.add(spec("g"), ProcessCommand{{"/dev/null"}, ""}));
  ASSERT_TRUE(tools.add(spec("h"), ProcessCommand{{"true"}, "/no/such/folder"}));
  Calls calls(tools);
  EXPECT_EQ(calls.run("f"), "failed: cannot start 'no-such-program': No such file or directory");
  EXPECT_EQ(calls.run("g"), "failed: cannot start '/dev/null': Permission denied");
  EXPECT_EQ(calls.run("h"), "failed: cannot start 'true': its working directory does not exist");
  EXPECT_EQ(calls.run("nothing"), "failed: unknown tool 'nothing'");
  // The places of the failed ones are free again.
  EXPECT_EQ(calls.started().size(), 3U);
}

TEST(ExecutorProgram, NeedNotReadItsInput) {
  const Json large{{"a", std::string(1'000'000, 'x')}};  // more than a pipe holds
  for (const char* script : {"echo ok", "exec <&-; echo ok", "head -c 5 >/dev/null; echo ok"}) {
    const Toolbox tools = shell(script);
    EXPECT_EQ(Calls(tools).run("f", large), "returned: ok") << script;
  }
  const Toolbox tools = shell("wc -c");
  EXPECT_EQ(Calls(tools).run("f", large), "returned: " + std::to_string(large.dump().size() + 1));
}

TEST(ExecutorProgram, FloodIsStopped) {
  Witness witness;
  const Toolbox tools = shell("exec 3>" + witness.path() + "; yes");
  ExecutorOptions options;
  options.max_output_bytes = 1000;
  Calls calls(tools, options);
  EXPECT_EQ(calls.run("f"), "failed: output exceeds 1000 bytes");
  witness.wait_for_end();
}

TEST(ExecutorProgram, OutputUpToTheLimitIsWhole) {
  const Toolbox tools = shell("head -c 300000 /dev/zero | tr '\\0' x");
  ExecutorOptions options;
  options.max_output_bytes = 300'000;
  Calls calls(tools, options);
  EXPECT_EQ(calls.run("f"), "returned: " + std::string(300'000, 'x'));
}

TEST(ExecutorProgram, TimeOutEndsTheWholeTree) {
  Witness witness;
  EXPECT_EQ(
      run_shell("exec 3>" + witness.path() + "; (sleep 1000; true) & sleep 1000", milliseconds(50)),
      "timed_out: no result after 50 ms");
  witness.wait_for_end();
}

TEST(ExecutorProgram, CancelLetsItCleanUp) {
  Witness witness;
  const Toolbox tools =
      shell("exec 3>" + witness.path() +
            "; trap 'echo bye >&3; exit' TERM; echo hello >&3; sleep 1000 & wait");
  Calls calls(tools);
  const auto handle = calls.start("f");
  ASSERT_TRUE(witness.heard());
  calls.executor().cancel(handle);
  EXPECT_EQ(Calls::text(calls.wait(0)), "cancelled: cancelled");
  witness.wait_for_end();
  EXPECT_EQ(witness.said(), "hello\nbye\n");
}

TEST(ExecutorProgram, CancelEndsOneThatIgnoresIt) {
  Witness witness;
  const Toolbox tools =
      shell("exec 3>" + witness.path() + "; trap '' TERM; echo hello >&3; sleep 1000; sleep 1000");
  Calls calls(tools);
  const auto handle = calls.start("f");
  ASSERT_TRUE(witness.heard());
  calls.executor().cancel(handle);
  calls.executor().cancel(handle);
  EXPECT_EQ(calls.wait(0).outcome, Outcome::cancelled);
  witness.wait_for_end();
}

TEST(ExecutorProgram, ChildThatStaysDoesNotHoldTheCall) {
  Witness witness;
  EXPECT_EQ(run_shell("sleep 1000 3>" + witness.path() + " & echo ok"), "returned: ok");
  EXPECT_EQ(run_shell("sleep 1000 & echo why >&2; exit 2"), "failed: exit status 2: why");
  witness.wait_for_end();  // it is not left behind either
}

TEST(ExecutorProgram, InheritsNoDescriptorsAndDefaultSignals) {
  const int leak = ::open("/dev/null", O_RDONLY);  // without O_CLOEXEC
  ASSERT_GE(leak, 0);
  // The last one is the folder itself.
  EXPECT_EQ(run_shell("exec ls /proc/self/fd"), "returned: 0\n1\n2\n3");
  ::close(leak);
  const auto before = ::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(run_shell("kill -PIPE $$"), "failed: killed by signal 13 (SIGPIPE)");
  ::signal(SIGPIPE, before);
}

TEST(ExecutorProgram, WorksWhereTheHostHasNoStdin) {
  const int saved = ::dup(STDIN_FILENO);
  ::close(STDIN_FILENO);
  const Toolbox tools = shell("cat; echo err >&2; exit 4");
  EXPECT_EQ(Calls(tools).run("f"), "failed: exit status 4: err");
  const Toolbox cat = shell("cat");
  EXPECT_EQ(Calls(cat).run("f"), "returned: {}");
  ::dup2(saved, STDIN_FILENO);
  ::close(saved);
}

TEST(ExecutorProgram, HostThatReapsAllChildrenIsToldSo) {
  const auto before = ::signal(SIGCHLD, SIG_IGN);
  // "its exit status is not known", or "cannot start" where it was gone before we could look.
  EXPECT_TRUE(run_shell("echo a").starts_with("failed: "));
  ::signal(SIGCHLD, before);
}

TEST(ExecutorProgram, LeavesNoZombiesAndNoDescriptors) {
  const int before = open_fds();
  {
    Toolbox tools;
    ASSERT_TRUE(tools.add(spec("f"), ProcessCommand{{"true"}, ""}));
    ASSERT_TRUE(tools.add(spec("g", milliseconds(20)), ProcessCommand{{"sleep", "1000"}, ""}));
    ASSERT_TRUE(tools.add(spec("h"), ProcessCommand{{"no-such-program"}, ""}));
    Calls calls(tools);
    const int inside = open_fds();
    for (int i = 0; i < 30; ++i) calls.start(std::string(1, "fgh"[i % 3]));
    for (int i = 0; i < 30; ++i) calls.wait(i);
    EXPECT_GE(inside, before);
  }
  EXPECT_EQ(open_fds(), before);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

// --- Functions --------------------------------------------------------------------------------

TEST(ExecutorFunction, ReturnsAndFails) {
  Toolbox tools;
  ASSERT_TRUE(tools.add(spec("echo"), [](const Json& arguments, std::stop_token) {
    return Result<std::string>(arguments.dump());
  }));
  ASSERT_TRUE(tools.add(spec("error"), [](const Json&, std::stop_token) -> Result<std::string> {
    return fail(ErrorCode::io, "no paper");
  }));
  ASSERT_TRUE(tools.add(spec("throws"), [](const Json&, std::stop_token) -> Result<std::string> {
    throw std::runtime_error("boom");
  }));
  ASSERT_TRUE(
      tools.add(spec("odd"), [](const Json&, std::stop_token) -> Result<std::string> { throw 3; }));
  ASSERT_TRUE(tools.add(spec("long"), [](const Json&, std::stop_token) {
    return Result<std::string>(std::string(70'000, 'x'));
  }));
  ASSERT_TRUE(tools.add(spec("bytes"),
                        [](const Json&, std::stop_token) { return Result<std::string>("\xff"); }));
  Calls calls(tools);
  EXPECT_EQ(calls.run("echo", {{"a", 1}}), R"(returned: {"a":1})");
  EXPECT_EQ(calls.run("error"), "failed: no paper");
  EXPECT_EQ(calls.run("throws"), "failed: boom");
  EXPECT_EQ(calls.run("odd"), "failed: an unknown exception");
  EXPECT_EQ(calls.run("long"), "failed: output exceeds 65536 bytes");
  EXPECT_EQ(calls.run("bytes"), "returned: \xEF\xBF\xBD");
}

TEST(ExecutorFunction, TimeOutDoesNotWaitForIt) {
  std::latch outcome_is_known(1);
  std::atomic<bool> asked = false;
  const Toolbox tools = function(
      [&](const Json&, std::stop_token stop) {
        outcome_is_known.wait();
        asked = stop.stop_requested();
        return Result<std::string>("too late");
      },
      milliseconds(20));
  {
    Calls calls(tools);
    EXPECT_EQ(calls.run("f"), "timed_out: no result after 20 ms");
    outcome_is_known.count_down();
  }
  EXPECT_TRUE(asked);
}

TEST(ExecutorFunction, CancelAsksItToStop) {
  std::latch running(1);
  const Toolbox tools = function([&](const Json&, std::stop_token stop) {
    std::mutex mutex;
    std::unique_lock lock(mutex);
    running.count_down();
    std::condition_variable_any().wait(lock, stop, [] { return false; });
    return Result<std::string>("stopped");
  });
  Calls calls(tools);
  const auto handle = calls.start("f");
  running.wait();
  calls.executor().cancel(handle);
  EXPECT_EQ(calls.wait(0).outcome, Outcome::cancelled);
}

// --- Queue ------------------------------------------------------------------------------------

TEST(ExecutorQueue, NeverMoreThanTheCapAtOnce) {
  std::atomic<int> active = 0;
  std::atomic<int> most = 0;
  std::latch all_four(4);  // also: four do run at once
  Toolbox tools;
  ASSERT_TRUE(tools.add(spec("function"), [&](const Json& arguments, std::stop_token) {
    const int now = ++active;
    for (int seen = most; now > seen && !most.compare_exchange_weak(seen, now);) continue;
    if (arguments["i"] < 4) all_four.arrive_and_wait();
    --active;
    return Result<std::string>(arguments.dump());
  }));
  ASSERT_TRUE(tools.add(spec("program"), ProcessCommand{{"cat"}, ""}));
  ExecutorOptions options;
  options.max_running = 4;
  Calls calls(tools, options);
  for (int i = 0; i < 200; ++i)
    calls.start(i < 4 || i % 2 == 0 ? "function" : "program", {{"i", i}});
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(Calls::text(calls.wait(i)), "returned: {\"i\":" + std::to_string(i) + "}");
  }
  EXPECT_EQ(most, 4);
  EXPECT_EQ(calls.most_running(), 4);
}

TEST(ExecutorQueue, FirstInFirstOut) {
  Toolbox tools;
  ASSERT_TRUE(
      tools.add(spec("f"), [](const Json&, std::stop_token) { return Result<std::string>(""); }));
  ASSERT_TRUE(tools.add(spec("p"), ProcessCommand{{"true"}, ""}));
  ExecutorOptions options;
  options.max_running = 1;
  Calls calls(tools, options);
  std::vector<int> order;
  for (int i = 0; i < 20; ++i) {
    calls.start(i % 3 == 0 ? "p" : "f");
    order.push_back(i);
  }
  calls.wait(19);
  EXPECT_EQ(calls.started(), order);
}

TEST(ExecutorQueue, WaitingDoesNotCountToTheTimeOut) {
  Toolbox tools;
  ASSERT_TRUE(tools.add(spec("long"), [&](const Json&, std::stop_token) {
    std::this_thread::sleep_for(milliseconds(30));
    return Result<std::string>("");
  }));
  ASSERT_TRUE(tools.add(spec("short", milliseconds(1)), [&](const Json&, std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return Result<std::string>("");
  }));
  ExecutorOptions options;
  options.max_running = 1;
  Calls calls(tools, options);
  calls.start("long");
  calls.start("short");
  EXPECT_EQ(calls.wait(1).outcome, Outcome::timed_out);
  EXPECT_EQ(calls.started(), (std::vector<int>{0, 1}));
}

TEST(ExecutorQueue, CancelledInTheQueueNeverStarts) {
  std::latch go(1);
  const Toolbox tools = function([&](const Json&, std::stop_token) {
    go.wait();
    return Result<std::string>("done");
  });
  ExecutorOptions options;
  options.max_running = 1;
  Calls calls(tools, options);
  calls.start("f");
  const auto queued = calls.start("f");
  calls.start("f");
  calls.executor().cancel(queued);
  calls.executor().cancel(12345);
  EXPECT_EQ(Calls::text(calls.wait(1)), "cancelled: cancelled");
  go.count_down();
  EXPECT_EQ(Calls::text(calls.wait(2)), "returned: done");
  EXPECT_EQ(calls.started(), (std::vector<int>{0, 2}));
}

TEST(ExecutorQueue, DestructorEndsEverything) {
  Witness witness;
  std::atomic<int> cancelled = 0;
  std::latch two_run(2);
  Toolbox tools;
  ASSERT_TRUE(
      tools.add(spec("program"),
                ProcessCommand{{"sh", "-c", "exec 3>" + witness.path() + "; sleep 1000"}, ""}));
  ASSERT_TRUE(tools.add(spec("function"), [&](const Json&, std::stop_token stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
    return Result<std::string>("");
  }));
  {
    ExecutorOptions options;
    options.max_running = 2;
    Executor executor(tools, options);
    for (const char* tool : {"program", "function", "program", "function"}) {
      executor.start(
          tool, Json::object(), [&] { two_run.count_down(); },
          [&](CallResult result) {
            if (result.outcome == Outcome::cancelled) ++cancelled;
            // Too late: dropped, without a callback.
            executor.start("function", Json::object(), nullptr,
                           [&](CallResult) { cancelled = 99; });
          });
    }
    two_run.wait();
  }
  EXPECT_EQ(cancelled, 4);
  witness.wait_for_end();
}

TEST(ExecutorQueue, CallbacksMayStartCalls) {
  const Toolbox tools = shell("echo ok");
  std::latch done(3);
  std::function<void(CallResult)> next;  // outlives the executor, whose threads copy it
  Executor executor(tools, {});
  next = [&](CallResult) {
    done.count_down();
    if (!done.try_wait()) executor.start("f", Json::object(), nullptr, next);
  };
  executor.start("f", Json::object(), nullptr, next);
  done.wait();
}

TEST(ExecutorQueue, StartAndCancelFromManyThreads) {
  Toolbox tools;
  ASSERT_TRUE(tools.add(spec("p"), ProcessCommand{{"true"}, ""}));
  ASSERT_TRUE(
      tools.add(spec("f"), [](const Json&, std::stop_token) { return Result<std::string>(""); }));
  std::atomic<int> outcomes = 0;
  {
    Executor executor(tools, {});
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 25; ++i) {
          const auto handle = executor.start(i % 2 == 0 ? "p" : "f", Json::object(), nullptr,
                                             [&](CallResult) { ++outcomes; });
          if (i % 3 == 0) executor.cancel(handle);
        }
      });
    }
  }
  EXPECT_EQ(outcomes, 100);
}

}  // namespace
}  // namespace asynclm
