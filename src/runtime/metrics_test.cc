// SPDX-License-Identifier: Apache-2.0
#include <asynclm/metrics.h>

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;

TEST(Histogram, BoundsAreHalfOctaves) {
  EXPECT_EQ(Histogram::upper_bound(0), 1us);
  EXPECT_EQ(Histogram::upper_bound(2), 2us);
  EXPECT_EQ(Histogram::upper_bound(20), 1024us);
  for (std::size_t i = 1; i < Histogram::kBuckets; ++i) {
    EXPECT_GT(Histogram::upper_bound(i), Histogram::upper_bound(i - 1));
  }
  EXPECT_GT(Histogram::upper_bound(Histogram::kBuckets - 1), 45min);
}

TEST(Histogram, DurationsStandUnderTheirBound) {
  Histogram histogram;
  histogram.add(-5ms);
  histogram.add(1us);
  histogram.add(1001ns);
  histogram.add(10h);
  EXPECT_EQ(histogram.buckets()[0], 2U);
  EXPECT_EQ(histogram.buckets()[1], 1U);
  EXPECT_EQ(histogram.buckets()[Histogram::kBuckets - 1], 1U);
  EXPECT_EQ(histogram.count(), 4U);
  EXPECT_EQ(histogram.sum(), 10h + 2001ns);
}

TEST(Histogram, QuantilesAreWithinABucket) {
  Histogram histogram;
  EXPECT_EQ(histogram.quantile(0.5), Time{});
  Random random(5);
  std::vector<Time> all;
  for (int i = 0; i < 1000; ++i) {
    all.push_back(from_ms(random.log_uniform(0.01, 10'000)));
    histogram.add(all.back());
  }
  std::ranges::sort(all);
  for (const double q : {0.01, 0.5, 0.9, 0.99}) {
    const Time exact = all[static_cast<std::size_t>(q * 1000)];
    EXPECT_GE(to_ms(histogram.quantile(q)) * 1.05, to_ms(exact));
    EXPECT_LE(to_ms(histogram.quantile(q)), to_ms(exact) * 1.5);
  }
  EXPECT_EQ(histogram.quantile(1), all.back());
}

}  // namespace
}  // namespace asynclm
