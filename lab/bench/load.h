// SPDX-License-Identifier: Apache-2.0
// Many sessions on one engine under load: they arrive by a seeded Poisson process, the model writes
// for real, and tools return after log-normal times, which are seeded too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/metrics.h>
#include <asynclm/runtime.h>

#include "base/random.h"
#include "oracle/task.h"

namespace asynclm::bench {

struct LoadOptions {
  std::int32_t sessions = 24;
  double arrivals_per_s = 4;
  double tool_median_s = 4;
  double tool_sigma = 0.5;  // of the logarithm: a third takes longer than 1.2 times the median
  std::int32_t max_generated = 300;
  std::uint64_t seed = 1;
};

// Tasks over one list of tools.
struct LoadWork {
  std::vector<ToolSpec> tools;
  std::vector<Task> tasks;
};

// Draws conversations until their tasks are at least so many; tools of the same name are not taken
// twice. `draw` gives the next conversation.
[[nodiscard]] LoadWork make_load_work(const std::function<TaskSequence()>& draw, std::size_t tasks);

struct LoadArm {
  ResidencyPolicy policy = ResidencyPolicy::on_demand;
  Time limit{};  // sessions that have not ended then are cancelled
};

// How the runtime stood at one moment.
struct LoadSample {
  Time at{};
  std::int64_t running = 0, trapped = 0, waiting = 0;  // waiting for a sequence, new or returning
  std::int64_t kv_tokens = 0;                          // in the engine
  std::int64_t saved_bytes = 0;                        // in host memory
};

struct LoadResult {
  std::int64_t completed = 0, cancelled = 0;
  std::int64_t calls = 0;
  Time duration{};                // until the last session's end
  std::vector<Time> completions;  // from arrival to end, of the completed ones, sorted
  Metrics metrics;
  std::vector<LoadSample> samples;
};

// The sessions' n-th task is tasks[n % size]. Every arm with equal options has the same arrivals,
// and for equal calls the same run times.
[[nodiscard]] Result<LoadResult> run_load(std::unique_ptr<Engine> engine, const LoadWork& work,
                                          const LoadOptions& options, const LoadArm& arm);

// The time that a share of `q` of all sessions did not exceed; nothing if fewer completed.
[[nodiscard]] std::optional<Time> completion_quantile(const LoadResult& result, double q);

// Draws behind the workload, for tests.
[[nodiscard]] double draw_exponential(Random& random, double mean);
[[nodiscard]] double draw_log_normal(Random& random, double median, double sigma);

}  // namespace asynclm::bench
