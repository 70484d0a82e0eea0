// SPDX-License-Identifier: Apache-2.0
// What the decode loop promises about time, on a virtual clock.
#include "runtime/decode_loop.h"

#include <future>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "runtime/test_simulation.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;

// Writes as many letters as the number in the prompt says, or calls and waits.
std::string letters_or_call(const std::string& prompt) {
  if (prompt.find("call") != std::string::npos) return "?[CALL]a[HEAD]fetch()[END][TRAP]??";
  return std::string(std::stoul(prompt.substr(prompt.find('#') + 1)), '?');
}

class DecodeLoopTest : public ::testing::Test {
 protected:
  // 1 ms a call and 0.5 ms a token; fetch() takes `fetch_takes` and gives `result`.
  void make(const RuntimeOptions& options) {
    ToolSpec spec;
    spec.name = "fetch";
    spec.description = "fetches";
    spec.estimate = 200ms;
    simulation_ = std::make_unique<Simulation>(
        std::vector<ToolSpec>{spec},
        FakeEngineOptions{.context_tokens = 8192,
                          .max_sequences = 8,
                          .max_batch_tokens = 2048,
                          .per_call = 1ms,
                          .per_token = 500us,
                          .scripts = [](SequenceId) { return follow(letters_or_call); }},
        options, [this](const std::string&, const Json&) {
          return SimulatedCalls::Plan{fetch_takes, {Outcome::returned, result}};
        });
  }

  void start(const std::string& task, std::int32_t priority = 0) {
    RunRequest request;
    request.config = {.max_generated = 4000, .context_tokens = 8192, .max_result_bytes = 8192};
    request.messages = {{"user", task}};
    request.priority = priority;
    auto started = simulation_->start(std::move(request));
    ASSERT_TRUE(started) << started.error().message;
    reports_.push_back(std::move(started->second));
  }
  void start_at(Time when, const std::string& task, std::int32_t priority = 0) {
    simulation_->events.at(when, [this, task, priority] { start(task, priority); });
  }

  std::vector<RunReport> run() {
    EXPECT_TRUE(simulation_->run(100'000));
    std::vector<RunReport> out;
    for (auto& report : reports_) {
      EXPECT_EQ(report.wait_for(0s), std::future_status::ready);
      out.push_back(report.get());
      EXPECT_EQ(out.back().finish, FinishReason::stop);
    }
    reports_.clear();
    return out;
  }

  Time fetch_takes = 300ms;
  std::string result = "r";
  std::unique_ptr<Simulation> simulation_;
  std::vector<std::future<RunReport>> reports_;
};

TEST_F(DecodeLoopTest, LongPromptsKeepTheGapOfThoseWhoWriteBounded) {
  for (const Time max_gap : {Time(20ms), Time(100ms)}) {
    make({.max_gap = max_gap});
    for (int i = 0; i < 3; ++i) start("#300");
    for (int i = 0; i < 4; ++i) {
      start_at(i * 150ms, std::string(2000, static_cast<char>('a' + i)) + " #5");
    }
    run();
    const Metrics metrics = simulation_->metrics();
    EXPECT_GT(metrics.token_gap.count(), 800U);
    EXPECT_LE(metrics.token_gap.quantile(1), max_gap + 1ms);
    EXPECT_GE(metrics.token_gap.quantile(1), max_gap / 2);  // and the bound is made use of
  }
}

TEST_F(DecodeLoopTest, ALongResultDelaysOnlyItsOwnSession) {
  result = std::string(4000, 'r');
  make({.max_gap = 20ms});
  start("call");
  for (int i = 0; i < 3; ++i) start("#250");
  run();
  const Metrics metrics = simulation_->metrics();
  EXPECT_LE(metrics.token_gap.quantile(1), 21ms);
  EXPECT_EQ(metrics.interrupt_delay.count(), 1U);
  EXPECT_GE(metrics.interrupt_delay.sum(), 2000ms);  // 4000 tokens
  EXPECT_LE(metrics.interrupt_delay.sum(), 3200ms);
}

TEST_F(DecodeLoopTest, AShortResultIsDecodedWithTheNextStep) {
  make({});
  start("call");
  for (int i = 0; i < 3; ++i) start("#250");
  run();
  const Metrics metrics = simulation_->metrics();
  ASSERT_EQ(metrics.interrupt_delay.count(), 1U);
  // The rest of the call that runs, and its own: a token of each of the others and itself.
  EXPECT_LE(metrics.interrupt_delay.sum(), 2 * (1ms + 3 * 500us) + 12 * 500us);
}

TEST_F(DecodeLoopTest, APromptOfHigherPriorityOvertakes) {
  make({});
  start("#200");
  start_at(10ms, std::string(3000, 'a') + " #2");
  start_at(20ms, std::string(1000, 'b') + " #2", 1);
  const std::vector<RunReport> reports = run();
  EXPECT_LT(reports[2].wall, 700ms);
  EXPECT_GT(reports[1].wall, 2000ms);
}

TEST_F(DecodeLoopTest, TheLoopLearnsLatenciesAndNewPromptsSayThem) {
  fetch_takes = 900ms;
  make({});
  for (int i = 0; i < 12; ++i) start_at(i * 1s, "call");
  run();
  EXPECT_NEAR(to_ms(simulation_->latency.quantile("fetch", 0.5)), 900, 150);
  EXPECT_NEAR(static_cast<double>(simulation_->published.specs()->at(0).estimate.count()), 900,
              200);

  make({.learn_estimates = false});
  for (int i = 0; i < 12; ++i) start_at(i * 1s, "call");
  run();
  EXPECT_EQ(simulation_->published.specs()->at(0).estimate, 200ms);
}

TEST_F(DecodeLoopTest, TheRetryTimeFollowsTheQueue) {
  make({.max_queued = 4, .residency = ResidencyPolicy::keep, .kv_sequences = 1});
  EXPECT_EQ(simulation_->published.retry_after(), 1000ms) << "nothing is known yet";
  for (int i = 0; i < 4; ++i) start("#100");
  run();
  // A session after the other: each takes 100 tokens of 1.5 ms, and its prompt.
  const double each = to_ms(simulation_->metrics().at) / 4;
  EXPECT_NEAR(static_cast<double>(simulation_->published.retry_after().count()), each, each / 3);
}

}  // namespace
}  // namespace asynclm
