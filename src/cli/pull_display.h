// SPDX-License-Identifier: Apache-2.0
// How a pull goes, on standard error: a bar on a terminal, elsewhere a line now and then.
#pragma once

#include <chrono>
#include <functional>
#include <stop_token>
#include <string>

#include "models/pull_events.h"

namespace asynclm {

// One line that fits into so many columns, with what matters most where they are few.
[[nodiscard]] std::string pull_line(const PullProgress& progress, const std::string& name,
                                    int columns);

class PullDisplay {
 public:
  // `stop_wanted` is asked while the pull goes on: true stops it. It may be empty.
  PullDisplay(const std::string& name, std::function<bool()> stop_wanted);
  ~PullDisplay() { clear(); }
  PullDisplay(const PullDisplay&) = delete;
  PullDisplay& operator=(const PullDisplay&) = delete;

  [[nodiscard]] const PullEvents& events() const { return events_; }
  void clear();  // the bar; for what is printed then

 private:
  void show(const PullProgress& progress);
  void say_now_and_then(const PullProgress& progress);

  std::string name_;
  std::function<bool()> stop_wanted_;
  std::stop_source stop_;
  PullEvents events_;
  bool live_;
  bool drawn_ = false;
  std::string line_;    // that is drawn
  bool begun_ = false;  // the first plain line is out
  std::chrono::steady_clock::time_point said_{};
};

}  // namespace asynclm
