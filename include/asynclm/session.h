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
#include <asynclm/protocol.h>
#include <asynclm/types.h>

namespace asynclm {

// How the model writes its calls and is told of results (docs/models.md).
enum class DialectChoice : std::uint8_t {
  automatic,  // CML where the vocabulary has its markers, else the model's own
  cml,        // unsupported where it has not
  native,     // what the model's chat template says
  generic,    // JSON in a fence, explained in the prompt, whatever the template says of tools
};
// "auto", "cml", "native", "generic"
[[nodiscard]] std::string_view to_string(DialectChoice choice);
[[nodiscard]] Result<DialectChoice> parse_dialect(std::string_view text);

struct SessionConfig {
  Mode mode = Mode::async;
  DialectChoice dialect = DialectChoice::automatic;
  // In a native dialect: calls in the template's own form only; a model's other habits are text.
  bool strict_calls = false;
  std::int32_t max_generated = 2048;     // tokens that the model may write in a turn
  std::int32_t context_tokens = 4096;    // never appended beyond
  std::int32_t max_calls = 256;          // calls in all
  std::int32_t max_call_tokens = 1024;   // one call's block; a longer one is malformed
  std::int32_t max_result_bytes = 4096;  // a longer result is cut, and says so
  // Inside blocks only what the tools' schemas allow can be sampled (the token monitor).
  bool constrained = false;
  // Where they allow one thing only, it is appended and not sampled. Needs `constrained`; arguments
  // then come in the order of the schema.
  bool jump_forward = false;
  // Arguments that the model seems to copy are proposed as drafts, which the engine verifies: the
  // same tokens, in fewer decode calls. Needs `constrained`.
  bool drafts = false;
  // Other models may write to this one: it may wait for that with no call open (Session::close).
  bool awaits_messages = false;
};

// A call within its session: the index in Session::calls().
using CallKey = std::uint32_t;

// One call's life: emitted → dispatched → returned | failed | timed_out | cancelled → delivered.
struct CallRecord {
  std::string id;    // the model's name for it; empty: no interrupt is wanted
  std::string name;  // empty if the block could not be parsed
  Json arguments = Json::object();
  std::string code;            // the block's text as written
  std::vector<CallKey> needs;  // async+: calls that must have returned before this one starts
  std::optional<Outcome> outcome;
  std::string result;
  Delivery delivery = Delivery::interrupt;  // the tool's
  bool rejected = false;  // never dispatched: malformed, unknown function, invalid arguments; or in
                          // async+ one that it needs did not return
  std::optional<Time> emitted, dispatched, returned, delivered;
};

enum class FinishReason : std::uint8_t {
  stop,          // the model ended its turn and no call was open; or Session::close
  length,        // max_generated
  context_full,  // context_tokens
  stalled,       // the model waits for nothing, again and again
  cancelled,     // Session::cancel
  error,         // the engine failed; see Session::error
};
[[nodiscard]] std::string_view to_string(FinishReason reason);

// --- Steps: what the session needs next -------------------------------------------------------

// Append these tokens, then sample one that is neither banned nor kept out by the filter. Spans
// live until the next input.
struct Decode {
  std::span<const Token> append;
  std::span<const Token> banned;
  TokenFilter* filter = nullptr;  // null: everything
  // See DecodeItem. The owner may take a part of it, from its beginning, or nothing.
  std::span<const Token> draft = {};
};
// Nothing to do until any of these calls completes, or all of them; of all open ones if it names
// none. The span lives until the next input.
struct Wait {
  std::span<const CallKey> calls = {};
  bool all = false;
};
struct Done {
  FinishReason reason;
};
using Step = std::variant<Decode, Wait, Done>;

// --- Events: what happened, in order ----------------------------------------------------------

struct TextEvent {
  std::string text;  // visible text, as it is generated
};
// What a model that reasons before it answers writes there.
struct ReasoningEvent {
  std::string text;
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
// The model is paused: by its own trap, in mode sync by its call, or because it stopped while calls
// were open.
struct Trapped {
  bool by_stop = false;
};
struct Resumed {};
// What stood in the context from this position on was taken back: an engine must forget it.
struct ContextCut {
  std::int32_t position;
};
struct TurnStarted {};  // a message after the end of a turn, which has opened the next one
struct Finished {       // the turn
  FinishReason reason;
};
struct Event {
  Time time;
  std::variant<TextEvent, ReasoningEvent, ContextCut, CallEmitted, CallDispatched, CallCancelled,
               CallCompleted, InterruptDelivered, Trapped, Resumed, TurnStarted, Finished>
      what;
};

struct TokenCounts {
  std::int32_t prompt = 0;     // before the model's first token
  std::int32_t generated = 0;  // sampled from the model
  std::int32_t forced = 0;     // of calls, not sampled since nothing else was possible
  std::int32_t accepted = 0;   // of those generated: drafts, which cost no decode call of their own
  std::int32_t injected = 0;   // interrupts, and markers that close blocks
};

class CallGrammar;   // session/monitor.h
class ModelDialect;  // dialect/model_dialect.h

class Session {
 public:
  // `vocabulary` must outlive the session. `tools` is what the model may call; the prompt lists
  // them. `grammar` is what constrained sessions with the same tools, mode, dialect and
  // jump_forward share, `dialect` what all sessions of the model share; null: its own. Errors:
  // unsupported (the model has neither markers nor a chat template that can be used),
  // invalid_argument, limit_exceeded (the prompt does not fit).
  [[nodiscard]] static Result<Session> create(
      const Vocabulary& vocabulary, std::vector<ToolSpec> tools, std::vector<Message> messages,
      const SessionConfig& config, std::shared_ptr<CallGrammar> grammar = nullptr,
      std::shared_ptr<const ModelDialect> dialect = nullptr);
  // A session as save() gave it: it goes on with the same tokens, and its next Decode step appends
  // the whole context. Calls that ran are still open (dispatched, without an outcome): the owner
  // runs them again, or completes them. invalid_argument: not a saved session, or one with other
  // tools (their names and parameters) or of another vocabulary.
  [[nodiscard]] static Result<Session> load(const Vocabulary& vocabulary,
                                            std::vector<ToolSpec> tools, const Json& saved,
                                            std::shared_ptr<CallGrammar> grammar = nullptr,
                                            std::shared_ptr<const ModelDialect> dialect = nullptr);
  [[nodiscard]] Json save() const;
  ~Session();
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;

