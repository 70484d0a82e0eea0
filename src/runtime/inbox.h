// SPDX-License-Identifier: Apache-2.0
// The one queue into the decode thread, and the one lock that the decode thread ever takes.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

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

  // Replaces `out` by all that is there; with `wait`, blocks until there is something. The two
  // buffers change places, so a steady state allocates nothing.
  void take(std::vector<Item>& out, bool wait) {
    out.clear();
    std::unique_lock lock(mutex_);
    if (wait) filled_.wait(lock, [this] { return !items_.empty(); });
    items_.swap(out);
  }

 private:
  std::mutex mutex_;
  std::condition_variable filled_;
  std::vector<Item> items_;
};

}  // namespace asynclm
