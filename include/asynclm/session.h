// SPDX-License-Identifier: Apache-2.0
// One conversation as a state machine without I/O, clock or engine (paper sections 3 and 5).
//
// The owner loops: ask step(); for Decode feed the tokens to an engine and hand the sampled token
// to decoded(); for Wait hand in results with completed(); act on take_events(). Every input
// carries its time, so the same code runs on a real engine, a fake one and a virtual clock.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/tool.h>
#include <asynclm/types.h>

namespace asynclm {

enum class Mode : std::uint8_t {
  sync,           // the model waits for each call
  sync_parallel,  // calls are collected until the model traps, run together, all awaited
  async,          // calls run while the model goes on; results are interrupts (the paper)
};
[[nodiscard]] std::string_view to_string(Mode mode);  // "sync", "sync-parallel", "async"
[[nodiscard]] Result<Mode> parse_mode(std::string_view text);

struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

struct SessionConfig {
  Mode mode = Mode::async;
  std::int32_t max_generated = 2048;     // tokens that the model may write, in all turns
  std::int32_t context_tokens = 4096;    // never appended beyond
  std::int32_t max_calls = 256;          // calls in all
  std::int32_t max_result_bytes = 4096;  // a longer result is cut, and says so
};

// A call within its session: the index in Session::calls().
using CallKey = std::uint32_t;

// One call's life: emitted → dispatched → returned | failed | timed_out | cancelled → delivered.
struct CallRecord {
  std::string id;    // the model's name for it; empty: no interrupt is wanted
  std::string name;  // empty if the block could not be parsed
  Json arguments = Json::object();
  std::string code;  // the block's text as written
  std::optional<Outcome> outcome;
  std::string result;
  bool rejected = false;  // never dispatched: malformed, unknown function, invalid arguments
  std::optional<Time> emitted, dispatched, returned, delivered;
};

enum class FinishReason : std::uint8_t {
  stop,          // the model ended its turn and no call was open
  length,        // max_generated
  context_full,  // context_tokens
  stalled,       // the model waits for nothing, again and again
  cancelled,     // Session::cancel
  error,         // the engine failed; see Session::error
};
[[nodiscard]] std::string_view to_string(FinishReason reason);

// --- Steps: what the session needs next -------------------------------------------------------

// Append these tokens, then sample one that is not banned. Spans live until the next input.
struct Decode {
  std::span<const Token> append;
  std::span<const Token> banned;
};
struct Wait {};  // nothing to do until a call completes
struct Done {
  FinishReason reason;
};
using Step = std::variant<Decode, Wait, Done>;

// --- Events: what happened, in order ----------------------------------------------------------

struct TextEvent {
  std::string text;  // visible text, as it is generated
};
struct CallEmitted {
  CallKey call;  // the block closed; see Session::calls()
};
struct CallDispatched {
  CallKey call;  // to be executed now: the owner must start it
};
struct CallCancelled {
  CallKey call;  // to be stopped now; its outcome is already recorded
};
struct CallCompleted {
  CallKey call;
};
// An interrupt entered the context. `call` is empty for messages of the session itself.
struct InterruptDelivered {
  std::optional<CallKey> call;
  std::string id, text;
  std::int32_t position;  // index of its first token in the context
};
struct Trapped {};  // the model is paused: by its own trap, or in mode sync by its call
struct Resumed {};
struct Finished {
  FinishReason reason;
};
struct Event {
  Time time;
  std::variant<TextEvent, CallEmitted, CallDispatched, CallCancelled, CallCompleted,
               InterruptDelivered, Trapped, Resumed, Finished>
      what;
};

struct TokenCounts {
  std::int32_t prompt = 0;     // before the model's first token
  std::int32_t generated = 0;  // sampled from the model
  std::int32_t injected = 0;   // interrupts and forced markers
};

class Session {
 public:
  // `vocabulary` must outlive the session and must have the five markers as control tokens
  // (unsupported if not). `tools` is what the model may call; the prompt lists them.
  [[nodiscard]] static Result<Session> create(const Vocabulary& vocabulary,
                                              std::vector<ToolSpec> tools,
                                              std::vector<Message> messages,
                                              const SessionConfig& config);
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  [[nodiscard]] Step step() const;

  // Inputs. Times must not decrease.
  void decoded(Token sampled, Time now);  // the answer to a Decode step
  void started(CallKey call, Time now);   // a worker took it: dispatched time
  // Second results, and results of calls that were not dispatched, are ignored. Not between a
  // Decode step and its decoded(): the token would be taken as sampled after the interrupt.
  void completed(CallKey call, CallResult result, Time now);
  void cancel(Time now);                      // open calls are cancelled; Done
  void engine_failed(Error error, Time now);  // as cancel, reason `error`

  // A further user message after Done{stop}; the session then goes on.
  [[nodiscard]] Result<void> add_user_message(std::string_view text, Time now);

  // Events since the last call. The buffer is reused: valid until the next input.
  [[nodiscard]] std::span<const Event> take_events();

  [[nodiscard]] const std::vector<CallRecord>& calls() const;
  [[nodiscard]] std::span<const Token> context() const;  // all tokens, also those not yet fed
  [[nodiscard]] const TokenCounts& token_counts() const;
  [[nodiscard]] std::string_view answer() const;  // all visible text of the last turn
  [[nodiscard]] Mode mode() const;
  [[nodiscard]] const std::optional<Error>& error() const;
  [[nodiscard]] bool in_critical_section() const;  // the model is inside a block

 private:
  struct Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
