// SPDX-License-Identifier: Apache-2.0
// Where times come from: the machine, or a test.
#pragma once

#include <atomic>
#include <chrono>

#include <asynclm/types.h>

namespace asynclm {

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Time now() const = 0;
};

// Time since the object was made. Thread-safe.
class SteadyClock final : public Clock {
 public:
  [[nodiscard]] Time now() const override {
    return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now() - start_);
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// Stands still until it is told to move. Thread-safe.
class VirtualClock final : public Clock {
 public:
  [[nodiscard]] Time now() const override { return Time{now_.load()}; }
  void set(Time now) { now_.store(now.count()); }
  void advance(Time by) { now_.fetch_add(by.count()); }

 private:
  std::atomic<Time::rep> now_{0};
};

}  // namespace asynclm
