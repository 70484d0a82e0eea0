// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch.h"

#include <algorithm>
#include <numeric>

namespace asynclm {
namespace {

// Of prompts in a decode call, however tight the bound on its time: with less they would take for
// ever, and a call's fixed part would be most of their cost.
constexpr std::size_t kMinPromptTokens = 16;

}  // namespace

void share_batch(std::span<const std::size_t> needs, std::size_t budget, std::size_t first,
                 std::vector<std::size_t>& shares) {
  const std::size_t count = needs.size();
  shares.assign(count, 0);
  if (count == 0) return;
  const std::size_t total = std::accumulate(needs.begin(), needs.end(), std::size_t{0});
  if (total <= budget) {  // the usual case: everything fits
    shares.assign(needs.begin(), needs.end());
    return;
  }

  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < count && order.size() < budget; ++i) {
    const std::size_t next = (first + i) % count;
    if (needs[next] > 0) order.push_back(next);
  }
  const std::size_t served = order.size();
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return needs[i]; });
  for (std::size_t i = 0; i < served; ++i) {
    const std::size_t share = std::min(needs[order[i]], budget / (served - i));
    shares[order[i]] = share;
    budget -= share;
  }
}

std::span<const std::size_t> BatchSharer::share(std::span<const BatchNeed> needs,
                                                std::size_t budget, Time max_gap,
                                                const CostModel& costs) {
  wanted_.clear();
  prompts_.clear();
  DecodeWork writing;
  std::size_t written = 0, deepest = 0;
  bool same_priority = true;
  for (std::size_t i = 0; i < needs.size(); ++i) {
    const BatchNeed& need = needs[i];
    wanted_.push_back(need.tokens);
    if (need.writes) {
      writing.add(need.tokens, need.depth);
      written += need.tokens;
      continue;
    }
    same_priority = same_priority && need.priority == needs[prompts_.empty() ? i : prompts_[0]].priority;
    prompts_.push_back(i);
    deepest = std::max(deepest, need.depth);
  }
  if (!prompts_.empty() && (written > 0 || !same_priority)) {
    std::size_t allowance = budget - std::min(budget, written);
    if (written > 0) {
      const std::size_t within = costs.tokens_within(max_gap, writing, deepest);
      allowance = std::min(allowance, std::max(within, kMinPromptTokens));
    }
    limit_prompts(needs, std::max<std::size_t>(allowance, 1));
  }
  share_batch(wanted_, budget, first_, shares_);
  const auto served = needs.size() - static_cast<std::size_t>(std::ranges::count(shares_, 0U));
  first_ = served < needs.size() ? (first_ + served) % needs.size() : 0;
  return shares_;
}

void BatchSharer::limit_prompts(std::span<const BatchNeed> needs, std::size_t allowance) {
  std::ranges::stable_sort(prompts_, std::ranges::greater(),
                           [&](std::size_t i) { return needs[i].priority; });
  for (std::size_t from = 0, to = 0; from < prompts_.size(); from = to) {
    level_wanted_.clear();
    for (to = from; to < prompts_.size(); ++to) {
      if (needs[prompts_[to]].priority != needs[prompts_[from]].priority) break;
      level_wanted_.push_back(wanted_[prompts_[to]]);
    }
    // A token for each of those behind, so that none stands still.
    const std::size_t behind = prompts_.size() - to;
    const std::size_t level = std::max<std::size_t>(allowance - std::min(allowance, behind), 1);
    share_batch(level_wanted_, std::min(level, allowance), first_, level_shares_);
    for (std::size_t i = from; i < to; ++i) {
      wanted_[prompts_[i]] = level_shares_[i - from];
      allowance -= level_shares_[i - from];
    }
  }
}

}  // namespace asynclm
