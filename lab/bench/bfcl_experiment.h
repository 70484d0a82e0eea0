// SPDX-License-Identifier: Apache-2.0
// Many samples of `asynclm-lab bench bfcl` in several arms, and what is said of them: paired by
// sample, the arms of a sample in random order one after the other.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <asynclm/error.h>

#include "bench/bfcl_arms.h"
#include "bench/bfcl_log.h"
#include "bench/bfcl_run.h"
#include "bench/bfcl_workload.h"
#include "bench/statistics.h"

namespace asynclm::bench {

struct BfclOptions {
  std::size_t samples = 0;  // drawn from the workload, in its order; 0: all
  std::uint64_t seed = 1;
  // Called behind each sample.
  std::function<void(std::size_t done, std::size_t all)> progress = {};
  // Asked before each sample: to end as `cancelled`.
  std::function<bool()> stop_wanted = {};
  // What has been run before, and is not run again; null: nothing. `part` tells this call apart
  // from others with the same log.
  BfclLog* log = nullptr;
  std::string part = {};
};

struct BfclResults {
  std::vector<BfclArm> arms;
  std::vector<std::vector<BfclRun>> runs;  // of each arm, one a sample
  std::vector<const BfclSample*> samples;
  // Samples that cannot be run in one of the arms, and why; they are left out in all.
  std::vector<std::string> skipped;
};

// Where the model is measured, the first sample is run once in each arm before it counts. Errors:
// unsupported, no sample can be run; the message has the first reason. io: of a server or the log.
[[nodiscard]] Result<BfclResults> run_arms(BfclModel& model, const BfclWorkload& workload,
                                           std::span<const BfclArm> arms,
                                           const BfclOptions& options);

// Makespans in ms of an arm, by sample; nothing where the run is not right.
[[nodiscard]] std::vector<std::optional<double>> makespans(const BfclResults& results,
                                                           std::size_t arm);
// How many times as long `base` takes, by sample that is right in both.
[[nodiscard]] std::vector<double> speed_ups(const BfclResults& results, std::size_t base,
                                            std::size_t arm);
// Makespan over one of its own bounds, by sample that has it.
[[nodiscard]] std::vector<double> over_bound(
    const BfclResults& results, std::size_t arm,
    std::optional<Time> BfclRun::* bound = &BfclRun::bound);
// The index of the arm of that name, or arms.size().
[[nodiscard]] std::size_t index_of(const BfclResults& results, std::string_view name);

}  // namespace asynclm::bench
