// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_experiment.h"

#include <algorithm>
#include <format>
#include <numeric>
#include <optional>
#include <utility>

#include "base/random.h"

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
  Random random(options.seed);
  BfclResults results{.arms = {arms.begin(), arms.end()},
                      .runs = std::vector<std::vector<BfclRun>>(arms.size()),
                      .samples = {},
                      .skipped = {}};
  std::vector<DraftPolicy> drafts(arms.size());
  const auto samples = draw_samples(workload, options.samples, random);
  if (model.how.measured) {
    (void)run_sample(model, *samples.front(), arms, drafts, random);  // warm-up
  }
  for (std::size_t i = 0; i < samples.size(); ++i) {
    auto runs = run_sample(model, *samples[i], arms, drafts, random);
    if (options.progress) options.progress(i + 1, samples.size());
    if (!runs) {
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

std::vector<double> makespans(const BfclResults& results, std::size_t arm) {
  std::vector<double> out;
  for (const BfclRun& run : results.runs[arm]) out.push_back(to_ms(run.makespan));
  return out;
}

std::vector<double> speed_ups(const BfclResults& results, std::size_t base, std::size_t arm) {
  std::vector<double> out = makespans(results, base);
  const std::vector<double> own = makespans(results, arm);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] /= own[i];
  return out;
}

std::vector<double> over_bound(const BfclResults& results, std::size_t arm) {
  std::vector<double> out;
  for (const BfclRun& run : results.runs[arm]) {
    if (run.bound) out.push_back(to_ms(run.makespan) / to_ms(*run.bound));
  }
  return out;
}

std::size_t index_of(const BfclResults& results, std::string_view name) {
  return static_cast<std::size_t>(std::ranges::find(results.arms, name, &BfclArm::name) -
                                  results.arms.begin());
}

}  // namespace asynclm::bench
