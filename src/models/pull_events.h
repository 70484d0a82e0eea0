// SPDX-License-Identifier: Apache-2.0
// What a caller of the model store hears while it works, and how it stops it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include <asynclm/error.h>

namespace asynclm {

enum class PullStage : std::uint8_t {
  asking,   // the hub about the files
  waiting,  // for another process that downloads the same file
  downloading,
  pausing,   // before the next try, after an error
  checking,  // the hash of what is on disk
};

struct PullProgress {
  PullStage stage = PullStage::asking;
  std::string file = {};        // of a split model: the one at hand
  std::uint64_t done = 0;       // bytes of the whole model
  std::uint64_t total = 0;      // 0: not known yet
  double bytes_per_second = 0;  // of the last seconds; 0: not known yet
};

// All are called on the thread that called the store.
struct PullEvents {
  // Four times a second or more often while the store works or waits, so that a caller can look at
  // its signals in it and call request_stop on the source of `stop`.
  std::function<void(const PullProgress&)> progress = {};
  // A line for the user: why something takes longer or comes from elsewhere.
  std::function<void(const std::string&)> note = {};
  std::stop_token stop;
};

// The store's side of PullEvents: keeps the state and calls no more often than is useful.
class PullWatch {
 public:
  using Clock = std::chrono::steady_clock;

  explicit PullWatch(const PullEvents& events) : events_(events) {}

  void note(const std::string& line);
  void stage(PullStage stage);
  // A file of the model begins; `before` bytes of the model are complete without it.
  void begin_file(const std::string& name, std::uint64_t before, std::uint64_t total);
  void done(std::uint64_t bytes_of_file);
  // To be called at least every `kTick` while nothing else is.
  void tick();
  static constexpr std::chrono::milliseconds kTick{100};

  [[nodiscard]] bool stopped() const { return events_.stop.stop_requested(); }
  // The error of a stopped pull.
  [[nodiscard]] static Error stop_error();

  // Ticks so long. Error: stopped.
  [[nodiscard]] Result<void> pause(std::chrono::milliseconds time);

 private:
  void report();
  void measure(Clock::time_point now);

  const PullEvents& events_;
  PullProgress progress_;
  std::uint64_t before_ = 0;
  Clock::time_point reported_{};  // the last call
  Clock::time_point measured_{};  // the last sample of the speed
  std::uint64_t measured_done_ = 0;
};

}  // namespace asynclm
