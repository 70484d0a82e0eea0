// SPDX-License-Identifier: Apache-2.0
#include "runtime/batch.h"

#include <algorithm>
#include <numeric>

namespace asynclm {

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

  const std::size_t served = std::min(count, budget);
  std::vector<std::size_t> order(served);
  for (std::size_t i = 0; i < served; ++i) order[i] = (first + i) % count;
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return needs[i]; });
  for (std::size_t i = 0; i < served; ++i) {
    const std::size_t share = std::min(needs[order[i]], budget / (served - i));
    shares[order[i]] = share;
    budget -= share;
  }
}

}  // namespace asynclm
