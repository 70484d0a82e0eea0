// SPDX-License-Identifier: Apache-2.0
// How many tokens of each waiting append fit into one decode call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <asynclm/types.h>

#include "runtime/cost_model.h"

namespace asynclm {

// Shares `budget` tokens among sessions that want needs[i] each (some may want none), max-min
// fair: a session that wants one token gets it, however long the others' prompts are, and long prompts share the rest.
// With more sessions than tokens, those from index `first` on (cyclically) get one each, so a
// caller that moves `first` on serves all in turn. The sum never exceeds budget.
void share_batch(std::span<const std::size_t> needs, std::size_t budget, std::size_t first,
                 std::vector<std::size_t>& shares);

struct BatchNeed {
  std::size_t tokens = 0;  // at least one
  std::size_t depth = 0;   // tokens before them in their sequence
  std::int32_t priority = 0;
  bool writes = false;  // the session is between two tokens, and wants few: nobody's prompt may
                        // hold it up
};

// Shares decode calls one after the other: whoever writes gets what it wants, and prompts as much as
// keeps the call within the bound on the gap between two tokens. Among prompts those of higher
// priority come first, though each gets at least a token; equal ones share.
class BatchSharer {
 public:
  // Tokens for each need; valid until the next call. Without anybody who writes prompts may fill
  // the batch.
  [[nodiscard]] std::span<const std::size_t> share(std::span<const BatchNeed> needs,
                                                   std::size_t budget, Time max_gap,
                                                   const CostModel& costs);

 private:
  void limit_prompts(std::span<const BatchNeed> needs, std::size_t allowance);

  std::vector<std::size_t> wanted_, shares_;
  std::vector<std::size_t> prompts_, level_wanted_, level_shares_;
  std::size_t first_ = 0;  // whose turn it is, when there are more sessions than tokens
};

}  // namespace asynclm
