// SPDX-License-Identifier: Apache-2.0
// A small random generator whose streams are the same on every machine (the distributions of the
// standard library are not).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <span>

namespace asynclm {

// SplitMix64 (Steele, Lea, Flood 2014): a full-period mixer; any seed is good, 8 bytes of state.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  // [0, 1), 53 bits.
  double uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

  // [0, n), 0 < n < 2^32. The bias of the multiplication is below n / 2^32.
  std::size_t below(std::size_t n) { return ((next() >> 32) * n) >> 32; }

  // [low, high]
  int between(int low, int high) {
    return low + static_cast<int>(below(static_cast<std::size_t>(high - low) + 1));
  }

  bool chance(double probability) { return uniform() < probability; }

  // Density 1/x on [low, high).
  double log_uniform(double low, double high) {
    return low * std::exp(uniform() * std::log(high / low));
  }

  template <class Container>
  const auto& pick(const Container& items) {
    return items[below(std::size(items))];
  }

  template <class T>
  void shuffle(std::span<T> items) {
    for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[below(i)]);
  }

  [[nodiscard]] std::uint64_t state() const { return state_; }

 private:
  std::uint64_t state_;
};

}  // namespace asynclm
