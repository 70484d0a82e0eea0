// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include <asynclm/metrics.h>

namespace asynclm {
namespace {

using Bounds = std::array<Time, Histogram::kBuckets>;

const Bounds& bounds() {
  static const Bounds all = [] {
    Bounds made{};
    for (std::size_t i = 0; i < made.size(); ++i) {
      made[i] = Time(std::llround(1000 * std::exp2(static_cast<double>(i) / 2)));
    }
    return made;
  }();
  return all;
}

}  // namespace

Time Histogram::upper_bound(std::size_t bucket) { return bounds()[std::min(bucket, kBuckets - 1)]; }

void Histogram::add(Time duration) {
  duration = std::max(duration, Time{});
  const auto at = std::ranges::lower_bound(bounds(), duration);
  const auto bucket = static_cast<std::size_t>(at - bounds().begin());
  ++buckets_[std::min(bucket, kBuckets - 1)];
  ++count_;
  sum_ += duration;
  longest_ = std::max(longest_, duration);
}

Time Histogram::quantile(double q) const {
  if (count_ == 0) return {};
  const double wanted = std::clamp(q, 0.0, 1.0) * static_cast<double>(count_);
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i + 1 < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen > 0 && static_cast<double>(seen) >= wanted) return std::min(upper_bound(i), longest_);
  }
  return longest_;
}

}  // namespace asynclm
