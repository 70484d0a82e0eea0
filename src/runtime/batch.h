// SPDX-License-Identifier: Apache-2.0
// How many tokens of each waiting append fit into one decode call.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace asynclm {

// Shares `budget` tokens among sessions that want needs[i] > 0 each, max-min fair: a session that
// wants one token gets it, however long the others' prompts are, and long prompts share the rest.
// With more sessions than tokens, those from index `first` on (cyclically) get one each, so a
// caller that moves `first` on serves all in turn. The sum never exceeds budget.
void share_batch(std::span<const std::size_t> needs, std::size_t budget, std::size_t first,
                 std::vector<std::size_t>& shares);

}  // namespace asynclm
