// SPDX-License-Identifier: Apache-2.0
// What the decode thread shows to others: metrics, and the tool list that new prompts get. Written
// once a turn, so that nobody who asks has to wait for a decode call.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <asynclm/metrics.h>
#include <asynclm/tool.h>

namespace asynclm {

class Published {
 public:
  using Specs = std::shared_ptr<const std::vector<ToolSpec>>;

  explicit Published(std::vector<ToolSpec> specs) { set_specs(std::move(specs)); }

  void set_metrics(const Metrics& metrics) {
    const std::lock_guard lock(mutex_);
    metrics_ = metrics;
  }
  [[nodiscard]] Metrics metrics() const {
    const std::lock_guard lock(mutex_);
    Metrics out = metrics_;
    out.refused = refused_.load();
    return out;
  }

  void set_specs(std::vector<ToolSpec> specs) {
    auto made = std::make_shared<const std::vector<ToolSpec>>(std::move(specs));
    const std::lock_guard lock(mutex_);
    specs_ = std::move(made);
  }
  [[nodiscard]] Specs specs() const {
    const std::lock_guard lock(mutex_);
    return specs_;
  }

  // The queue of runs that have not had a sequence yet: counted by who starts runs, so that the one
  // too many is refused at once.
  [[nodiscard]] bool join_queue(std::int64_t limit) {
    if (queued_.fetch_add(1) < limit) return true;
    queued_.fetch_sub(1);
    refused_.fetch_add(1);
    return false;
  }
  void leave_queue() { queued_.fetch_sub(1); }

  // Mean time between two runs that leave the queue.
  void set_queue_interval(Time interval) { queue_interval_.store(interval.count()); }
  // When the next place in the queue should be free. A second while nothing is known.
  [[nodiscard]] std::chrono::milliseconds retry_after() const {
    const Time interval{queue_interval_.load()};
    if (interval == Time{}) return std::chrono::seconds(1);
    const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(interval);
    return std::clamp(rounded, std::chrono::milliseconds(10),
                      std::chrono::milliseconds(std::chrono::minutes(1)));
  }

 private:
  mutable std::mutex mutex_;
  Metrics metrics_;
  Specs specs_;
  std::atomic<std::int64_t> queued_ = 0, refused_ = 0;
  std::atomic<Time::rep> queue_interval_ = 0;
};

}  // namespace asynclm
