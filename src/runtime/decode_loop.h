// SPDX-License-Identifier: Apache-2.0
// The decode thread: owns the engine and all sessions, and is the only place where the two meet.
//
// One turn: take what is in the inbox, hand it to the sessions, act on their events, give out the
// engine's sequences (TrapHandler), then put what the engine is to append for each session into one
// call. The engine is to hold a session's context, so what it lacks of it is appended: a prompt, an
// interrupt, a token, or what was discarded while the session waited. With nothing to decode the
// thread sleeps in the inbox.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/metrics.h>
#include <asynclm/runtime.h>

#include "base/clock.h"
#include "runtime/batch.h"
#include "runtime/cost_model.h"
#include "runtime/draft_policy.h"
#include "runtime/inputs.h"
#include "runtime/latency_model.h"
#include "runtime/published.h"
#include "runtime/run.h"
#include "runtime/trap_handler.h"
#include "tools/call_runner.h"

namespace asynclm {

// All must outlive the loop. The calls' callbacks write to `inbox`, and read the clock, on their
// own threads; the loop alone changes the models.
struct LoopContext {
  Engine& engine;
  CallRunner& calls;
  const Clock& clock;
  Inbox<Input>& inbox;
  CostModel& costs;
  LatencyModel& latency;
  Published& published;
};

class DecodeLoop {
 public:
  DecodeLoop(const LoopContext& context, const RuntimeOptions& options);

  // Takes turns until a Shutdown input, when all runs are cancelled and reported. Sleeps in the
  // inbox when there is nothing to do. Never throws.
  void run() noexcept;

  // One turn; never blocks but in the engine. False if there was nothing to decode: then nothing
  // changes before the next input or wake_at(). run() is made of these; simulations on a virtual
  // clock take them by themselves.
  bool turn() noexcept;
  [[nodiscard]] std::optional<Instant> wake_at() const { return places_.wake_at(); }

 private:
  void take_turn();

  // Inputs to sessions.
  void accept(StartRun& input);
  void accept(StartGroup& input);
  void accept(CallStarted& input);
  void accept(CallEnded& input);
  void accept(CancelRun& input);
  void accept(CancelTurn& input);
  void accept(CancelCall& input);
  void accept(CloseRun& input);
  void accept(InterruptRun& input);
  void accept(SendMessage& input);
  void accept(ReportRun& input);
  void accept(SaveRun& input);
  void accept(Shutdown& input);
  void begin(std::unique_ptr<Run> run);
  void learn(const Run& run, CallKey call, Outcome outcome, Instant at);

  // Effects of sessions. `settle` follows each input to a session: it acts on the events and ends
  // the run if it is done.
  void settle(Run& run);
  void act(Run& run, const Event& event);
  void dispatch(Run& run, CallKey call);
  void send(Run& run, CallKey call);
  void withdraw(Run& run, CallKey call);
  void fail(Run& run, Error error);
  void finish(Run& run);
  [[nodiscard]] RunReport report(Run& run, Time end) const;
  [[nodiscard]] Result<Json> saved(Run& run);
  void end_idle_groups();

  // Decoding.
  void collect();
  void cut_drafts(std::size_t budget);
  void decode();
  void decode_one_by_one();
  void feed(std::size_t item, std::span<const Token> sampled, Instant from, Instant to);

  void left_queue(std::int64_t runs, Instant at);
  void publish();

  // The last resort, after an exception that no run can be blamed for: ends all of them.
  void give_up(const char* why) noexcept;

  [[nodiscard]] Run* find(RunId id);
  [[nodiscard]] Instant now() const { return clock_.now(); }

  Engine& engine_;
  CallRunner& calls_;
  const Clock& clock_;
  Inbox<Input>& inbox_;
  CostModel& costs_;
  LatencyModel& latency_;
  Published& published_;

  Metrics metrics_;
  TrapHandler places_;
  DraftPolicy drafts_;
  Time max_gap_;
  bool learn_estimates_;

  std::map<RunId, std::unique_ptr<Run>> runs_;
  std::vector<std::shared_ptr<Group>> changed_groups_;  // that may have become idle
  bool closing_ = false;
  std::optional<Instant> left_queue_;  // when a run last did
  double queue_interval_ = 0;          // nanoseconds

  // Inputs taken and not yet accepted start at next_input_: none is lost by an exception.
  std::vector<Input> inputs_;
  std::size_t next_input_ = 0;

  // The parts of one decode call, kept to reuse their memory.
  std::vector<Run*> batch_;
  std::vector<BatchNeed> needs_;
  BatchSharer sharer_;
  std::vector<DecodeItem> items_;
  std::vector<Token> sampled_;

  std::vector<std::unique_ptr<Run>> ended_;  // this turn: batch_ may still refer to them
};

}  // namespace asynclm
