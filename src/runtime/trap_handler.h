// SPDX-License-Identifier: Apache-2.0
// Who has a sequence of the engine (paper section 5.4, for many sessions). Sessions that can go on
// wait for one: by priority, those that had begun before new ones, then by how long they have
// waited. With RuntimeOptions::residency `on_demand` a trapped session gives its sequence up when
// somebody waits, and gets one back before its result is expected; and where all write, those that
// have begun take turns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/metrics.h>
#include <asynclm/runtime.h>

#include "base/clock.h"
#include "runtime/cost_model.h"
#include "runtime/latency_model.h"
#include "runtime/residency_policy.h"
#include "runtime/run.h"
#include "runtime/sequence_store.h"

namespace asynclm {

// How long a trapped run still waits for its results, as far as the model knows; an hour if no call
// will wake it (a person may).
[[nodiscard]] Time expected_wait(const Run& run, const LatencyModel& latency, Instant now);

class TrapHandler {
 public:
  // All must outlive the handler. `failed` is told of runs that cannot get a sequence, or cannot
  // give theirs up; it removes them.
  TrapHandler(Engine& engine, const Clock& clock, CostModel& costs, const LatencyModel& latency,
              Metrics& metrics, const RuntimeOptions& options,
              std::function<void(Run&, Error)> failed);

  void add(Run& run, Instant now);     // a new one: queued
  void update(Run& run, Instant now);  // after whatever may have changed its step
  void remove(Run& run);               // it has ended; its sequence and all that is saved go

  // Gives out sequences: once a turn.
  void admit(Instant now);

  // Runs with a sequence; running ones, and trapped ones whose tokens may not be complete.
  [[nodiscard]] std::span<Run* const> resident() const { return resident_; }
  [[nodiscard]] std::int64_t count(RunState state) const {
    return counts_[static_cast<std::size_t>(state)];
  }
  // When admit() has something to do although nothing happens.
  [[nodiscard]] std::optional<Instant> wake_at() const;

  [[nodiscard]] SequenceStore& store() { return store_; }

 private:
  // Before all others of a set comes who is to be served next.
  struct ServedFirst {
    // Somebody is in the middle of what has begun, and only what ends makes room for good.
    [[nodiscard]] static auto rank(const Run& run) {
      return std::tuple(-std::int64_t{run.priority}, run.state == RunState::queued, run.since,
                        run.id);
    }
    bool operator()(const Run* a, const Run* b) const { return rank(*a) < rank(*b); }
  };
  struct DueFirst {
    bool operator()(const Run* a, const Run* b) const {
      return std::tuple(a->prefetch_due, a->id) < std::tuple(b->prefetch_due, b->id);
    }
  };

  void set_state(Run& run, RunState state, Instant now);
  [[nodiscard]] bool has_room(const Run& run) const;
  [[nodiscard]] bool make_room(const Run& run, Instant now);
  bool open(Run& run, Instant now);
  [[nodiscard]] std::size_t computed(const Run& run) const;  // tokens that going would take away
  [[nodiscard]] Eviction eviction_of(const Run& run) const;
  [[nodiscard]] Time return_cost(const Run& run) const;
  void collect_candidates(Instant now, Time least);
  [[nodiscard]] Run* find_writer(const Run& run, Instant now);
  void preempt(Run& run, Instant now);
  void evict(Run& run, Residency to, Instant now);
  void keep_to_host_budget();
  void decide_at_trap(Instant now);
  void prefetch(Instant now);
  void schedule(Run& run, Instant now);

  Engine& engine_;
  const CostModel& costs_;
  const LatencyModel& latency_;
  Metrics& metrics_;
  ResidencyPolicy policy_;
  std::size_t places_;
  std::int64_t kv_tokens_;
  std::function<void(Run&, Error)> failed_;
  SequenceStore store_;

  std::array<std::int64_t, kRunStates> counts_{};
  std::vector<Run*> resident_;
  std::set<Run*, ServedFirst> waiting_;  // queued and returning
  std::set<Run*, DueFirst> due_;         // trapped and evicted, under `on_demand`
  std::set<Run*, DueFirst> in_host_;     // of those, saved in host memory
  std::vector<Run*> paused_;             // since the last admit(), under `at_trap`
  bool engine_full_ = false;             // create() refused; until a sequence is dropped
  std::optional<Instant> retry_at_;      // somebody waits, and all waits are too short
  Instant next_prefetch_{};

  // Kept to reuse their memory.
  std::vector<Run*> trapped_;
  std::vector<Candidate> candidates_;
};

}  // namespace asynclm
