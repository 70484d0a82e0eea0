// SPDX-License-Identifier: Apache-2.0
// Moves a run's computed tokens between the engine, the host's memory and files. Carries out what
// the trap handler decides; measures what it costs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/metrics.h>
#include <asynclm/runtime.h>

#include "base/clock.h"
#include "runtime/cost_model.h"
#include "runtime/prefix_cache.h"
#include "runtime/run.h"

namespace asynclm {

class SequenceStore {
 public:
  // All must outlive the store.
  SequenceStore(Engine& engine, const Clock& clock, CostModel& costs, Metrics& metrics,
                const RuntimeOptions& options);

  // A sequence for the run, with what is saved of it or, where nothing is, with the longest kept
  // prefix of its context; what is missing then is to be appended. What cannot be read again counts
  // as discarded. limit_exceeded: the engine has no sequence free.
  [[nodiscard]] Result<void> open(Run& run);

  // Takes a kept prefix into the run's sequence, if that holds more than the sequence. Of a new run's
  // prompt it also finds out whether it is to keep one, or to wait for one that is coming.
  void take_prefix(Run& run);
  // The run's sequence holds the prefix that it is to keep.
  void keep_prefix(Run& run);

  // Out of the engine: to host, disk or nowhere. Where saving fails the tokens are discarded; an
  // error means that the run cannot go on at all.
  [[nodiscard]] Result<void> evict(Run& run, Residency to);

  // From the host's memory to a file, or to nowhere if that fails.
  void spill(Run& run);
  void discard(Run& run);

  // The run has ended: its sequence and all that is saved go.
  void drop(Run& run);

  [[nodiscard]] bool host_has_room(std::size_t bytes) const;
  [[nodiscard]] bool disk_has_room(std::size_t bytes) const;
  [[nodiscard]] std::int64_t host_excess() const;  // bytes above the budget

  [[nodiscard]] PrefixCache& prefixes() { return prefixes_; }

 private:
  void count(const Kv& kv, std::int64_t sign);
  void move_to(Kv& kv, Residency residency, std::size_t saved_bytes,
               std::optional<SequenceId> sequence = {});
  [[nodiscard]] bool load(Kv& kv, SequenceId into);
  template <class Operation>
  auto timed(Move move, std::size_t bytes, Operation operation);

  Engine& engine_;
  const Clock& clock_;
  CostModel& costs_;
  Metrics& metrics_;
  std::int64_t host_budget_, disk_budget_;
  std::string folder_;
  PrefixCache prefixes_;
};

}  // namespace asynclm
