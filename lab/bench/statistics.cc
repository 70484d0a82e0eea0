// SPDX-License-Identifier: Apache-2.0
#include "bench/statistics.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>

#include "base/random.h"

namespace asynclm::bench {
namespace {

double quantile_of_sorted(const std::vector<double>& values, double q) {
  assert(!values.empty());
  const double at = q * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, values.size() - 1);
  return std::lerp(values[below], values[above], at - std::floor(at));
}

}  // namespace

double quantile(std::vector<double> values, double q) {
  std::ranges::sort(values);
  return quantile_of_sorted(values, q);
}

Spread spread(std::vector<double> values) {
  std::ranges::sort(values);
  return {quantile_of_sorted(values, 0.1), quantile_of_sorted(values, 0.5),
          quantile_of_sorted(values, 0.9)};
}

Percentiles percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  return {quantile_of_sorted(values, 0.5), quantile_of_sorted(values, 0.9),
          quantile_of_sorted(values, 0.99)};
}

Estimate estimate_median(std::span<const double> values, std::uint64_t seed) {
  constexpr int kDraws = 1000;  // the ends of the interval then move by a hundredth of its length
  Random random(seed);
  std::vector<double> medians, draw(values.size());
  for (int i = 0; i < kDraws; ++i) {
    std::ranges::generate(draw, [&] { return random.pick(values); });
    medians.push_back(quantile(draw, 0.5));
  }
  return {quantile({values.begin(), values.end()}, 0.5), quantile(medians, 0.025),
          quantile(medians, 0.975)};
}

}  // namespace asynclm::bench
