// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_experiment.h"

#include <algorithm>
#include <format>
#include <numeric>
#include <optional>
#include <ranges>
#include <utility>

#include "base/random.h"
#include "oracle/dataset.h"

namespace asynclm::bench {
namespace {

std::vector<const BfclSample*> draw_samples(const BfclWorkload& workload, std::size_t count,
                                            Random& random) {
  std::vector<std::size_t> order(workload.samples.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (count > 0 && count < order.size()) {
    random.shuffle(std::span(order));
    order.resize(count);
    std::ranges::sort(order);
  }
  std::vector<const BfclSample*> samples;
  for (const std::size_t i : order) samples.push_back(&workload.samples[i]);
  return samples;
}

// One sample in all arms.
Result<std::vector<BfclRun>> run_sample(BfclModel& model, const BfclSample& sample,
                                        std::span<const BfclArm> arms,
                                        std::vector<DraftPolicy>& drafts, Random& random) {
  std::vector<std::size_t> order(arms.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  random.shuffle(std::span(order));
  std::vector<BfclRun> runs(arms.size());
  for (const std::size_t arm : order) {
    auto run = run_bfcl(model, sample, arms[arm], drafts[arm], random);
    if (!run) {
      return fail(run.error().code,
                  std::format("{}, {}: {}", sample.id, arms[arm].name, run.error().message));
    }
    runs[arm] = std::move(*run);
  }
  return runs;
}

}  // namespace

Result<BfclResults> run_arms(BfclModel& model, const BfclWorkload& workload,
                             std::span<const BfclArm> arms, const BfclOptions& options) {
  BfclResults results{.arms = {arms.begin(), arms.end()},
                      .runs = std::vector<std::vector<BfclRun>>(arms.size()),
                      .samples = {},
                      .skipped = {}};
  std::vector<DraftPolicy> drafts(arms.size());
  Random random(options.seed);
  const auto samples = draw_samples(workload, options.samples, random);
  bool is_warm = !model.how.measured;
  for (std::size_t i = 0; i < samples.size(); ++i) {
    if (options.stop_wanted && options.stop_wanted()) {
      return fail(ErrorCode::cancelled, "stopped");
    }
    const std::string key = std::format("{} {} {}", options.part, i, samples[i]->id);
    auto known = options.log != nullptr ? options.log->find(key) : std::nullopt;
    if (!known) {
      if (!is_warm) (void)run_sample(model, *samples.front(), arms, drafts, random);
      is_warm = true;
      // A stream of its own: a sample is the same whatever was run before it.
      Random own = random_for_sample(options.seed, i);
      known = run_sample(model, *samples[i], arms, drafts, own);
      if (options.log != nullptr && (*known || known->error().code != ErrorCode::io)) {
        if (auto ok = options.log->add(key, *known); !ok) return std::unexpected(ok.error());
      }
    }
    BfclSampleRuns& runs = *known;
    if (options.progress) options.progress(i + 1, samples.size());
    if (!runs) {
      if (runs.error().code == ErrorCode::io) return std::unexpected(runs.error());
      results.skipped.push_back(runs.error().message);
      continue;
    }
    results.samples.push_back(samples[i]);
    for (std::size_t arm = 0; arm < arms.size(); ++arm) {
      results.runs[arm].push_back(std::move((*runs)[arm]));
    }
  }
  if (results.samples.empty()) {
    return fail(ErrorCode::unsupported, std::format("no sample of {} can be run: {}", workload.name,
                                                    results.skipped.front()));
  }
  return results;
}

std::vector<std::optional<double>> makespans(const BfclResults& results, std::size_t arm) {
  std::vector<std::optional<double>> out;
  for (const BfclRun& run : results.runs[arm]) {
    out.push_back(run.score.is_right() ? std::optional(to_ms(run.makespan)) : std::nullopt);
  }
  return out;
}

std::vector<double> speed_ups(const BfclResults& results, std::size_t base, std::size_t arm) {
  std::vector<double> out;
  for (const auto& [slow, fast] :
       std::views::zip(makespans(results, base), makespans(results, arm))) {
    if (slow && fast) out.push_back(*slow / *fast);
  }
  return out;
}

std::vector<double> over_bound(const BfclResults& results, std::size_t arm,
                               std::optional<Time> BfclRun::* bound) {
  std::vector<double> out;
  for (const BfclRun& run : results.runs[arm]) {
    if (run.*bound) out.push_back(to_ms(run.makespan) / to_ms(*(run.*bound)));
  }
  return out;
}

std::size_t index_of(const BfclResults& results, std::string_view name) {
  return static_cast<std::size_t>(std::ranges::find(results.arms, name, &BfclArm::name) -
                                  results.arms.begin());
}

}  // namespace asynclm::bench
