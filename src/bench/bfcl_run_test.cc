// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_run.h"

#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "bench/bfcl_experiment.h"
#include "cml/test_vocabulary.h"
#include "oracle/oracle_test_support.h"

namespace asynclm::bench {
namespace {

// A token takes 1 ms, a request 50; what is appended takes no time. A block of f or g has 12
// tokens.
constexpr SimulationCosts kMillisecond{.per_token = from_ms(1), .per_appended_token = {}};
BfclModel quick_model(const SimulationCosts& costs = kMillisecond) {
  return simulated_model(quick_vocabulary(), costs, from_ms(50));
}

BfclSample sample_of(Task task) {
  return {
      .id = "s",
      .sequence = {.tools = {make_tool("f", 100), make_tool("g", 300)}, .tasks = {std::move(task)}},
      .documents = "much more of the functions"};
}
BfclSample independent() {
  return sample_of({.user = "go",
                    .calls = {make_call("f", "1", 100, "one"), make_call("g", "2", 300, "two")},
                    .say = {}});
}
// The third call comes after the first.
BfclSample one_after_another() {
  BfclSample sample = independent();
  std::vector<TaskCall>& calls = sample.sequence.tasks.front().calls;
  calls.push_back(make_call("f", "3", 100, "three"));
  calls.back().after = {0};
  return sample;
}

BfclRun run(std::string_view name, const BfclSample& sample, BfclModel model = quick_model(),
            const std::vector<std::string>& without = {}) {
  auto arm = find_bfcl_arm(name);
  EXPECT_TRUE(arm);
  for (const std::string& feature : without) EXPECT_TRUE(switch_off(feature, *arm));
  DraftPolicy drafts;
  Random random(1);
  const auto done = run_bfcl(model, sample, *arm, drafts, random);
  EXPECT_TRUE(done) << done.error().message;
  return done ? *done : BfclRun{};
}

TEST(BfclRun, IndependentCalls) {
  EXPECT_EQ(run("sync", independent()).makespan, from_ms(12 + 300 + 12 + 100));
  // The trap is one token more.
  EXPECT_EQ(run("sync-parallel", independent()).makespan, from_ms(12 + 12 + 1 + 300));
  EXPECT_EQ(run("eager", independent()).makespan, from_ms(12 + 300));
  const BfclRun async = run("async", independent());
  EXPECT_EQ(async.makespan, from_ms(12 + 300));
  EXPECT_EQ(async.bound, async.makespan);
  EXPECT_EQ(async.writing, from_ms(24));
  EXPECT_EQ(async.running, from_ms(400));
  ASSERT_EQ(async.calls.size(), 2U);
  EXPECT_EQ(async.calls[1].name, "f");
  EXPECT_EQ(async.calls[1].begun, from_ms(12));
  EXPECT_EQ(async.calls[1].written, from_ms(24));
  EXPECT_EQ(async.calls[1].returned, from_ms(124));
}

TEST(BfclRun, ABarrierHoldsBackWhatComesAfterAShortCall) {
  EXPECT_EQ(run("async", one_after_another()).makespan, from_ms(12 + 300));
  EXPECT_EQ(run("eager", one_after_another()).makespan, from_ms(12 + 300 + 12 + 100));
}

TEST(BfclRun, ARequestHasItsPriceAndWithoutACacheThatOfTheWholePrompt) {
  EXPECT_EQ(run("sync-stateless", independent()).makespan, from_ms(424 + 50));
  // g returns while f runs, so only f's result is in time for a request that counts.
  EXPECT_EQ(run("async-naive", independent()).makespan, from_ms(312));
  constexpr SimulationCosts kAll{.per_token = from_ms(1), .per_appended_token = from_ms(1)};
  const BfclRun kept = run("sync", independent(), quick_model(kAll));
  const BfclRun again = run("sync-stateless", independent(), quick_model(kAll));
  // The prompt and the first block but for its last token, which is new in both.
  EXPECT_EQ(again.makespan - kept.makespan,
            from_ms(50) + from_ms(1) * (kept.prompt_tokens + 12 - 1));
  const BfclRun documents = run("sync-stateless-docs", independent(), quick_model(kAll));
  EXPECT_EQ(documents.makespan - again.makespan,
            from_ms(1) * (documents.prompt_tokens - again.prompt_tokens));
  EXPECT_GT(documents.prompt_tokens, again.prompt_tokens);
}

TEST(BfclRun, InAsyncPlusAChainIsWrittenBeforeItRuns) {
  const BfclRun plus = run("async+", one_after_another());
  EXPECT_EQ(plus.bound, plus.makespan);
  EXPECT_LT(plus.writing, from_ms(30)) << "much of it is forced";
  const BfclRun plain = run("async+", one_after_another(), quick_model(), {"forced", "drafts"});
  EXPECT_EQ(plain.writing, from_ms(12 + 12 + 12 + 8)) << "\" after a\"";
  EXPECT_EQ(plain.makespan, from_ms(12 + 300));
  const BfclRun waits = run("async+", one_after_another(), quick_model(),
                            {"forced", "drafts", "order", "futures", "path"});
  EXPECT_EQ(waits.writing, from_ms(36));
  EXPECT_EQ(waits.makespan, from_ms(312));
}

TEST(BfclRun, MessagesInterruptOrWaitForTheTurn) {
  BfclSample sample = independent();
  Task& task = sample.sequence.tasks.front();
  task.calls[1].asked_by = 0;
  task.interruptions = {{from_ms(5), "and g"}};
  const BfclRun async = run("async", sample);
  EXPECT_EQ(async.makespan, from_ms(12 + 12 + 300));
  EXPECT_FALSE(async.bound);
  EXPECT_EQ(run("sync", sample).makespan, from_ms(12 + 100 + 1 + 12 + 300));
  task.interruptions.front().at = from_ms(1000);
  EXPECT_EQ(run("async", sample).makespan, from_ms(1000 + 12 + 300));
  EXPECT_EQ(run("sync", sample).makespan, from_ms(1000 + 12 + 300));
}

TEST(BfclRun, TurnsAddUp) {
  BfclSample sample = independent();
  sample.sequence.tasks.push_back(sample.sequence.tasks.front());
  const BfclRun async = run("async", sample);
  EXPECT_EQ(async.makespan, from_ms(2 * (12 + 300)));
  EXPECT_EQ(async.bound, async.makespan);
  EXPECT_EQ(async.calls.size(), 4U);
}

TEST(BfclRun, ARealEngineIsKeptToTheSameTokens) {
  const auto path = ASYNCLM_SOURCE_DIR "/models/asynclm-nano.gguf";
  const auto vocabulary = load_vocabulary(path);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  for (const char* arm : {"sync-stateless", "async+"}) {
    auto engine = make_llama_engine(
        {.model_path = path, .context_tokens = 512, .max_sequences = 1, .threads = 1});
    ASSERT_TRUE(engine) << engine.error().message;
    const BfclRun real =
        run(arm, one_after_another(), forced_model(std::move(*engine)), {"forced", "drafts"});
    const BfclRun simulated =
        run(arm, one_after_another(), simulated_model(**vocabulary, kMillisecond, {}),
            {"forced", "drafts"});
    EXPECT_EQ(real.calls.size(), 3U);
    EXPECT_EQ(real.prompt_tokens, simulated.prompt_tokens);
    EXPECT_EQ(real.steps > 0, true);
    EXPECT_GE(real.makespan, *real.bound);
    EXPECT_GT(real.writing, Time{});
  }
}

TEST(BfclExperiment, SamplesThatCannotBeRunAreLeftOutInAllArms) {
  BfclWorkload workload{.name = "w", .samples = {independent(), independent(), independent()}};
  // No text for a parameter that is text.
  workload.samples[1].id = "bad";
  workload.samples[1].sequence.tasks.front().calls[0].arguments[0].value = 7;
  const std::vector<BfclArm> arms = {*find_bfcl_arm("sync"), *find_bfcl_arm("async")};
  BfclModel model = quick_model();
  std::size_t last = 0;
  const auto results = run_arms(model, workload, arms,
                                {.progress = [&](std::size_t done, std::size_t) { last = done; }});
  ASSERT_TRUE(results) << results.error().message;
  EXPECT_EQ(last, 3U);
  ASSERT_EQ(results->skipped.size(), 1U);
  EXPECT_TRUE(results->skipped[0].contains("bad")) << results->skipped[0];
  EXPECT_EQ(makespans(*results, 0), (std::vector<double>{424, 424}));
  EXPECT_EQ(speed_ups(*results, 0, 1), (std::vector<double>{424.0 / 312, 424.0 / 312}));
  EXPECT_EQ(over_bound(*results, 1), (std::vector<double>{1, 1}));
  EXPECT_EQ(index_of(*results, "async"), 1U);
  workload.samples.erase(workload.samples.begin());
  workload.samples.pop_back();
  const auto none = run_arms(model, workload, arms, {});
  ASSERT_FALSE(none);
  EXPECT_TRUE(none.error().message.contains("no sample of w can be run: bad"))
      << none.error().message;
}

TEST(BfclExperiment, ARandomOrderIsDrawnAnewForEachSample) {
  const BfclWorkload workload{.name = "w", .samples = std::vector<BfclSample>(12, independent())};
  BfclArm arm = *find_bfcl_arm("async");
  arm.random_order = true;
  BfclModel model = quick_model();
  const auto results = run_arms(model, workload, std::vector{arm}, {.samples = 9, .seed = 3});
  ASSERT_TRUE(results) << results.error().message;
  const auto times = makespans(*results, 0);
  EXPECT_EQ(times.size(), 9U);
  EXPECT_EQ(std::set(times.begin(), times.end()), (std::set<double>{12 + 300, 12 + 12 + 300}));
  EXPECT_EQ(makespans(*run_arms(model, workload, std::vector{arm}, {.samples = 9, .seed = 3}), 0),
            times);
}

}  // namespace
}  // namespace asynclm::bench