  [[nodiscard]] Step step() const;

  // Inputs. Times must not decrease.
  // The answer to a Decode step: the token, or with a draft all that were sampled (at least one).
  void decoded(std::span<const Token> sampled, Time now);
  void decoded(Token sampled, Time now) { decoded(std::span(&sampled, 1), now); }
  void started(CallKey call, Time now);  // a worker took it: dispatched time
  // Second results, and results of calls that were not dispatched, are ignored. Not between a
  // Decode step and its decoded(): the token would be taken as sampled after the interrupt.
  void completed(CallKey call, CallResult result, Time now);
  // A part of a result that is still to come. Told to the model in async+ only, as the interrupt
  // `[INTR] id part [HEAD] text [END]`; of a call without id, or that has ended, it is ignored.
  void progressed(CallKey call, std::string_view text, Time now);
  // A person or another model interrupts: `[INTR] user [HEAD] text [END]` or `agent:NAME`, once
  // the model is in no block or line; unless it is silent, it ends any wait. After a turn's end it
  // opens the next one, which goes on with the model's chat template: a user's text is the turn's,
  // whatever else the model has not been told yet stands before it as interrupts. Errors:
  // invalid_argument (another source; a session that ended as context_full or error),
  // limit_exceeded (it does not fit into the context), unsupported (the chat template).
  [[nodiscard]] Result<void> interrupt(std::string_view source, std::string_view text, Time now,
                                       Delivery delivery = Delivery::interrupt);
  // The owner withdraws a call, which the model is told. Calls that have ended, or are not there,
  // are ignored.
  void cancel_call(CallKey call, Time now);
  // Ends the turn: open calls are cancelled; Done. A message goes on.
  void cancel(Time now);
  void engine_failed(Error error, Time now);  // as cancel, reason `error`; no message goes on
  // Nobody will write any more: a session that waits for that alone is Done{stop}.
  void close(Time now);

  // Events since the last call. The buffer is reused: valid until the next input.
  [[nodiscard]] std::span<const Event> take_events();

  [[nodiscard]] const std::vector<CallRecord>& calls() const;
  [[nodiscard]] std::span<const Token> context() const;  // all tokens, also those not yet fed
  [[nodiscard]] const TokenCounts& token_counts() const;
  [[nodiscard]] std::string_view answer() const;  // all visible text of the last turn
  [[nodiscard]] Mode mode() const;
  [[nodiscard]] const std::optional<Error>& error() const;
  // The model is inside a block.
  [[nodiscard]] bool in_critical_section() const;

  struct Impl;  // session/session_impl.h

 private:
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
