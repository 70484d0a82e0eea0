// SPDX-License-Identifier: Apache-2.0
// What is said when a run is over: answer, times, calls that failed; and the table of a comparison.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/runtime.h>

#include "cli/frame.h"

namespace asynclm {

// The model ended by itself and said something. Failed calls are the model's to report.
[[nodiscard]] bool task_succeeded(const RunReport& report);

// `columns`: where lines are wrapped; 0: nowhere.
void print_answer(std::ostream& out, const RunReport& report, int columns);
void print_summary(std::ostream& out, Mode mode, const RunReport& report, int columns);

struct ComparedRun {
  Mode mode;
  RunReport report;
};

// Wall time of the sync run by this run's; none where a run failed or there is no sync run.
[[nodiscard]] std::optional<double> speed_up(const std::vector<ComparedRun>& runs,
                                             const ComparedRun& run);

// All runs made the same calls, in whatever order: only then do their times compare the modes.
[[nodiscard]] bool same_calls(const std::vector<ComparedRun>& runs);

// A row for each run; modes as columns where `columns` are too few for that.
[[nodiscard]] std::vector<FrameLine> comparison_table(const std::vector<ComparedRun>& runs,
                                                      int columns);

}  // namespace asynclm
