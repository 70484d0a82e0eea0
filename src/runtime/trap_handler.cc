// SPDX-License-Identifier: Apache-2.0
#include "runtime/trap_handler.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

namespace asynclm {
namespace {

// No call will end the wait.
constexpr Time kForever = std::chrono::hours(1);
// How soon a decision that could not be made is thought over: short against a wait that is worth a
// move, long against the time that thinking takes.
constexpr Time kRetry = std::chrono::milliseconds(5);
// A session that writes keeps its sequence for at least so long, and for so many times what its way
// out and back costs: at most an eighth of the time goes into moves.
constexpr Time kLeastTurn = std::chrono::milliseconds(20);
constexpr int kMovesPerTurn = 8;
// Sessions looked at in one turn: with thousands of them the rest has the next turn.
constexpr int kMaxPrefetches = 16;

}  // namespace

Time expected_wait(const Run& run, const LatencyModel& latency, Instant now) {
  const Step step = run.session.step();
  const auto* wait = std::get_if<Wait>(&step);
  if (wait == nullptr) return kForever;
  std::optional<Time> expected;
  const auto consider = [&](const CallRecord& call) {
    if (call.outcome) return;
    const Time elapsed = call.dispatched ? now - run.began - *call.dispatched : Time{};
    const Time left = latency.remaining(call.name, std::max(elapsed, Time{}));
    expected = !expected ? left : wait->all ? std::max(*expected, left) : std::min(*expected, left);
  };
  const std::vector<CallRecord>& calls = run.session.calls();
  if (wait->calls.empty()) {
    for (const CallRecord& call : calls) consider(call);
  } else {
    for (const CallKey key : wait->calls) consider(calls[key]);
  }
  return expected.value_or(kForever);
}

TrapHandler::TrapHandler(Engine& engine, const Clock& clock, CostModel& costs,
                         const LatencyModel& latency, Metrics& metrics,
                         const RuntimeOptions& options, std::function<void(Run&, Error)> failed)
    : engine_(engine),
      costs_(costs),
      latency_(latency),
      metrics_(metrics),
      policy_(options.residency),
      places_(static_cast<std::size_t>(engine.info().max_sequences)),
      kv_tokens_(options.kv_tokens),
      failed_(std::move(failed)),
      store_(engine, clock, costs, metrics, options) {
  if (options.kv_sequences > 0) {
    places_ = std::min(places_, static_cast<std::size_t>(options.kv_sequences));
  }
}

// --- States -----------------------------------------------------------------------------------

void TrapHandler::add(Run& run, Instant now) {
  run.state = RunState::queued;
  run.since = now;
  ++counts_[static_cast<std::size_t>(run.state)];
  waiting_.insert(&run);
}

void TrapHandler::remove(Run& run) {
  --counts_[static_cast<std::size_t>(run.state)];
  waiting_.erase(&run);
  due_.erase(&run);
  in_host_.erase(&run);
  std::erase(resident_, &run);
  std::erase(paused_, &run);
  if (run.kv.sequence) engine_full_ = false;
  store_.drop(run);
}

void TrapHandler::set_state(Run& run, RunState state, Instant now) {
  if (run.state == state) return;
  waiting_.erase(&run);
  due_.erase(&run);
  in_host_.erase(&run);
  if (run.state == RunState::trapped) {
    metrics_.trap_time.add(now - run.since);
    if (std::exchange(run.prefetched, false) && run.kv.sequence) metrics_.return_time.add(Time{});
  }
  if (run.state == RunState::queued) {
    ++metrics_.admitted;
    metrics_.queue_time.add(now - run.began);
  }
  if (run.state == RunState::returning) metrics_.return_time.add(now - run.since);
  --counts_[static_cast<std::size_t>(run.state)];
  ++counts_[static_cast<std::size_t>(state)];
  run.state = state;
  run.since = now;
  run.writes_since.reset();
}

void TrapHandler::update(Run& run, Instant now) {
  const bool decodes = std::holds_alternative<Decode>(run.session.step());
  if (decodes && run.kv.sequence) {
    set_state(run, RunState::running, now);
    run.accounting.busy(run.latest);
    return;
  }
  run.accounting.idle(run.latest);
  if (decodes) {
    if (run.state != RunState::trapped) return;  // it waits already
    set_state(run, RunState::returning, now);
    waiting_.insert(&run);
  } else if (run.state != RunState::trapped) {
    waiting_.erase(&run);  // its turn was cancelled before it got a sequence
    set_state(run, RunState::trapped, now);
    metrics_.most_trapped = std::max(metrics_.most_trapped, count(RunState::trapped));
    if (policy_ == ResidencyPolicy::at_trap) paused_.push_back(&run);
  }
}

// --- Sequences --------------------------------------------------------------------------------

void TrapHandler::admit(Instant now) {
  if (!paused_.empty()) decide_at_trap(now);
  retry_at_.reset();
  bool served = true;
  while (served && !waiting_.empty()) {
    Run& run = **waiting_.begin();
    served = make_room(run, now) && open(run, now);
  }
  if (served && policy_ == ResidencyPolicy::on_demand) prefetch(now);
  for (Run* run : resident_) {
    if (run->state == RunState::running && !run->writes_since && computed(*run) > run->kv.tokens) {
      run->writes_since = now;
    }
    if (run->awaits_prefix && !store_.prefixes().is_coming(run->session.context())) {
      store_.take_prefix(*run);
    }
  }
}

bool TrapHandler::has_room(const Run& run) const {
  if (engine_full_ || resident_.size() >= places_) return false;
  if (kv_tokens_ == 0 || resident_.empty()) return true;  // one always fits, else nothing moves
  std::size_t tokens = run.session.context().size();
  for (const Run* other : resident_) tokens += other->session.context().size();
  return tokens <= static_cast<std::size_t>(kv_tokens_);
}

bool TrapHandler::make_room(const Run& run, Instant now) {
  while (!has_room(run)) {
    if (policy_ != ResidencyPolicy::on_demand) return false;
    collect_candidates(now, Time{});
    const auto victim = choose_victim(candidates_, now - run.since);
    if (victim) {
      Run& trapped = *trapped_[*victim];
      evict(trapped, eviction_of(trapped).to, now);
    } else if (Run* const writer = find_writer(run, now)) {
      preempt(*writer, now);
    } else {
      if (!candidates_.empty()) retry_at_ = now + kRetry;
      return false;
    }
  }
  return true;
}

// False: the engine has no sequence free.
bool TrapHandler::open(Run& run, Instant now) {
  Result<void> opened = store_.open(run);
  if (!opened && opened.error().code == ErrorCode::limit_exceeded && !resident_.empty()) {
    engine_full_ = true;  // somebody else uses the engine's sequences too
    return false;
  }
  waiting_.erase(&run);
  due_.erase(&run);
  in_host_.erase(&run);
  if (!opened) {
    failed_(run, std::move(opened.error()));
    return true;
  }
  resident_.push_back(&run);
  run.tick(now);
  update(run, now);
  return true;
}

// --- Evictions --------------------------------------------------------------------------------

std::size_t TrapHandler::computed(const Run& run) const {
  const std::int32_t held = run.kv.sequence ? engine_.length(*run.kv.sequence) : 0;
  return std::max(run.kv.tokens, static_cast<std::size_t>(std::max(held, 0)));
}

// Where the host's memory is full there is still room as long as another can be moved on to disk.
Eviction TrapHandler::eviction_of(const Run& run) const {
  const std::size_t tokens = computed(run);
  const std::size_t bytes = costs_.bytes(tokens);
  return cheapest_eviction(tokens, store_.host_has_room(bytes) || !in_host_.empty(),
                           store_.disk_has_room(bytes), costs_);
}

Time TrapHandler::return_cost(const Run& run) const {
  const Kv& kv = run.kv;
  switch (kv.residency) {
    case Residency::host:
      return costs_.move(Move::from_host, kv.saved_bytes);
    case Residency::disk:
      return costs_.move(Move::from_disk, kv.saved_bytes) +
             costs_.move(Move::from_host, kv.saved_bytes);
    case Residency::discarded:
      return costs_.recompute(kv.tokens);
    case Residency::resident:
      break;
  }
  return {};
}

// Of trapped sessions with a sequence those that wait for longer than `least` and their own move.
void TrapHandler::collect_candidates(Instant now, Time least) {
  trapped_.clear();
  candidates_.clear();
  for (Run* run : resident_) {
    if (run->state != RunState::trapped) continue;
    const Candidate candidate{.memory = kv_tokens_ > 0 ? static_cast<double>(computed(*run)) : 1.0,
                              .wait = expected_wait(*run, latency_, now),
                              .cost = eviction_of(*run).cost};
    if (least > Time{} && candidate.wait < least + candidate.cost) continue;
    trapped_.push_back(run);
    candidates_.push_back(candidate);
  }
}

// The one that has written for the longest, if its turn is over and `run`, which had begun before,
// may have it. Not who computes what others wait for.
Run* TrapHandler::find_writer(const Run& run, Instant now) {
  if (run.state != RunState::returning) return nullptr;
  Run* longest = nullptr;
  for (Run* other : resident_) {
    if (other->state != RunState::running || other->priority > run.priority) continue;
    if (!other->writes_since || other->keep_prefix_at > 0 || other->awaits_prefix) continue;
    if (longest == nullptr || *other->writes_since < *longest->writes_since) longest = other;
  }
  if (longest == nullptr) return nullptr;
  // What the way back took, where that is known: what was saved may have been lost.
  const Time back = longest->kv.tokens > 0 ? *longest->writes_since - longest->since : Time{};
  const Time turn =
      std::max(kLeastTurn, kMovesPerTurn * std::max(back, eviction_of(*longest).cost));
  return now - *longest->writes_since >= turn ? longest : nullptr;
}

void TrapHandler::preempt(Run& run, Instant now) {
  ++metrics_.preemptions;
  run.accounting.idle(run.latest);
  set_state(run, RunState::returning, now);
  evict(run, eviction_of(run).to, now);
}

void TrapHandler::evict(Run& run, Residency to, Instant now) {
  Result<void> gone = store_.evict(run, to);
  std::erase(resident_, &run);
  engine_full_ = false;
  if (!gone) return failed_(run, std::move(gone.error()));
  if (run.state == RunState::trapped) {
    schedule(run, now);
  } else {
    waiting_.insert(&run);
  }
  keep_to_host_budget();
}

// Past the budget those move on whose results are the furthest away: to disk, or to nowhere where
// that is the cheaper way back.
void TrapHandler::keep_to_host_budget() {
  while (store_.host_excess() > 0 && !in_host_.empty()) {
    Run& run = **in_host_.rbegin();
    in_host_.erase(&run);
    const std::size_t bytes = run.kv.saved_bytes;
    const Time by_disk = costs_.move(Move::to_disk, bytes) + costs_.move(Move::from_disk, bytes) +
                         costs_.move(Move::from_host, bytes);
    if (store_.disk_has_room(bytes) && by_disk <= costs_.recompute(run.kv.tokens)) {
      store_.spill(run);
    } else {
      store_.discard(run);
    }
  }
}

void TrapHandler::decide_at_trap(Instant now) {
  for (Run* run : std::exchange(paused_, {})) {
    if (run->state != RunState::trapped || !run->kv.sequence) continue;
    const Residency choice =
        choice_at_trap(computed(*run), expected_wait(*run, latency_, now), costs_);
    if (choice != Residency::resident) evict(*run, choice, now);
  }
}

// --- Ahead of time ----------------------------------------------------------------------------

// When to look at the evicted run again: when its result is as near as its way back is long. Once
// for each pause: one that came back too early and had to go again waits for its result.
void TrapHandler::schedule(Run& run, Instant now) {
  due_.erase(&run);
  in_host_.erase(&run);
  const Time left = expected_wait(run, latency_, now) - prefetch_lead(return_cost(run));
  run.prefetch_due = now + std::max(left, kRetry);
  if (!run.prefetched) due_.insert(&run);
  if (run.kv.residency == Residency::host) in_host_.insert(&run);
}

void TrapHandler::prefetch(Instant now) {
  if (now < next_prefetch_) return;
  for (int i = 0; i < kMaxPrefetches && !due_.empty(); ++i) {
    Run& run = **due_.begin();
    if (run.prefetch_due > now) return;
    const Time wait = expected_wait(run, latency_, now);
    const Time cost = return_cost(run);
    if (wait > prefetch_lead(cost)) {
      schedule(run, now);
      continue;
    }
    // Nobody who can go on wants a sequence; one who waits for much longer may give up his.
    if (!has_room(run)) {
      collect_candidates(now, wait + cost);
      const auto victim = choose_victim(candidates_, Time{});
      if (victim) evict(*trapped_[*victim], eviction_of(*trapped_[*victim]).to, now);
      if (!victim || !has_room(run)) {
        next_prefetch_ = now + kRetry;
        return;
      }
    }
    if (!open(run, now)) return;
    if (!run.kv.sequence) continue;  // it failed
    run.prefetched = true;
    ++metrics_.prefetches;
  }
}

std::optional<Instant> TrapHandler::wake_at() const {
  if (retry_at_) return retry_at_;
  if (policy_ != ResidencyPolicy::on_demand || !waiting_.empty() || due_.empty())
    return std::nullopt;
  return std::max((*due_.begin())->prefetch_due, next_prefetch_);
}

}  // namespace asynclm
