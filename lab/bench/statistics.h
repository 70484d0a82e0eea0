// SPDX-License-Identifier: Apache-2.0
// What is said of many measurements.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace asynclm::bench {

// The value that a share `q` of the values does not exceed, between two of them in proportion.
// `values` is not empty.
[[nodiscard]] double quantile(std::vector<double> values, double q);

struct Spread {
  double p10 = 0, p50 = 0, p90 = 0;
};
[[nodiscard]] Spread spread(std::vector<double> values);

// All 0 where there are no values.
struct Percentiles {
  double p50 = 0, p90 = 0, p99 = 0;
};
[[nodiscard]] Percentiles percentiles(std::vector<double> values);

// A median, and what it would be in 95 of 100 other draws of as many samples (percentile
// bootstrap).
struct Estimate {
  double median = 0, low = 0, high = 0;
};
[[nodiscard]] Estimate estimate_median(std::span<const double> values, std::uint64_t seed);

}  // namespace asynclm::bench
