// SPDX-License-Identifier: Apache-2.0
// The results of asynclm-lab bench bfcl as JSON, and as tables for people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <asynclm/tool.h>

#include "bench/bfcl_experiment.h"
#include "bench/bfcl_workload.h"

namespace asynclm {

// Workload, samples, means over the samples, and for each arm how many of its runs and calls are
// right and, of its right runs, its makespans, its speed-ups over each of sync, sync-parallel and
// the stateless arms that was run (samples that are right in both), makespan over bound, tokens and
// requests. `seed`: of the intervals.
[[nodiscard]] Json bfcl_table(const bench::BfclResults& results, const bench::BfclSource& source,
                              std::uint64_t seed);

// The calls of one sample in all arms.
[[nodiscard]] Json bfcl_timeline(const bench::BfclResults& results, std::size_t sample);

// What bfcl_table gives, for people. `title` stands above it.
[[nodiscard]] std::string bfcl_text(std::string_view title, const Json& table);

}  // namespace asynclm
