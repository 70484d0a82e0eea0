// SPDX-License-Identifier: Apache-2.0
#include "runtime/decode_loop.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>
#include <variant>

#include "runtime/batch.h"

namespace asynclm {
namespace {

Instant now() { return std::chrono::steady_clock::now(); }

}  // namespace

DecodeLoop::DecodeLoop(Engine& engine, Executor& executor, Inbox<Input>& inbox)
    : engine_(engine), executor_(executor), inbox_(inbox) {}

void DecodeLoop::run() noexcept {
  while (!closing_) {
    try {
      turn();
    } catch (const std::exception& error) {
      give_up(error.what());
    } catch (...) {
      give_up("an exception of unknown type");
    }
  }
}

void DecodeLoop::turn() {
  ended_.clear();
  if (next_input_ == inputs_.size()) {
    next_input_ = 0;
    inbox_.take(inputs_, batch_.empty());  // the last turn had nothing to decode: sleep
  }
  while (next_input_ < inputs_.size()) {
    Input& input = inputs_[next_input_++];
    std::visit([this](auto& what) { accept(what); }, input);
  }
  admit();
  collect();
  if (!batch_.empty()) decode();
}

// --- Inputs -----------------------------------------------------------------------------------

Run* DecodeLoop::find(RunId id) {
  const auto found = runs_.find(id);
  return found == runs_.end() ? nullptr : found->second.get();
}

void DecodeLoop::accept(StartRun& input) {
  Run& run = *input.run;
  runs_.emplace(run.id, std::move(input.run));
  queued_.push_back(&run);
  run.tick(now());
  settle(run);
}

void DecodeLoop::accept(CallStarted& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;
  run->accounting.call_started(input.call, input.at - run->began);
  if (run->fed > 0) {
    run->held.emplace_back(input);
    return;
  }
  run->session.started(input.call, run->tick(input.at));
  settle(*run);
}

void DecodeLoop::accept(CallEnded& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;  // the session ended first
  run->accounting.call_ended(input.call, input.at - run->began);
  if (run->fed > 0) {
    run->held.emplace_back(std::move(input));
    return;
  }
  if (input.call < run->handles.size()) run->handles[input.call].reset();
  run->session.completed(input.call, std::move(input.result), run->tick(input.at));
  settle(*run);
}

void DecodeLoop::accept(CancelRun& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;
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

void DecodeLoop::release_held(Run& run) {
  if (run.held.empty()) return;
  std::vector<Input> held = std::exchange(run.held, {});
  for (Input& input : held) std::visit([this](auto& what) { accept(what); }, input);
}

// --- Effects ----------------------------------------------------------------------------------

void DecodeLoop::settle(Run& run) {
  std::optional<Error> observer_failed;
  for (const Event& event : run.session.take_events()) {
    act(run, event);
    if (!run.on_event) continue;
    try {
      run.on_event(run.session, event);
    } catch (const std::exception& error) {
      observer_failed = Error{ErrorCode::internal,
                              std::string("on_event threw, so the run was ended: ") + error.what()};
    } catch (...) {
      observer_failed = Error{ErrorCode::internal, "on_event threw, so the run was ended"};
    }
    if (observer_failed) run.on_event = nullptr;
  }
  if (observer_failed) return fail(run, std::move(*observer_failed));
  if (run.done()) return finish(run);
  note_residency(run);
}

void DecodeLoop::act(Run& run, const Event& event) {
  if (const auto* dispatched = std::get_if<CallDispatched>(&event.what)) {
    dispatch(run, dispatched->call);
  } else if (const auto* cancelled = std::get_if<CallCancelled>(&event.what)) {
    withdraw(run, cancelled->call);
  }
}

void DecodeLoop::dispatch(Run& run, CallKey call) {
  if (run.handles.size() <= call) run.handles.resize(call + 1);
  const CallRecord& record = run.session.calls()[call];
  try {
    run.handles[call] = executor_.start(
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
  const std::optional<Executor::Handle> handle = std::exchange(run.handles[call], std::nullopt);
  if (!handle) return;
  executor_.cancel(*handle);
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
  if (run.sequence) {
    engine_.drop(*run.sequence);
    engine_full_ = false;
  }
  std::erase(admitted_, &run);
  std::erase(queued_, &run);

  const Time end = run.tick(now());
  const Accounting::Totals totals = run.accounting.totals(end);
  RunReport report;
  const Step step = run.session.step();
  const auto* done = std::get_if<Done>(&step);
  report.finish = done != nullptr ? done->reason : FinishReason::cancelled;
  report.answer = run.session.answer();
  report.calls = run.session.calls();
  report.tokens = run.session.token_counts();
  report.wall = end;
  report.generating = totals.generating;
  report.waiting = totals.waiting;
  report.overlap = totals.overlap;
  report.error = run.session.error();
  run.report.set_value(std::move(report));

  ended_.push_back(std::move(found->second));
  runs_.erase(found);
}

void DecodeLoop::give_up(const char* why) noexcept {
  batch_.clear();
  admitted_.clear();
  queued_.clear();
  for (auto& [id, run] : runs_) {
    try {
      for (CallKey call = 0; call < run->handles.size(); ++call) withdraw(*run, call);
      if (run->sequence) engine_.drop(*run->sequence);
      RunReport report;
      report.finish = FinishReason::error;
      report.error = Error{ErrorCode::internal, std::string("the decode thread failed: ") + why};
      report.wall = run->tick(now());
      run->report.set_value(std::move(report));
    } catch (...) {  // the promise breaks, which wait() reports
    }
  }
  runs_.clear();
  engine_full_ = false;
}

void DecodeLoop::note_residency(Run& run) {
  const bool can_decode = run.sequence && std::holds_alternative<Decode>(run.session.step());
  if (can_decode) {
    run.accounting.busy(run.latest);
  } else {
    run.accounting.idle(run.latest);
  }
}

// --- Decoding ---------------------------------------------------------------------------------

void DecodeLoop::admit() {
  const auto places = static_cast<std::size_t>(engine_.info().max_sequences);
  while (!queued_.empty() && !engine_full_ && admitted_.size() < places) {
    Run& run = *queued_.front();
    Result<SequenceId> sequence = engine_.create(run.sampling);
    if (!sequence && sequence.error().code == ErrorCode::limit_exceeded && !admitted_.empty()) {
      engine_full_ = true;  // somebody else uses the engine's sequences too
      return;
    }
    queued_.pop_front();
    if (!sequence) {
      fail(run, std::move(sequence.error()));
      continue;
    }
    run.sequence = *sequence;
    admitted_.push_back(&run);
    run.tick(now());
    note_residency(run);
  }
}

void DecodeLoop::collect() {
  batch_.clear();
  needs_.clear();
  items_.clear();
  for (Run* run : admitted_) {
    const Step step = run->session.step();
    const auto* decode = std::get_if<Decode>(&step);
    if (decode == nullptr || !run->sequence) continue;
    batch_.push_back(run);
    needs_.push_back(decode->append.size() - run->fed);
    items_.push_back({.sequence = *run->sequence,
                      .append = decode->append,
                      .sample = true,
                      .banned = decode->banned,
                      .filter = decode->filter,
                      .draft = decode->draft});
  }
  auto budget = static_cast<std::size_t>(engine_.info().max_batch_tokens);
  share_batch(needs_, budget, first_, shares_);

  std::size_t kept = 0;
  for (std::size_t i = 0; i < batch_.size(); ++i) {
    if (shares_[i] == 0) continue;
    budget -= shares_[i];
    DecodeItem item = items_[i];
    item.append = item.append.subspan(batch_[i]->fed, shares_[i]);
    item.sample = shares_[i] == needs_[i];
    if (!item.sample) {
      item.banned = {};
      item.filter = nullptr;
      item.draft = {};
    }
    items_[kept] = item;
    batch_[kept] = batch_[i];
    ++kept;
  }
  first_ = kept < batch_.size() ? (first_ + kept) % batch_.size() : 0;
  batch_.resize(kept);
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
  if (done) {
    std::size_t tokens = 0;
    for (const DecodeItem& item : items_) tokens += item.append.size() + item.draft.size();
    drafts_.decoded(tokens, to - from);
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
    if (done) {
      feed(i, sampled, from, now());
    } else if (done.error().code == ErrorCode::cancelled) {
      return;
    } else {
      fail(*batch_[i], done.error());
    }
  }
}

void DecodeLoop::feed(std::size_t item, std::span<const Token> sampled, Instant from, Instant to) {
  Run& run = *batch_[item];
  run.accounting.decoded(from - run.began, to - run.began);
  if (!items_[item].sample) {
    run.fed += items_[item].append.size();
    return;
  }
  run.fed = 0;
  std::size_t count = sampled.size();
  while (count > 1 && sampled[count - 1] == kNoToken) --count;
  drafts_.verified(items_[item].draft.size(), count - 1);
  run.session.decoded(sampled.first(count), run.tick(to));
  settle(run);
  release_held(run);
}

}  // namespace asynclm
