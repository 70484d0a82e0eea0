// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_run.h"

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "bench/bfcl_experiment.h"
#include "cml/test_vocabulary.h"
#include "oracle/test_oracle.h"

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
  const auto path = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf";
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

TEST(BfclRun, ResultsThatNobodyNeedsAreNoPartOfTheBound) {
  constexpr SimulationCosts kAll{.per_token = from_ms(1), .per_appended_token = from_ms(1)};
  const BfclRun async = run("async", one_after_another(), quick_model(kAll));
  ASSERT_TRUE(async.bound && async.bound_taking_in);
  // f's first result has to be known before its second call is written.
  EXPECT_GT(async.calls[1].taken_in, Time{});
  EXPECT_EQ(async.makespan, *async.bound_taking_in);
  const BfclRun free = run("async", independent(), quick_model(kAll));
  EXPECT_EQ(free.bound, free.bound_taking_in);
  EXPECT_FALSE(run("async-naive", independent(), quick_model(kAll)).bound_taking_in);
}

TEST(BfclRun, InAsyncPlusResultsWaitUntilTheModelPauses) {
  // Each result comes while the next call is written, and would be taken in before the one behind.
  BfclSample sample = independent();
  std::vector<TaskCall>& calls = sample.sequence.tasks.front().calls;
  calls.push_back(make_call("f", "3", 1, "three"));
  for (TaskCall& call : calls) call.duration = from_ms(1);
  constexpr SimulationCosts kAll{.per_token = from_ms(1), .per_appended_token = from_ms(1)};
  const std::vector<std::string> slow = {"forced", "drafts"};
  const BfclRun later = run("async+", sample, quick_model(kAll), slow);
  const BfclRun at_once = run("async+", sample, quick_model(kAll), {"forced", "drafts", "pauses"});
  EXPECT_EQ(later.makespan, from_ms(12 + 12 + 12 + 1));
  EXPECT_GT(at_once.makespan, later.makespan);
}

TEST(BfclRun, TheListOfCallsIsInTheArmsOrder) {
  BfclModel model = quick_model();
  model.calls_in_prompt = true;
  const BfclSample sample = one_after_another();
  const BfclRun listed = run("async", sample, std::move(model));
  // Its ids are those of the list, and nothing else has changed.
  EXPECT_EQ(listed.makespan, run("async", sample).makespan);
  EXPECT_GT(listed.prompt_tokens, run("async", sample).prompt_tokens);
  ASSERT_EQ(listed.calls.size(), 3U);
  EXPECT_EQ(listed.calls.front().name, "g");
  EXPECT_TRUE(listed.score.is_right());
}

TEST(BfclRun, OnTheWallClockWaitsAreSlept) {
  const auto begin = std::chrono::steady_clock::now();
  const BfclRun slept = run("async-wall", independent());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, from_ms(300));
  EXPECT_GE(slept.makespan, from_ms(300));
  EXPECT_LT(slept.makespan, from_ms(3000));
}

constexpr const char* kDefaultModel = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf";

// What the default model was taught.
BfclSample known_to_default_model() {
  const auto tool = [](const char* name, const char* description, const char* parameter) {
    ToolSpec spec;
    spec.name = name;
    spec.description = description;
    spec.parameters["properties"][parameter] = Json{{"type", "string"}};
    spec.parameters["required"] = Json::array({parameter});
    return spec;
  };
  const auto call = [](const char* name, const char* parameter, const char* value) {
    TaskCall made = make_call(name, value, 30, "17");
    made.arguments.front().name = parameter;
    return made;
  };
  Task task{
      .user = "Count the lines of harbour and measure the disk usage of train.",
      .calls = {call("count_lines", "path", "harbour"), call("disk_usage", "folder", "train")},
      .say = {}};
  return {
      .id = "known",
      .sequence = {.tools = {tool("count_lines", "count the lines of a file", "path"),
                             tool("disk_usage", "measure the disk usage of a folder", "folder")},
                   .tasks = {std::move(task)}},
      .documents = {}};
}

BfclModel default_model_by_itself() {
  auto engine = make_llama_engine(
      {.model_path = kDefaultModel, .context_tokens = 1024, .max_sequences = 1, .threads = 1});
  EXPECT_TRUE(engine) << engine.error().message;
  BfclModel model = real_model(std::move(*engine));
  model.calls_in_prompt = false;
  return model;
}

TEST(BfclRun, ARealModelMakesTheCallsByItself) {
  for (const char* arm : {"sync-stateless", "sync", "async"}) {
    const BfclRun right = run(arm, known_to_default_model(), default_model_by_itself());
    EXPECT_TRUE(right.score.is_right()) << arm;
    EXPECT_EQ(right.score.exact, 2);
    EXPECT_GT(right.makespan, from_ms(30));
    EXPECT_TRUE(right.bound && right.makespan >= *right.bound) << arm;
  }
}

