// SPDX-License-Identifier: Apache-2.0
// Sessions that give up their place and get it back write what they would have written: on the fake
// engine and in virtual time.
#include "runtime/trap_handler.h"

#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "fixtures/forwarding_engine.h"
#include "runtime/test_simulation.h"

namespace asynclm {
namespace {

constexpr int kSessions = 24;

ToolSpec waiting_tool() {
  ToolSpec spec;
  spec.name = "wait";
  spec.description = "waits a while";
  spec.parameters =
      Json::parse(R"({"type":"object","properties":{"ms":{"type":"integer"}},"required":["ms"]})");
  spec.estimate = std::chrono::milliseconds(300);
  return spec;
}

SimulatedCalls::Plan wait_as_asked(const std::string&, const Json& arguments) {
  const int ms = arguments.at("ms").get<int>();
  return {std::chrono::milliseconds(ms), {Outcome::returned, std::string(40, 'r')}};
}

// Two calls with a pause for each; the times differ by session.
std::string two_pauses(const std::string& prompt) {
  const int number = std::stoi(prompt.substr(prompt.find('#') + 1));
  return "?????[CALL]a[HEAD]wait(ms=" + std::to_string(100 + number * 7 % 300) +
         ")[END]??[TRAP]???????[CALL]b[HEAD]wait(ms=" + std::to_string(50 + number * 11 % 200) +
         ")[END][TRAP]?????????";
}

struct Ended {
  std::vector<RunReport> reports;
  Metrics metrics;
};

// Six calls, all of the same time: soon the model of latencies knows it.
std::string six_pauses(const std::string&) {
  std::string out;
  for (const char id : std::string("abcdef")) {
    out += std::string("???[CALL]") + id + "[HEAD]wait(ms=300)[END][TRAP]";
  }
  return out + "??";
}

using Plan = std::string (*)(const std::string&);

FakeEngineOptions small_engine(std::int32_t sequences, Plan plan) {
  return {.context_tokens = 1024,
          .max_sequences = sequences,
          .max_batch_tokens = 64,
          .per_call = std::chrono::milliseconds(2),
          .per_token = std::chrono::microseconds(50),
          .scripts = [plan](SequenceId) { return follow(plan); }};
}

Ended run_all(std::int32_t sequences, const RuntimeOptions& options,
              std::function<std::unique_ptr<Engine>(std::unique_ptr<Engine>)> wrap = {},
              int sessions = kSessions, Plan plan = two_pauses) {
  Simulation simulation({waiting_tool()}, small_engine(sequences, plan), options, wait_as_asked,
                        std::move(wrap));
  std::vector<std::future<RunReport>> futures;
  for (int i = 0; i < sessions; ++i) {
    RunRequest request;
    request.config = {.max_generated = 200, .context_tokens = 1024};
    request.messages = {{"user", "Number #" + std::to_string(i)}};
    auto started = simulation.start(std::move(request));
    EXPECT_TRUE(started) << started.error().message;
    if (started) futures.push_back(std::move(started->second));
  }
  EXPECT_TRUE(simulation.run(100'000));
  Ended out;
  for (std::future<RunReport>& future : futures) {
    const bool ready = future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
    EXPECT_TRUE(ready) << "a run did not end";
    out.reports.push_back(ready ? future.get() : RunReport{});
  }
  out.metrics = simulation.metrics();
  for (const KvUse& use : out.metrics.kv) {
    EXPECT_EQ(use.sessions, 0);
    EXPECT_EQ(use.tokens, 0);
    EXPECT_EQ(use.bytes, 0);
  }
  return out;
}

std::vector<std::string> answers(const Ended& ended) {
  std::vector<std::string> out;
  for (const RunReport& report : ended.reports) {
    EXPECT_EQ(report.finish, FinishReason::stop) << (report.error ? report.error->message : "");
    out.push_back(report.answer);
  }
  return out;
}

std::int64_t kept_in(const Metrics& metrics, Residency residency) {
  return metrics.kv[static_cast<std::size_t>(residency)].sessions;
}

class TrapHandlerTest : public ::testing::Test {
 protected:
  const Ended roomy_ = run_all(kSessions, {});
};

TEST_F(TrapHandlerTest, WithoutPressureNothingMoves) {
  answers(roomy_);
  const Metrics& metrics = roomy_.metrics;
  EXPECT_EQ(metrics.swaps_out + metrics.discards + metrics.swaps_in + metrics.recomputes, 0);
  EXPECT_EQ(metrics.tokens_recomputed, 0);
  EXPECT_EQ(metrics.admitted, kSessions);
  EXPECT_EQ(metrics.calls_ended, 2 * kSessions);
  EXPECT_EQ(kept_in(metrics, Residency::resident), 0);
}

TEST_F(TrapHandlerTest, SwappedSessionsWriteTheSame) {
  const Ended ended = run_all(2, {});
  EXPECT_EQ(answers(ended), answers(roomy_));
  EXPECT_GT(ended.metrics.swaps_out, kSessions);
  EXPECT_GT(ended.metrics.swaps_in, kSessions);
  EXPECT_EQ(ended.metrics.lost, 0);
}

// Every other one writes a long text.
std::string pauses_beside_long_texts(const std::string& prompt) {
  const int number = std::stoi(prompt.substr(prompt.find('#') + 1));
  if (number % 2 == 0) return std::string(150, '?');
  return "?[CALL]a[HEAD]wait(ms=30)[END][TRAP]?[CALL]b[HEAD]wait(ms=30)[END][TRAP]?";
}

TEST_F(TrapHandlerTest, WhereAllWriteThoseThatHaveBegunTakeTurns) {
  const Ended roomy = run_all(4, {}, {}, 4, pauses_beside_long_texts);
  const Ended ended = run_all(2, {}, {}, 4, pauses_beside_long_texts);
  EXPECT_EQ(roomy.metrics.preemptions, 0);
  EXPECT_GT(ended.metrics.preemptions, 0);
  EXPECT_EQ(answers(ended), answers(roomy));
  // It need not wait for a text of 300 ms to end.
  EXPECT_LT(ended.reports[1].wall, 2 * roomy.reports[1].wall);
}

TEST_F(TrapHandlerTest, DiscardedSessionsWriteTheSame) {
  const Ended ended = run_all(2, {.host_kv_bytes = 0});
  EXPECT_EQ(answers(ended), answers(roomy_));
  EXPECT_EQ(ended.metrics.swaps_out, 0);
  EXPECT_GT(ended.metrics.discards, kSessions);
  EXPECT_GT(ended.metrics.tokens_recomputed, 1000);
}

TEST_F(TrapHandlerTest, PastTheHostBudgetSessionsGoToDiskAndWriteTheSame) {
  const TemporaryFolder folder;
  const Ended ended = run_all(2, {.host_kv_bytes = 4000, .kv_folder = folder.path()});
  EXPECT_EQ(answers(ended), answers(roomy_));
  EXPECT_GT(ended.metrics.disk_writes, 2);
  EXPECT_GT(ended.metrics.disk_reads, 2);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST_F(TrapHandlerTest, ATokenBudgetCountsAsWell) {
  const Ended ended = run_all(kSessions, {.kv_tokens = 400});
  EXPECT_EQ(answers(ended), answers(roomy_));
  EXPECT_GT(ended.metrics.swaps_out, kSessions);
}

TEST_F(TrapHandlerTest, FilesThatAreGoneAreComputedAgain) {
  const TemporaryFolder folder;
  // Whenever something is decoded, all files go.
  class Remover final : public ForwardingEngine {
   public:
    Remover(std::unique_ptr<Engine> inner, std::string path)
        : ForwardingEngine(std::move(inner)), path_(std::move(path)) {}
    Result<void> decode(std::span<const DecodeItem> items, std::span<Token> sampled) override {
      for (const auto& entry : std::filesystem::directory_iterator(path_)) {
        std::filesystem::remove(entry.path());
      }
      return inner().decode(items, sampled);
    }

   private:
    std::string path_;
  };
  const Ended ended = run_all(2, {.host_kv_bytes = 0, .kv_folder = folder.path()},
                              [&](std::unique_ptr<Engine> inner) {
                                return std::make_unique<Remover>(std::move(inner), folder.path());
                              });
  EXPECT_EQ(answers(ended), answers(roomy_));
  EXPECT_GT(ended.metrics.disk_writes, 2);
  EXPECT_GT(ended.metrics.lost, 5);
}

TEST_F(TrapHandlerTest, KeepAdmitsOnlyAsManyAsThereAreSequences) {
  const Ended ended = run_all(2, {.residency = ResidencyPolicy::keep});
  EXPECT_EQ(answers(ended), answers(roomy_));
  EXPECT_EQ(ended.metrics.swaps_out + ended.metrics.discards, 0);
  EXPECT_LE(ended.metrics.most_trapped, 2);
  const Ended ours = run_all(2, {});
  EXPECT_GT(ours.metrics.most_trapped, 4);
  EXPECT_LT(ours.metrics.at, ended.metrics.at / 2);  // all are done in less than half the time
}

TEST_F(TrapHandlerTest, ThePapersPolicyMovesEachByItself) {
  const Ended ended = run_all(kSessions, {.residency = ResidencyPolicy::at_trap});
  EXPECT_EQ(answers(ended), answers(roomy_));
  EXPECT_GT(ended.metrics.swaps_out, kSessions);  // although there is room
  EXPECT_EQ(ended.metrics.prefetches, 0);
}

TEST_F(TrapHandlerTest, SessionsComeBackBeforeTheirResult) {
  const RuntimeOptions recompute{.host_kv_bytes = 0};  // what takes time here
  const Ended roomy = run_all(9, recompute, {}, 9, six_pauses);
  const Ended ended = run_all(6, recompute, {}, 9, six_pauses);
  EXPECT_EQ(answers(ended), answers(roomy));
  EXPECT_GT(ended.metrics.discards, 10);
  EXPECT_GT(ended.metrics.prefetches, 10);
}

}  // namespace
}  // namespace asynclm
