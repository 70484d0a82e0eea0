// SPDX-License-Identifier: Apache-2.0
// The workloads of `asynclm-lab bench bfcl`: recorded calls of the Berkeley Function Calling
// Leaderboard (paper section 6) as tasks that take the time of their functions.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/types.h>

#include "oracle/task.h"

namespace asynclm::bench {

// What calls return of which no result is recorded: single-turn samples have none.
inline constexpr std::string_view kStandInResult = "{\"status\": \"ok\"}";

struct BfclSample {
  std::string id;
  TaskSequence sequence;  // without turns that call nothing
  // All that the data says of the functions, one JSON object a line, as the leaderboard's own
  // prompts have it. The prompt's tool list says less.
  std::string documents;
};

struct BfclWorkload {
  std::string_view name;
  std::vector<BfclSample> samples;
};

// Where a workload is in the data: FILE.jsonl, or in the leaderboard's own repository
// BFCL_v…_UPSTREAM.json (empty: it is not there).
struct BfclSource {
  std::string_view name, file, upstream, says;
  bool first_turn_only = false;
  // Of tasks side by side: each comes so long after the one before it, as an interruption; else the
  // user says all at once.
  std::optional<Time> arrivals = std::nullopt;
};
inline constexpr std::array<BfclSource, 9> kBfclSources = {{
    {"parallel", "parallel", "parallel", "independent calls of one function"},
    {"multi-step", "multi_turn_base_replay", "multi_turn_base", "first turns of conversations",
     true},
    {"multi-turn", "multi_turn_base_replay", "multi_turn_base", "whole conversations"},
    {"multi-step-parallel", "v3_multi_step_parallel", "", "three first turns side by side"},
    {"multi-step-parallel-disjoint", "v3_multi_step_parallel_disjoint", "",
     "three that call functions of different classes"},
    {"multi-step-parallel-long", "v3_multi_step_parallel_long", "",
     "the same, of 2 to 5 calls each"},
    {"arrivals-0", "v3_multi_step_parallel", "", "the three as messages at once", false,
     from_ms(0)},
    {"arrivals-200", "v3_multi_step_parallel", "", "the three as messages 200 ms apart", false,
     from_ms(200)},
    {"arrivals-400", "v3_multi_step_parallel", "", "the three as messages 400 ms apart", false,
     from_ms(400)},
}};

// Reads the source's file, as oracle/recordings.h describes it. Calls run for as long as their
// function takes (function_times_ms.json), 100 ms where that says nothing. not_found names the file
// and where it comes from; invalid_argument the line, or a source without a sample that calls
// anything.
[[nodiscard]] Result<BfclWorkload> load_bfcl(const std::string& folder, const BfclSource& source);

// Leaves the functions that no call is of out of the prompts: for models of a short context.
void keep_called_tools(BfclWorkload& workload);

// Makes all functions take so many times as long, and tells the model.
void scale_times(BfclWorkload& workload, double factor);

}  // namespace asynclm::bench
