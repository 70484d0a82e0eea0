// SPDX-License-Identifier: Apache-2.0
// How good the orders are in which a teacher writes a task's calls.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "oracle/oracle.h"
#include "oracle/task.h"

namespace asynclm::bench {

struct PolicyResults {
  struct Line {
    std::string_view name;
    // Makespan over that of the best order for the times the calls really took.
    double mean = 0, p90 = 0;
    double share_best = 0;   // of the tasks in which it is the best
    double over_random = 0;  // the sum of the makespans, over that of the random order
  };
  std::array<Line, kPolicies.size() + 1> lines;  // as kPolicies, then the random order
  std::int64_t tasks = 0;                        // with two calls or more
  std::int64_t unproven = 0;                     // of these: the search for the best order was cut
};

// The tasks of two calls or more; 5 to 30 ms a token, tools of at most 1 s. A policy knows the
// estimates; with `noisy` the calls take 0.5 to 2 times as long.
[[nodiscard]] PolicyResults compare_policies(const Vocabulary& vocabulary,
                                             const std::vector<TaskSequence>& sequences, bool noisy,
                                             std::uint64_t seed);

}  // namespace asynclm::bench
