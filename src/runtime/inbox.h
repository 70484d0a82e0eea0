// SPDX-License-Identifier: Apache-2.0
// The one queue into the decode thread, and the one lock that the decode thread ever takes.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <asynclm/types.h>

namespace asynclm {

// Many producers, one consumer, in order. Unbounded: what enters is bounded by calls and sessions.
template <class Item>
class Inbox {
 public:
  void put(Item item) {
    {
      const std::lock_guard lock(mutex_);
      items_.push_back(std::move(item));
    }
    filled_.notify_one();
  }

  // Replaces `out` by all that is there. The two buffers change places, so a steady state allocates
  // nothing.
  void take(std::vector<Item>& out) {
    out.clear();
    const std::lock_guard lock(mutex_);
    items_.swap(out);
  }

  // Blocks until something is there, for `longest` at most; for ever without a value.
  void wait(std::optional<Time> longest) {
    std::unique_lock lock(mutex_);
    const auto filled = [this] { return !items_.empty(); };
    if (longest) {
      filled_.wait_for(lock, *longest, filled);
    } else {
      filled_.wait(lock, filled);
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<Item> items_;
};

}  // namespace asynclm
