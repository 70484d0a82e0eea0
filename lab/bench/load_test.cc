// SPDX-License-Identifier: Apache-2.0
#include "bench/load.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "oracle/synthetic.h"
#include "oracle/test_oracle.h"

namespace asynclm::bench {
namespace {

LoadWork work_of(std::size_t tasks) {
  const WordList words = test_words(Split::train);
  Random random(3);
  return make_load_work([&] { return make_tasks(words, 2, random); }, tasks);
}

Result<LoadResult> run_arm(std::int32_t sequences, ResidencyPolicy policy, Time limit) {
  auto engine = make_llama_engine({.model_path = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf",
                                   .context_tokens = 2048,
                                   .max_sequences = sequences,
                                   .threads = 1});
  EXPECT_TRUE(engine);
  const LoadOptions options{.sessions = 4,
                            .arrivals_per_s = 1000,
                            .tool_median_s = limit > Time{} ? 30.0 : 0.05,
                            .max_generated = 40};
  return run_load(std::move(*engine), work_of(3), options, {.policy = policy, .limit = limit});
}

TEST(LoadBench, ToolsHaveTheirOwnNames) {
  const LoadWork work = work_of(12);
  EXPECT_GE(work.tasks.size(), 12U);
  std::vector<std::string> names;
  for (const ToolSpec& tool : work.tools) names.push_back(tool.name);
  std::ranges::sort(names);
  EXPECT_TRUE(std::ranges::adjacent_find(names) == names.end());
  for (const Task& task : work.tasks) {
    for (const TaskCall& call : task.calls)
      EXPECT_TRUE(std::ranges::binary_search(names, call.tool));
  }
}

TEST(LoadBench, TheDrawsHaveTheirDistributions) {
  Random random(1);
  constexpr int kDraws = 20'000;
  double sum = 0;
  int above = 0, far = 0;
  for (int i = 0; i < kDraws; ++i) {
    sum += draw_exponential(random, 2);
    const double time = draw_log_normal(random, 3, 0.5);
    above += time > 3 ? 1 : 0;
    far += time > 3 * std::exp(0.5) ? 1 : 0;
  }
  EXPECT_NEAR(sum / kDraws, 2, 0.1);
  EXPECT_NEAR(above / double{kDraws}, 0.5, 0.02);
  EXPECT_NEAR(far / double{kDraws}, 0.159, 0.02);  // one standard deviation
}

TEST(LoadBench, AllSessionsEndUnderEachPolicy) {
  for (const ResidencyPolicy policy :
       {ResidencyPolicy::keep, ResidencyPolicy::at_trap, ResidencyPolicy::on_demand}) {
    const auto result = run_arm(2, policy, {});
    ASSERT_TRUE(result) << to_string(policy) << ": " << result.error().message;
    EXPECT_EQ(result->completed, 4) << to_string(policy);
    EXPECT_EQ(result->cancelled, 0);
    EXPECT_GT(result->calls, 0);
    EXPECT_EQ(result->completions.size(), 4U);
    EXPECT_TRUE(std::ranges::is_sorted(result->completions));
    EXPECT_EQ(completion_quantile(*result, 1), result->completions.back());
    EXPECT_FALSE(result->samples.empty());
    EXPECT_EQ(result->metrics.started, 4);
  }
}

TEST(LoadBench, WhatDoesNotEndWithinTheLimitIsCancelled) {
  const auto result = run_arm(1, ResidencyPolicy::keep, std::chrono::milliseconds(300));
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_EQ(result->completed + result->cancelled, 4);
  EXPECT_GT(result->cancelled, 0);
  EXPECT_EQ(completion_quantile(*result, 1), std::nullopt);
}

}  // namespace
}  // namespace asynclm::bench
