// SPDX-License-Identifier: Apache-2.0
#include "runtime/decode_loop.h"

#include <algorithm>
#include <exception>
#include <functional>
#include <utility>
#include <variant>

namespace asynclm {
namespace {

// Tokens of a session that writes: the last one, and a few forced ones behind it. More is computed
// like a prompt: many results that arrive together hold the others up as much as a prompt does.
constexpr std::size_t kMaxWritten = 8;

constexpr double kKeptInterval = 0.8;  // of the mean time between runs that leave the queue

}  // namespace

DecodeLoop::DecodeLoop(const LoopContext& context, const RuntimeOptions& options)
    : engine_(context.engine),
      calls_(context.calls),
      clock_(context.clock),
      inbox_(context.inbox),
      costs_(context.costs),
      latency_(context.latency),
      published_(context.published),
      places_(engine_, clock_, costs_, latency_, metrics_, options,
              [this](Run& run, Error error) { fail(run, std::move(error)); }),
      max_gap_(options.max_gap),
      learn_estimates_(options.learn_estimates) {}

void DecodeLoop::run() noexcept {
  while (!closing_) {
    if (turn() || closing_) continue;
    const std::optional<Instant> wake = wake_at();
    inbox_.wait(wake ? std::optional(std::max(Time{}, *wake - now())) : std::nullopt);
  }
}

bool DecodeLoop::turn() noexcept {
  try {
    take_turn();
  } catch (const std::exception& error) {
    give_up(error.what());
  } catch (...) {
    give_up("an exception of unknown type");
  }
  return !batch_.empty();
}

void DecodeLoop::take_turn() {
  const Instant from = now();
  const Time elsewhere = metrics_.decode_time + metrics_.moving_time;
  ended_.clear();
  batch_.clear();
  if (next_input_ == inputs_.size()) {
    next_input_ = 0;
    inbox_.take(inputs_);
  }
  while (next_input_ < inputs_.size()) {
    Input& input = inputs_[next_input_++];
    std::visit([this](auto& what) { accept(what); }, input);
  }
  end_idle_groups();
  const std::int64_t admitted = metrics_.admitted;
  const Instant at = now();  // not before what came in
  places_.admit(at);
  if (const std::int64_t left = metrics_.admitted - admitted; left > 0) left_queue(left, at);
  collect();
  if (!batch_.empty()) decode();
  publish();
  if (!batch_.empty()) {
    metrics_.own_time += now() - from - (metrics_.decode_time + metrics_.moving_time - elsewhere);
  }
}

void DecodeLoop::left_queue(std::int64_t runs, Instant at) {
  for (std::int64_t i = 0; i < runs; ++i) published_.leave_queue();
  if (left_queue_) {
    const double interval =
        static_cast<double>((at - *left_queue_).count()) / static_cast<double>(runs);
    queue_interval_ = queue_interval_ == 0
                          ? interval
                          : kKeptInterval * queue_interval_ + (1 - kKeptInterval) * interval;
    published_.set_queue_interval(Time(static_cast<Time::rep>(queue_interval_)));
  }
  left_queue_ = at;
}

void DecodeLoop::publish() {
  metrics_.at = now();
  metrics_.queued = places_.count(RunState::queued);
  metrics_.returning = places_.count(RunState::returning);
  metrics_.running = places_.count(RunState::running);
  metrics_.trapped = places_.count(RunState::trapped);
  KvUse& resident = metrics_.kv[static_cast<std::size_t>(Residency::resident)];
  resident.tokens = 0;
  for (const Run* run : places_.resident()) resident.tokens += engine_.length(*run->kv.sequence);
  published_.set_metrics(metrics_);
}

// --- Inputs -----------------------------------------------------------------------------------

Run* DecodeLoop::find(RunId id) {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

void DecodeLoop::accept(StartRun& input) { begin(std::move(input.run)); }

void DecodeLoop::begin(std::unique_ptr<Run> started) {
  Run& run = *started;
  runs_.emplace(run.id, std::move(started));
  ++metrics_.started;
  run.tick(now());
  places_.add(run, run.began);
  settle(run);
  // Of a run that was saved in another process: those that may run again.
  for (CallKey call = 0; call < run.session.calls().size() && !run.done(); ++call) {
    const CallRecord& record = run.session.calls()[call];
    const bool runs = call < run.handles.size() && run.handles[call].has_value();
    if (record.dispatched && !record.outcome && !runs) dispatch(run, call);
  }
}

void DecodeLoop::accept(CallStarted& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;
  run->accounting.call_started(input.call, input.at - run->began);
  run->session.started(input.call, run->tick(input.at));
  settle(*run);
}

void DecodeLoop::accept(CallEnded& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;  // the session ended first
  run->accounting.call_ended(input.call, input.at - run->began);
  if (input.call < run->handles.size()) run->handles[input.call].reset();
  learn(*run, input.call, input.result.outcome, input.at);
  run->session.completed(input.call, std::move(input.result), run->tick(input.at));
  settle(*run);
}

void DecodeLoop::learn(const Run& run, CallKey call, Outcome outcome, Instant at) {
  ++metrics_.calls_ended;
  const CallRecord& record = run.session.calls()[call];
  if (outcome == Outcome::cancelled || record.outcome || !record.dispatched) return;
  latency_.observe(record.name, at - run.began - *record.dispatched);
  if (learn_estimates_ && latency_.specs_changed()) published_.set_specs(latency_.specs());
}

void DecodeLoop::accept(CancelRun& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;
  run->open = false;
  run->session.cancel(run->tick(now()));
  settle(*run);
}

void DecodeLoop::accept(Shutdown& /*input*/) {
  closing_ = true;
  while (!runs_.empty()) {
    Run& run = *runs_.begin()->second;
    run.session.cancel(run.tick(now()));
    settle(run);
    finish(run);
  }
}

// --- Effects ----------------------------------------------------------------------------------

void DecodeLoop::settle(Run& run) {
  std::optional<Error> observer_failed;
  for (const Event& event : run.session.take_events()) {
    act(run, event);
    try {
      if (run.on_event) run.on_event(run.session, event);
      if (run.on_turn && std::holds_alternative<Finished>(event.what)) {
        run.on_turn(report(run, run.latest));
      }
    } catch (const std::exception& error) {
      observer_failed =
          Error{ErrorCode::internal,
                std::string("on_event or on_turn threw, so the run was ended: ") + error.what()};
    } catch (...) {
      observer_failed =
          Error{ErrorCode::internal, "on_event or on_turn threw, so the run was ended"};
    }
    if (observer_failed) {
      run.on_event = nullptr;
      run.on_turn = nullptr;
    }
  }
  if (observer_failed) {
    run.open = false;
    return fail(run, std::move(*observer_failed));
  }
  if (run.group) changed_groups_.push_back(run.group);
  if (run.done() && (closing_ || !run.stays())) return finish(run);
  const bool was_queued = run.state == RunState::queued;
  places_.update(run, run.began + run.latest);
  if (was_queued && run.state == RunState::trapped) published_.leave_queue();
}

void DecodeLoop::act(Run& run, const Event& event) {
  if (const auto* dispatched = std::get_if<CallDispatched>(&event.what)) {
    dispatch(run, dispatched->call);
  } else if (const auto* cancelled = std::get_if<CallCancelled>(&event.what)) {
    withdraw(run, cancelled->call);
  } else if (const auto* cut = std::get_if<ContextCut>(&event.what)) {
    const auto kept = static_cast<std::size_t>(cut->position);
    run.kv.tokens = std::min(run.kv.tokens, kept);
    if (run.kv.sequence) (void)engine_.truncate(*run.kv.sequence, cut->position);
  } else if (const auto* interrupt = std::get_if<InterruptDelivered>(&event.what)) {
    run.interrupts.push_back(run.began + event.time);
    if (run.group && interrupt->id.starts_with("agent:")) run.group->delivered(run.id);
    if (!interrupt->call) return;
    const CallRecord& record = run.session.calls()[*interrupt->call];
    if (record.returned) metrics_.interrupt_held.add(event.time - *record.returned);
  }
}

void DecodeLoop::dispatch(Run& run, CallKey call) {
  if (run.handles.size() <= call) run.handles.resize(call + 1);
  const CallRecord& record = run.session.calls()[call];
  ++metrics_.calls_started;
  if (run.group && record.name == kSendTool) return send(run, call);
  try {
    run.handles[call] = calls_.start(
        record.name, record.arguments,
        [this, id = run.id, call] { inbox_.put(CallStarted{id, call, now()}); },
        [this, id = run.id, call](CallResult result) {
          inbox_.put(CallEnded{id, call, std::move(result), now()});
        });
  } catch (const std::exception& error) {
    CallResult result{Outcome::failed, record.name + " could not be started: " + error.what()};
    inbox_.put(CallEnded{run.id, call, std::move(result), now()});
  }
}

void DecodeLoop::withdraw(Run& run, CallKey call) {
  if (call >= run.handles.size()) return;
  const std::optional<CallRunner::Handle> handle = std::exchange(run.handles[call], std::nullopt);
  if (!handle) return;
  calls_.cancel(*handle);
  run.accounting.call_ended(call, run.latest);
}

void DecodeLoop::fail(Run& run, Error error) {
  run.session.engine_failed(std::move(error), run.tick(now()));
  settle(run);
}

void DecodeLoop::finish(Run& run) {
  const auto found = runs_.find(run.id);
  if (found == runs_.end()) return;  // it is finished already

  for (CallKey call = 0; call < run.handles.size(); ++call) withdraw(run, call);
  if (run.state == RunState::queued) published_.leave_queue();
  places_.remove(run);
  if (run.group) run.group->left(run.id);

  RunReport report = this->report(run, run.tick(now()));
  ++metrics_.finished[static_cast<std::size_t>(report.finish)];
  publish();  // who has the report finds it in the metrics
  run.report.set_value(std::move(report));

  ended_.push_back(std::move(found->second));
  runs_.erase(found);
}

RunReport DecodeLoop::report(Run& run, Time end) const {
  const Accounting::Totals totals = run.accounting.totals(end);
  RunReport report;
  const Step step = run.session.step();
  const auto* done = std::get_if<Done>(&step);
  report.ended = done != nullptr;
  report.finish = done != nullptr ? done->reason : FinishReason::cancelled;
  report.answer = run.session.answer();
  report.calls = run.session.calls();
  report.tokens = run.session.token_counts();
  report.wall = end;
  report.generating = totals.generating;
  report.waiting = totals.waiting;
  report.overlap = totals.overlap;
  report.error = run.session.error();
  return report;
}

void DecodeLoop::give_up(const char* why) noexcept {
  batch_.clear();
  for (auto& [id, run] : runs_) {
    try {
      for (CallKey call = 0; call < run->handles.size(); ++call) withdraw(*run, call);
      if (run->state == RunState::queued) published_.leave_queue();
      places_.remove(*run);
      RunReport report;
      report.finish = FinishReason::error;
      report.error = Error{ErrorCode::internal, std::string("the decode thread failed: ") + why};
      report.wall = run->tick(now());
      ++metrics_.finished[static_cast<std::size_t>(report.finish)];
      run->report.set_value(std::move(report));
    } catch (...) {  // the promise breaks, which wait() reports
    }
  }
  runs_.clear();
}

// --- Decoding ---------------------------------------------------------------------------------

void DecodeLoop::collect() {
  needs_.clear();
  items_.clear();
  for (Run* run : places_.resident()) {
    const std::span<const Token> context = run->session.context();
    const auto held = static_cast<std::size_t>(engine_.length(*run->kv.sequence));
    DecodeItem item{.sequence = *run->kv.sequence, .append = {}, .sample = false, .banned = {}};
    BatchNeed need{.depth = held, .priority = run->priority};
    const Step step = run->session.step();
    if (const auto* decode = std::get_if<Decode>(&step)) {
      if (run->awaits_prefix) continue;
      item.append = context.subspan(held);
      item.sample = true;
      item.banned = decode->banned;
      item.filter = decode->filter;
      item.draft = decode->draft;
      need.tokens = item.append.size();
      need.writes = run->last_token && need.tokens <= kMaxWritten;
      if (run->keep_prefix_at > held) {
        need.tokens = std::min(need.tokens, run->keep_prefix_at - held);
      }
    } else if (held < run->kv.tokens) {  // it comes back ahead of its result
      item.append = context.subspan(held, run->kv.tokens - held);
      need.tokens = item.append.size();
    } else {
      continue;
    }
    batch_.push_back(run);
    needs_.push_back(need);
    items_.push_back(item);
  }
  auto budget = static_cast<std::size_t>(engine_.info().max_batch_tokens);
  const std::span<const std::size_t> shares = sharer_.share(needs_, budget, max_gap_, costs_);

  std::size_t kept = 0;
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    if (shares[i] == 0) continue;
    budget -= shares[i];
    DecodeItem item = items_[i];
    if (shares[i] < item.append.size()) {
      item = {.sequence = item.sequence,
              .append = item.append.first(shares[i]),
              .sample = false,
              .banned = {}};
    }
    items_[kept] = item;
    batch_[kept] = batch_[i];
    needs_[kept] = needs_[i];
    ++kept;
  }
  batch_.resize(kept);
  needs_.resize(kept);
  items_.resize(kept);
  cut_drafts(budget);
  sampled_.assign(sampled_size(items_), kNoToken);
}

// To what pays, and to what the batch has left.
void DecodeLoop::cut_drafts(std::size_t budget) {
  std::size_t left = std::min(budget, static_cast<std::size_t>(engine_.info().max_draft_tokens));
  for (DecodeItem& item : items_) {
    if (item.draft.empty()) continue;
    item.draft = item.draft.first(std::min({item.draft.size(), drafts_.limit(), left}));
    left -= item.draft.size();
  }
}

void DecodeLoop::decode() {
  const Instant from = now();
  const Result<void> done = engine_.decode(items_, sampled_);
  const Instant to = now();
  metrics_.decode_time += to - from;
  if (done) {
    DecodeWork work;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      work.add(items_[i].append.size() + items_[i].draft.size(), needs_[i].depth);
    }
    costs_.decoded(work, to - from);
    drafts_.decoded(static_cast<std::size_t>(work.tokens), to - from);
    ++metrics_.decode_calls;
    metrics_.decode_call.add(to - from);
    metrics_.batch_sessions += static_cast<std::int64_t>(items_.size());
    std::span<const Token> sampled = sampled_;
    for (std::size_t i = 0; i < items_.size(); ++i) {
      const std::size_t entries = 1 + items_[i].draft.size();
      feed(i, sampled.first(entries), from, to);
      sampled = sampled.subspan(entries);
    }
  } else if (done.error().code == ErrorCode::cancelled) {
    // A run is to be cancelled: it says so in the inbox. For the others nothing has changed.
  } else if (items_.size() == 1) {
    fail(*batch_.front(), done.error());
  } else {
    decode_one_by_one();
  }
}

