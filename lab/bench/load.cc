// SPDX-License-Identifier: Apache-2.0
#include "bench/load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <numbers>
#include <numeric>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "oracle/recordings.h"

namespace asynclm::bench {
namespace {

// How often the runtime's metrics are looked at.
constexpr Time kSampling = std::chrono::milliseconds(50);

Time from_seconds(double value) {
  return std::chrono::duration_cast<Time>(std::chrono::duration<double>(value));
}

// FNV-1a.
std::uint64_t hash_text(const std::string& text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

// The tools' answers and times. A time depends on the call and on how often it was made before, so
// that the order of different calls changes nothing.
class SlowTools {
 public:
  SlowTools(const LoadWork& work, const LoadOptions& options) : options_(options) {
    for (const Task& task : work.tasks) {
      for (const TaskCall& call : task.calls) {
        results_.emplace(key(call.tool, arguments_of(call)), call.result.text);
      }
    }
  }

  Result<std::string> run(const std::string& tool, const Json& arguments, std::stop_token stop) {
    const std::string call = key(tool, arguments);
    std::unique_lock lock(mutex_);
    Random random(options_.seed ^ (hash_text(call) + made_[call]++));
    const double seconds = draw_log_normal(random, options_.tool_median_s, options_.tool_sigma);
    never_.wait_for(lock, std::move(stop), from_seconds(seconds), [] { return false; });
    const auto known = results_.find(call);
    return known == results_.end() || known->second.empty() ? "done" : known->second;
  }

 private:
  static std::string key(const std::string& tool, const Json& arguments) {
    return tool + nlohmann::json(arguments).dump();  // its keys are sorted
  }

  const LoadOptions& options_;
  std::map<std::string, std::string> results_;
  std::mutex mutex_;
  std::condition_variable_any never_;  // only a stop ends a wait early
  std::map<std::string, std::uint64_t> made_;
};

Result<Toolbox> make_toolbox(const LoadWork& work, const LoadOptions& options,
                             const std::shared_ptr<SlowTools>& slow) {
  Toolbox out;
  for (ToolSpec spec : work.tools) {
    // What a tool's author would declare, who knows how long it usually takes.
    spec.estimate = std::chrono::milliseconds(std::llround(options.tool_median_s * 1000));
    spec.timeout = std::chrono::minutes(10);
    const std::string name = spec.name;
    auto added =
        out.add(std::move(spec), [slow, name](const Json& arguments, std::stop_token stop) {
          return slow->run(name, arguments, std::move(stop));
        });
    if (!added) return std::unexpected(added.error());
  }
  return out;
}

LoadSample sample_of(const Metrics& metrics, Time at) {
  const auto kv = [&](Residency residency) -> const KvUse& {
    return metrics.kv[static_cast<std::size_t>(residency)];
  };
  return {.at = at,
          .running = metrics.running,
          .trapped = metrics.trapped,
          .waiting = metrics.queued + metrics.returning,
          .kv_tokens = kv(Residency::resident).tokens,
          .saved_bytes = kv(Residency::host).bytes};
}

}  // namespace

double draw_exponential(Random& random, double mean) {
  return -mean * std::log(1 - random.uniform());
}

double draw_log_normal(Random& random, double median, double sigma) {
  // Box and Muller's.
  const double radius = std::sqrt(-2 * std::log(1 - random.uniform()));
  const double normal = radius * std::cos(2 * std::numbers::pi * random.uniform());
  return median * std::exp(sigma * normal);
}

LoadWork make_load_work(const std::function<TaskSequence()>& draw, std::size_t tasks) {
  LoadWork out;
  while (out.tasks.size() < tasks) {
    TaskSequence sequence = draw();
    const bool known = std::ranges::any_of(sequence.tools, [&](const ToolSpec& tool) {
      return std::ranges::find(out.tools, tool.name, &ToolSpec::name) != out.tools.end();
    });
    if (known) continue;
    std::erase_if(sequence.tasks, [](const Task& task) { return task.calls.empty(); });
    if (sequence.tasks.empty()) continue;
    std::ranges::move(sequence.tools, std::back_inserter(out.tools));
    std::ranges::move(sequence.tasks, std::back_inserter(out.tasks));
  }
  return out;
}

Result<LoadResult> run_load(std::unique_ptr<Engine> engine, const LoadWork& work,
                            const LoadOptions& options, const LoadArm& arm) {
  auto tools = make_toolbox(work, options, std::make_shared<SlowTools>(work, options));
  if (!tools) return std::unexpected(tools.error());
  RuntimeOptions runtime_options{.residency = arm.policy, .measure_costs = true};
  // Nothing but the engine's memory is short.
  runtime_options.max_queued = options.sessions;
  runtime_options.max_running_calls = std::max(1, 4 * options.sessions);
  auto created = Runtime::create(std::move(engine), std::move(*tools), runtime_options);
  if (!created) return std::unexpected(created.error());
  Runtime& runtime = **created;

  Random random(options.seed);
  const auto count = static_cast<std::size_t>(options.sessions);
  std::vector<Time> arrivals;
  double at = 0;
  while (arrivals.size() < count) {
    at += draw_exponential(random, 1 / options.arrivals_per_s);
    arrivals.push_back(from_seconds(at));
  }

  LoadResult out;
  const SteadyClock clock;
  std::vector<RunId> runs;
  for (Time next_sample{};;) {
    const Time now = clock.now();
    while (runs.size() < count && arrivals[runs.size()] <= now) {
      RunRequest request;
      request.messages = {{"user", work.tasks[runs.size() % work.tasks.size()].user}};
      request.config.max_generated = options.max_generated;
      const auto run = runtime.start(std::move(request));
      if (!run) return std::unexpected(run.error());
      runs.push_back(*run);
    }
    if (now >= next_sample) {
      const Metrics metrics = runtime.metrics();
      out.samples.push_back(sample_of(metrics, now));
      const auto ended =
          std::accumulate(metrics.finished.begin(), metrics.finished.end(), std::int64_t{0});
      if (ended == options.sessions) break;
      if (arm.limit > Time{} && now >= arm.limit) {
        for (const RunId run : runs) runtime.cancel(run);
        break;
      }
      next_sample = now + kSampling;
    }
    Time wake = next_sample;
    if (runs.size() < count) wake = std::min(wake, arrivals[runs.size()]);
    if (wake > now) std::this_thread::sleep_for(wake - now);
  }
  out.duration = clock.now();
  out.metrics = runtime.metrics();
  for (const RunId run : runs) {
    const auto report = runtime.wait(run);
    if (!report) return std::unexpected(report.error());
    if (report->finish == FinishReason::error) return std::unexpected(*report->error);
    if (report->finish == FinishReason::cancelled) {
      ++out.cancelled;
    } else {
      ++out.completed;
      out.completions.push_back(report->wall);
    }
    out.calls += static_cast<std::int64_t>(report->calls.size());
  }
  out.cancelled += options.sessions - static_cast<std::int64_t>(runs.size());
  std::ranges::sort(out.completions);
  return out;
}

std::optional<Time> completion_quantile(const LoadResult& result, double q) {
  const auto all = static_cast<double>(result.completed + result.cancelled);
  const auto rank = static_cast<std::size_t>(std::max(1.0, std::ceil(q * all)));
  if (rank > result.completions.size()) return std::nullopt;
  return result.completions[rank - 1];
}

}  // namespace asynclm::bench
