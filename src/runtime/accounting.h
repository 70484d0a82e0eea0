// SPDX-License-Identifier: Apache-2.0
// Where a session's wall time went: generating, waiting, and how much of its calls' run time was
// hidden behind generating (the paper's section 6.3 in measured numbers).
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <asynclm/types.h>

namespace asynclm {

class Accounting {
 public:
  // An engine call from `begin` to `end` served the session. In order of time.
  void decoded(Time begin, Time end);

  // A worker took the call; the call ended. Times may lie before the last decode's end: workers
  // report what happened while the decode thread was busy.
  void call_started(std::size_t call, Time at);
  void call_ended(std::size_t call, Time at);

  // From here there is nothing to decode; from here there is. Repeats change nothing.
  void idle(Time at);
  void busy(Time at);

  struct Totals {
    Time generating{}, waiting{}, overlap{};
  };
  // Everything up to `end`; what still runs is counted until then.
  [[nodiscard]] Totals totals(Time end) const;

 private:
  struct Interval {
    Time begin{}, end{};
  };
  struct CallTime {
    std::optional<Time> begin, end;
  };
  std::vector<Interval> decodes_;
  std::vector<CallTime> calls_;
  std::optional<Time> idle_since_;
  Time waited_{};
};

}  // namespace asynclm
