// SPDX-License-Identifier: Apache-2.0
#include "bench/policies.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "base/random.h"
#include "bench/statistics.h"
#include "oracle/oracle.h"
#include "oracle/schedule.h"

namespace asynclm::bench {
namespace {

std::vector<double> random_ranks(std::size_t count, Random& random) {
  std::vector<double> ranks(count);
  std::ranges::generate(ranks, [&] { return random.uniform(); });
  return ranks;
}

}  // namespace

PolicyResults compare_policies(const Vocabulary& vocabulary,
                               const std::vector<TaskSequence>& sequences, bool noisy,
                               std::uint64_t seed) {
  PolicyResults results;
  std::array<std::vector<double>, kPolicies.size() + 1> ratios;
  std::array<Time, kPolicies.size() + 1> sums{};
  Random random(seed);
  for (const TaskSequence& sequence : sequences) {
    std::vector<ToolSpec> tools = sequence.tools;
    for (ToolSpec& tool : tools) {
      tool.estimate = std::min(tool.estimate, std::chrono::milliseconds(1000));
    }
    const Time per_token = from_ms(random.log_uniform(5, 30));
    for (const Task& task : sequence.tasks) {
      if (task.calls.size() < 2) continue;
      ++results.tasks;
      const auto expected = plan(task, tools, vocabulary, per_token);
      auto actual = expected;
      for (PlannedCall& call : actual) {
        if (noisy) call.run = from_ms(to_ms(call.run) * random.log_uniform(0.5, 2));
      }
      const BestOrder best = best_order(actual);
      if (!best.is_proven) ++results.unproven;
      for (std::size_t i = 0; i < ratios.size(); ++i) {
        const auto rank = i < kPolicies.size() ? ranks(kPolicies[i].policy, task, tools, expected)
                                               : random_ranks(actual.size(), random);
        const Time time = makespan(actual, order_by_rank(actual, rank));
        ratios[i].push_back(to_ms(time) / to_ms(best.makespan));
        sums[i] += time;
      }
    }
  }
  for (std::size_t i = 0; i < ratios.size(); ++i) {
    PolicyResults::Line& line = results.lines[i];
    line.name = i < kPolicies.size() ? kPolicies[i].name : "random";
    const auto count = static_cast<double>(ratios[i].size());
    for (const double ratio : ratios[i]) line.mean += ratio / count;
    line.p90 = percentiles(ratios[i]).p90;
    line.share_best = static_cast<double>(
                          std::ranges::count_if(ratios[i], [](double r) { return r < 1 + 1e-9; })) /
                      count;
    line.over_random = to_ms(sums[i]) / to_ms(sums.back());
  }
  return results;
}

}  // namespace asynclm::bench
