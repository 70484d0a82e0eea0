// SPDX-License-Identifier: Apache-2.0
#include "models/pull_events.h"

#include <algorithm>
#include <thread>

namespace asynclm {

void PullWatch::note(const std::string& line) {
  if (events_.note) events_.note(line);
}

void PullWatch::stage(PullStage stage) {
  if (progress_.stage == stage) return;
  progress_.stage = stage;
  progress_.bytes_per_second = 0;
  measured_ = {};
  report();
}

void PullWatch::begin_file(const std::string& name, std::uint64_t before, std::uint64_t total) {
  before_ = before;
  progress_.file = name;
  progress_.done = before;
  progress_.total = total;
  measured_ = {};
  report();
}

void PullWatch::done(std::uint64_t bytes_of_file) {
  progress_.done = before_ + bytes_of_file;
  tick();
}

void PullWatch::tick() {
  const Clock::time_point now = Clock::now();
  if (now - reported_ < kTick) return;
  measure(now);
  report();
}

Error PullWatch::stop_error() { return {ErrorCode::cancelled, "stopped"}; }

Result<void> PullWatch::pause(std::chrono::milliseconds time) {
  const Clock::time_point end = Clock::now() + time;
  while (!stopped()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    if (left.count() <= 0) return {};
    std::this_thread::sleep_for(std::min(left, kTick));
    tick();
  }
  return std::unexpected(stop_error());
}

void PullWatch::report() {
  reported_ = Clock::now();
  if (events_.progress) events_.progress(progress_);
}

// A mean over some seconds, so that the figure can be read; the first one comes after one second.
void PullWatch::measure(Clock::time_point now) {
  if (measured_ == Clock::time_point{} || progress_.done < measured_done_) {
    measured_ = now;
    measured_done_ = progress_.done;
    return;
  }
  const double seconds = std::chrono::duration<double>(now - measured_).count();
  if (seconds < 1) return;
  const double latest = static_cast<double>(progress_.done - measured_done_) / seconds;
  constexpr double kKept = 0.7;
  double& mean = progress_.bytes_per_second;
  mean = mean > 0 ? kKept * mean + (1 - kKept) * latest : latest;
  measured_ = now;
  measured_done_ = progress_.done;
}

}  // namespace asynclm