// After an error nobody's sequence has changed, and the error may be one session's alone.
void DecodeLoop::decode_one_by_one() {
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const std::span<Token> sampled = std::span(sampled_).first(1 + items_[i].draft.size());
    const Instant from = now();
    const Result<void> done = engine_.decode({&items_[i], 1}, sampled);
    const Instant to = now();
    metrics_.decode_time += to - from;
    if (done) {
      ++metrics_.decode_calls;
      metrics_.decode_call.add(to - from);
      ++metrics_.batch_sessions;
      feed(i, sampled, from, to);
    } else if (done.error().code == ErrorCode::cancelled) {
      return;
    } else {
      fail(*batch_[i], done.error());
    }
  }
}

void DecodeLoop::feed(std::size_t item, std::span<const Token> sampled, Instant from, Instant to) {
  Run& run = *batch_[item];
  const DecodeItem& fed = items_[item];
  run.accounting.decoded(from - run.began, to - run.began);
  const std::size_t held = needs_[item].depth + fed.append.size();
  metrics_.tokens_appended += static_cast<std::int64_t>(fed.append.size());
  if (needs_[item].depth < run.kv.tokens) {
    const std::size_t again = std::min(held, run.kv.tokens) - needs_[item].depth;
    metrics_.tokens_recomputed += static_cast<std::int64_t>(again);
  }
  if (held == run.keep_prefix_at) places_.store().keep_prefix(run);
  if (!fed.sample) return;
  std::size_t count = sampled.size();
  while (count > 1 && sampled[count - 1] == kNoToken) --count;
  drafts_.verified(fed.draft.size(), count - 1);
  metrics_.tokens_sampled += static_cast<std::int64_t>(count);
  metrics_.tokens_drafted += static_cast<std::int64_t>(fed.draft.size());
  metrics_.tokens_accepted += static_cast<std::int64_t>(count) - 1;
  if (run.last_token) {
    // Not from before a pause.
    if (run.since <= *run.last_token) metrics_.token_gap.add(to - *run.last_token);
  } else {
    metrics_.first_token.add(to - run.began);
  }
  run.last_token = to;
  for (const Instant since : run.interrupts) metrics_.interrupt_delay.add(to - since);
  run.interrupts.clear();
  run.session.decoded(sampled.first(count), run.tick(to));
  settle(run);
}

}  // namespace asynclm
