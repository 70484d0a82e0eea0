// SPDX-License-Identifier: Apache-2.0
// Whether a machine is quiet enough for what is measured on it.
#pragma once

#include <string>

namespace asynclm::bench {

struct MachineState {
  std::string processor;  // as the system names it; empty where it does not
  unsigned cores = 0;
  double load_average = 0;  // of the last minute; this program's own work counts
  // The same piece of work takes different times where others take the processor: the 90th
  // percentile over the 10th.
  double calibration_spread = 1;
  // Something else runs: the spread is above 1.1, or, before this program has worked itself, the
  // load is above a quarter of a core.
  bool is_loaded = false;
};

// Works for about a quarter of a second.
[[nodiscard]] MachineState look_at_machine();

}  // namespace asynclm::bench
