// SPDX-License-Identifier: Apache-2.0
// The few plain types that all layers share.
#pragma once

#include <chrono>
#include <cstdint>

namespace asynclm {

// An entry of a model's vocabulary.
using Token = std::int32_t;
inline constexpr Token kNoToken = -1;

// A point in time, counted from the start of the run that it belongs to. Sessions never read a
// clock: each input carries the time at which it happened, real or virtual.
using Time = std::chrono::nanoseconds;

// Within a month, from_ms(to_ms(t)) == t: from_ms rounds to the nearest nanosecond.
[[nodiscard]] constexpr double to_ms(Time t) {
  return std::chrono::duration<double, std::milli>(t).count();
}
[[nodiscard]] constexpr Time from_ms(double ms) {
  return Time(static_cast<Time::rep>(ms * 1e6 + (ms < 0 ? -0.5 : 0.5)));
}

}  // namespace asynclm