TEST(BfclRun, AWrongRunIsNoErrorAndHasNoBound) {
  BfclSample sample = known_to_default_model();
  sample.sequence.tasks.front().calls[1].arguments[0].value = "ship";
  sample.sequence.tasks.push_back(sample.sequence.tasks.front());
  const BfclRun wrong = run("async", sample, default_model_by_itself());
  EXPECT_EQ(wrong.score.expected, 4) << "also those of turns that were not begun";
  EXPECT_EQ(wrong.score.exact, 1);
  EXPECT_EQ(wrong.score.extra, 1);
  EXPECT_FALSE(wrong.bound || wrong.bound_taking_in);
  const BfclWorkload workload{.name = "w", .samples = {known_to_default_model(), sample}};
  BfclModel model = default_model_by_itself();
  const std::vector<BfclArm> arms = {*find_bfcl_arm("sync"), *find_bfcl_arm("async")};
  const auto results = run_arms(model, workload, arms, {});
  ASSERT_TRUE(results) << results.error().message;
  const auto times = makespans(*results, 1);
  EXPECT_TRUE(times.at(0) && !times.at(1));
  EXPECT_EQ(speed_ups(*results, 0, 1).size(), 1U);
}

TEST(BfclRun, AServersArmsNeedAServer) {
  BfclModel model = default_model_by_itself();
  DraftPolicy drafts;
  Random random(1);
  const auto none =
      run_bfcl(model, known_to_default_model(), *find_bfcl_arm("naive-server"), drafts, random);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::unsupported);
}

TEST(BfclRun, ARealServerWritesTheSameCalls) {
  BfclModel model = default_model_by_itself();
  auto server = LlamaServer::start({.model_path = kDefaultModel, .context_tokens = 1024},
                                   model.engine->vocabulary());
  ASSERT_TRUE(server) << server.error().message;
  model.server = std::move(*server);
  for (const char* arm : {"naive-server", "naive-server-cached"}) {
    DraftPolicy drafts;
    Random random(1);
    const auto done =
        run_bfcl(model, known_to_default_model(), *find_bfcl_arm(arm), drafts, random);
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_TRUE(done->score.is_right()) << arm;
    EXPECT_GE(done->makespan, from_ms(30));
    EXPECT_FALSE(done->bound);
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
  EXPECT_EQ(makespans(*results, 0), (std::vector<std::optional<double>>{424, 424}));
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
  EXPECT_EQ(std::set(times.begin(), times.end()),
            (std::set<std::optional<double>>{12 + 300, 12 + 12 + 300}));
  EXPECT_EQ(makespans(*run_arms(model, workload, std::vector{arm}, {.samples = 9, .seed = 3}), 0),
            times);
}

TEST(BfclExperiment, WhatTheLogHasIsNotRunAgain) {
  const TemporaryFolder folder;
  const std::string path = folder.file("log");
  const BfclWorkload workload{.name = "w", .samples = std::vector<BfclSample>(6, independent())};
  BfclArm arm = *find_bfcl_arm("async");
  arm.random_order = true;
  const std::vector<BfclArm> arms = {arm, *find_bfcl_arm("sync")};
  BfclModel model = quick_model();
  const auto whole = run_arms(model, workload, arms, {.seed = 3});
  ASSERT_TRUE(whole) << whole.error().message;

  std::size_t run = 0;
  BfclOptions options{.seed = 3,
                      .progress = [&](std::size_t done, std::size_t) { run = done; },
                      .stop_wanted = [&] { return run == 2; },
                      .part = "p"};
  auto log = BfclLog::open(path, {{"seed", 3}});
  ASSERT_TRUE(log) << log.error().message;
  options.log = &*log;
  const auto cut = run_arms(model, workload, arms, options);
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, ErrorCode::cancelled);

  auto again = BfclLog::open(path, {{"seed", 3}});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->recalled(), 2U);
  options.log = &*again;
  options.stop_wanted = {};
  // Another model: what is run now takes longer, what is recalled does not.
  BfclModel slow = quick_model({.per_token = from_ms(2), .per_appended_token = {}});
  const auto rest = run_arms(slow, workload, arms, options);
  ASSERT_TRUE(rest) << rest.error().message;
  for (std::size_t i = 0; i < 6; ++i) {
    const auto a = makespans(*whole, 0)[i], b = makespans(*rest, 0)[i];
    EXPECT_EQ(a == b, i < 2) << i;
  }
  EXPECT_EQ(rest->runs[0][0].calls[1].written, whole->runs[0][0].calls[1].written);
  EXPECT_EQ(rest->runs[0][0].bound, whole->runs[0][0].bound);
  EXPECT_EQ(rest->runs[0][0].score, whole->runs[0][0].score);
  EXPECT_EQ(BfclLog::open(path, {{"seed", 3}})->recalled(), 6U);
}

}  // namespace
}  // namespace asynclm::bench
