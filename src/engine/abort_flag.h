// SPDX-License-Identifier: Apache-2.0
// The meeting point of decode and request_abort. A request counts for the call that runs at that
// moment, never for a later one, and a call that was asked to stop never succeeds.
#pragma once

#include <atomic>

namespace asynclm {

class AbortFlag {
 public:
  void begin() noexcept { state_.store(State::running); }

  // Thread-safe.
  void request() noexcept {
    State expected = State::running;
    state_.compare_exchange_strong(expected, State::requested);
  }
  [[nodiscard]] bool requested() const noexcept {
    return state_.load(std::memory_order_relaxed) == State::requested;
  }

  // Ends the call; false if it was asked to stop.
  [[nodiscard]] bool end() noexcept { return state_.exchange(State::idle) == State::running; }

 private:
  enum class State : unsigned char { idle, running, requested };
  std::atomic<State> state_{State::idle};
};

}  // namespace asynclm
