// SPDX-License-Identifier: Apache-2.0
// The decode thread: owns the engine and all sessions, and is the only place where the two meet.
//
// One turn: take what is in the inbox, hand it to the sessions, act on their events, then put the
// Decode steps of all sessions into one engine call. With nothing to decode the thread sleeps in
// the inbox.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <asynclm/engine.h>

#include "runtime/draft_policy.h"
#include "runtime/inputs.h"
#include "runtime/run.h"
#include "tools/executor.h"

namespace asynclm {

class DecodeLoop {
 public:
  // All must outlive the loop; the executor's callbacks write to `inbox`.
  DecodeLoop(Engine& engine, Executor& executor, Inbox<Input>& inbox);

  // Returns after a Shutdown input, when all runs are cancelled and reported. Never throws.
  void run() noexcept;

 private:
  void turn();

  // Inputs to sessions.
  void accept(Input& input);
  void accept(StartRun& input);
  void accept(CallStarted& input);
  void accept(CallEnded& input);
  void accept(CancelRun& input);
  void accept(Shutdown& input);
  void release_held(Run& run);

  // Effects of sessions. `settle` follows each input to a session: it acts on the events and ends
  // the run if it is done.
  void settle(Run& run);
  void act(Run& run, const Event& event);
  void dispatch(Run& run, CallKey call);
  void withdraw(Run& run, CallKey call);
  void fail(Run& run, Error error);
  void finish(Run& run);

  // Decoding.
  void admit();
  void collect();
  void decode();
  void decode_one_by_one();
  void cut_drafts(std::size_t budget);
  void feed(std::size_t item, std::span<const Token> sampled, Instant from, Instant to);

  // Notes whether the run has something to decode. The seam for policies that move a paused
  // session's sequence out of the engine: for now it stays.
  void note_residency(Run& run);

  // The last resort, after an exception that no run can be blamed for: ends all of them.
  void give_up(const char* why) noexcept;

  [[nodiscard]] Run* find(RunId id);

  Engine& engine_;
  Executor& executor_;
  Inbox<Input>& inbox_;

  std::map<RunId, std::unique_ptr<Run>> runs_;
  std::vector<Run*> admitted_;  // hold a sequence
  std::deque<Run*> queued_;     // wait for one, first come first served
  bool engine_full_ = false;    // create() refused; until a sequence is dropped
  bool closing_ = false;

  // Inputs taken and not yet accepted start at next_input_: none is lost by an exception.
  std::vector<Input> inputs_;
  std::size_t next_input_ = 0;

  DraftPolicy drafts_;

  // The parts of one decode call, kept to reuse their memory.
  std::vector<Run*> batch_;
  std::vector<std::size_t> needs_, shares_;
  std::vector<DecodeItem> items_;
  std::vector<Token> sampled_;
  std::size_t first_ = 0;  // whose turn it is, when there are more sessions than batch tokens

  std::vector<std::unique_ptr<Run>> ended_;  // this turn: batch_ may still refer to them
};

}  // namespace asynclm
