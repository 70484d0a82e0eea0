// SPDX-License-Identifier: Apache-2.0
#include "runtime/residency_policy.h"

#include <algorithm>
#include <format>

namespace asynclm {

std::string_view to_string(ResidencyPolicy policy) {
  switch (policy) {
    case ResidencyPolicy::keep:
      return "keep";
    case ResidencyPolicy::at_trap:
      return "at-trap";
    case ResidencyPolicy::on_demand:
      return "on-demand";
  }
  return "?";
}

Result<ResidencyPolicy> parse_residency_policy(std::string_view text) {
  using enum ResidencyPolicy;
  for (const ResidencyPolicy policy : {keep, at_trap, on_demand}) {
    if (to_string(policy) == text) return policy;
  }
  return fail(ErrorCode::invalid_argument,
              std::format("unknown policy '{}': use keep, at-trap or on-demand", text));
}

Residency choice_at_trap(std::size_t tokens, Time wait, const CostModel& costs) {
  const Time recompute = costs.recompute(tokens);
  const Time swap = costs.host_round_trip(tokens);
  if (recompute > wait && swap > wait) return Residency::resident;
  return swap <= recompute ? Residency::host : Residency::discarded;
}

Eviction cheapest_eviction(std::size_t tokens, bool host, bool disk, const CostModel& costs) {
  Eviction best{Residency::discarded, costs.recompute(tokens)};
  const auto consider = [&](Residency to, Time cost) {
    // Of equal costs the move wins: recomputing also takes the place of others in decode calls.
    if (cost <= best.cost) best = {to, cost};
  };
  if (disk) consider(Residency::disk, costs.disk_round_trip(tokens));
  if (host) consider(Residency::host, costs.host_round_trip(tokens));
  return best;
}

std::optional<std::size_t> choose_victim(std::span<const Candidate> candidates, Time pressure) {
  std::optional<std::size_t> best;
  double best_gain = 0;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& candidate = candidates[i];
    if (candidate.wait + pressure < candidate.cost) continue;
    // A nanosecond more on both: a free move of one that is back at once is still a choice.
    const double gain = candidate.memory * static_cast<double>(candidate.wait.count() + 1) /
                        static_cast<double>(candidate.cost.count() + 1);
    if (!best || gain > best_gain) {
      best = i;
      best_gain = gain;
    }
  }
  return best;
}

}  // namespace asynclm
