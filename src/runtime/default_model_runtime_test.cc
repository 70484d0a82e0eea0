// SPDX-License-Identifier: Apache-2.0
// The runtime on libllama with the default model: sessions that were moved out of the engine, to
// memory, to disk or to nowhere, go on with the tokens of those that stayed.
#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/runtime.h>

#include "base/test_folder.h"

namespace asynclm {
namespace {

constexpr int kRuns = 4;
constexpr const char* kPlaces[kRuns] = {"north", "south", "river", "harbour"};

ToolSpec text_tool(const std::string& name, const std::string& description,
                   const std::string& parameter) {
  ToolSpec spec;
  spec.name = name;
  spec.description = description;
  spec.parameters["properties"][parameter] = Json{{"type", "string"}};
  spec.parameters["required"] = Json::array({parameter});
  return spec;
}

// Calls wait until a call of each session runs: with fewer sequences than sessions that takes some
// of them out of the engine.
class Meeting {
 public:
  void arrive(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, stop, [this] { return arrived_ >= kRuns; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any changed_;
  int arrived_ = 0;
};

struct Outcomes {
  std::vector<std::string> answers;
  std::vector<std::string> calls;
  Metrics metrics;
};

Outcomes run_all(std::int32_t sequences, RuntimeOptions options, const SamplingParams& sampling) {
  auto engine = make_llama_engine({.model_path = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf",
                                   .context_tokens = 1024,
                                   .max_sequences = sequences,
                                   .batch_tokens = 256,
                                   .threads = 1});
  EXPECT_TRUE(engine) << engine.error().message;
  if (!engine) return {};
  Meeting meeting;
  Toolbox box;
  EXPECT_TRUE(box.add(text_tool("roast_walnuts", "roast the walnuts of a kiln", "kiln"),
                      [&](const Json&, const std::stop_token& stop) -> Result<std::string> {
                        meeting.arrive(stop);
                        return "roasted 17";
                      }));
  EXPECT_TRUE(
      box.add(text_tool("paint_fence", "paint the fence", "color"),
              [&](const Json& arguments, const std::stop_token& stop) -> Result<std::string> {
                meeting.arrive(stop);
                return "painted " + arguments.at("color").get<std::string>();
              }));
  options.learn_estimates = false;  // equal prompts
  auto runtime = Runtime::create(std::move(*engine), std::move(box), options);
  EXPECT_TRUE(runtime) << runtime.error().message;
  if (!runtime) return {};
  std::vector<RunId> runs;
  for (int i = 0; i < kRuns; ++i) {
    RunRequest request;
    request.messages = {
        {"user", std::string("Roast the walnuts of ") + kPlaces[i] + " and paint the fence red."}};
    // The model waits for each call, so what it writes does not depend on when results come.
    request.config.mode = Mode::sync;
    request.config.max_generated = 200;
    request.sampling = sampling;
    request.sampling.seed = static_cast<std::uint64_t>(i);
    const auto run = (*runtime)->start(std::move(request));
    EXPECT_TRUE(run) << run.error().message;
    runs.push_back(run.value_or(0));
  }
  Outcomes out;
  for (const RunId run : runs) {
    const auto report = (*runtime)->wait(run);
    EXPECT_TRUE(report && report->finish == FinishReason::stop);
    if (!report) continue;
    out.answers.push_back(report->answer);
    EXPECT_FALSE(report->calls.empty());
    for (const CallRecord& call : report->calls) out.calls.push_back(call.id + " " + call.code);
  }
  out.metrics = (*runtime)->metrics();
  return out;
}

class DefaultModelRuntime : public ::testing::TestWithParam<float> {};

TEST_P(DefaultModelRuntime, MovedSessionsGoOnTheSame) {
  const SamplingParams sampling{.temperature = GetParam(), .top_k = 20};
  const Outcomes stayed = run_all(kRuns, {}, sampling);
  EXPECT_EQ(stayed.metrics.swaps_out + stayed.metrics.discards, 0);
  EXPECT_GT(stayed.metrics.tokens_shared, 100);  // the tool list is computed twice, not four times

  const Outcomes swapped = run_all(2, {}, sampling);
  EXPECT_EQ(swapped.answers, stayed.answers);
  EXPECT_EQ(swapped.calls, stayed.calls);
  // Where a decode call takes no longer than a copy, as it may on a loaded machine, it is a
  // discard.
  EXPECT_GE(swapped.metrics.swaps_out + swapped.metrics.discards, kRuns - 2);

  const Outcomes discarded = run_all(2, {.host_kv_bytes = 0}, sampling);
  EXPECT_EQ(discarded.answers, stayed.answers);
  EXPECT_EQ(discarded.calls, stayed.calls);
  EXPECT_GE(discarded.metrics.recomputes, kRuns - 2);
  EXPECT_GT(discarded.metrics.tokens_recomputed, 0);  // beyond the tool list, which is kept

  const TemporaryFolder folder;
  const Outcomes on_disk = run_all(2, {.host_kv_bytes = 1, .kv_folder = folder.path()}, sampling);
  EXPECT_EQ(on_disk.answers, stayed.answers);
  EXPECT_EQ(on_disk.calls, stayed.calls);
  EXPECT_GE(on_disk.metrics.disk_writes + on_disk.metrics.discards, kRuns - 2);

  const Outcomes papers = run_all(kRuns, {.residency = ResidencyPolicy::at_trap}, sampling);
  EXPECT_EQ(papers.answers, stayed.answers);
  EXPECT_EQ(papers.calls, stayed.calls);
}

INSTANTIATE_TEST_SUITE_P(Temperatures, DefaultModelRuntime, ::testing::Values(0.0F, 0.7F));

}  // namespace
}  // namespace asynclm
