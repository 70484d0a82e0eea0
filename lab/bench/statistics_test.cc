// SPDX-License-Identifier: Apache-2.0
#include "bench/statistics.h"

#include <vector>

#include <gtest/gtest.h>

namespace asynclm::bench {
namespace {

TEST(Statistics, QuantilesLieBetweenValues) {
  EXPECT_DOUBLE_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_DOUBLE_EQ(quantile({4, 1}, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile({7}, 0.9), 7);
  const Spread s = spread({0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100});
  EXPECT_DOUBLE_EQ(s.p10, 10);
  EXPECT_DOUBLE_EQ(s.p50, 50);
  EXPECT_DOUBLE_EQ(s.p90, 90);
  const Percentiles p = percentiles({100, 0, 50, 25, 75});
  EXPECT_DOUBLE_EQ(p.p50, 50);
  EXPECT_DOUBLE_EQ(p.p90, 90);
  EXPECT_DOUBLE_EQ(p.p99, 99);
  EXPECT_DOUBLE_EQ(percentiles({}).p99, 0);
}

TEST(Statistics, AnIntervalIsWideWhereTheValuesAre) {
  const Estimate same = estimate_median(std::vector<double>(20, 3.0), 1);
  EXPECT_DOUBLE_EQ(same.median, 3);
  EXPECT_DOUBLE_EQ(same.low, 3);
  EXPECT_DOUBLE_EQ(same.high, 3);
  std::vector<double> values;
  for (int i = 0; i <= 100; ++i) values.push_back(i);
  const Estimate e = estimate_median(values, 1);
  EXPECT_DOUBLE_EQ(e.median, 50);
  // The binomial interval of the median of 101 values is the 40th to the 62nd.
  EXPECT_NEAR(e.low, 40, 3);
  EXPECT_NEAR(e.high, 60, 3);
  EXPECT_EQ(estimate_median(values, 1).low, e.low);
}

}  // namespace
}  // namespace asynclm::bench
