// SPDX-License-Identifier: Apache-2.0
// What every session is made of, whatever dialect its model speaks. Its parts: session.cc (the
// public face), session_text.cc (what the model wrote), session_calls.cc (calls),
// session_context.cc (what enters the context, and turns), session_save.cc. The dialects derive
// from it: cml_session.h (CML), native_session.h (the model's own form of calls).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <asynclm/session.h>

#include "cml/call_syntax.h"
#include "cml/schema.h"
#include "cml/schema_expand.h"
#include "cml/span.h"
#include "session/draft_source.h"
#include "session/monitor.h"

namespace asynclm {

// The id of interrupts by which the session itself speaks.
inline constexpr std::string_view kErrorId = "error";

// Bytes. Interrupts cut a line that goes on longer than this, but not a word of it. A line that
// reports a result of a few values is shorter, and of prose these are two or three sentences.
inline constexpr std::size_t kLongestLine = 200;
// … and what goes on longer than this is no word, or of a script without spaces. Ids and most paths
// are shorter.
inline constexpr std::size_t kLongestWord = 64;

struct Session::Impl {
  struct Tool {
    ToolSpec spec;
    ArgumentValidator validator;
  };
  struct PendingInterrupt {
    std::optional<CallKey> call;  // whose result it is
    std::string id;
    std::string text;
    Origin origin;
    Delivery delivery;
  };
  // A call of async+ that may not start yet: CallRecord::needs says what it waits for.
  struct WaitingCall {
    CallKey key;
    Json arguments;  // with futures (cml/future.h)
  };

  Impl(const Vocabulary& vocab, const SessionConfig& c) : vocabulary(vocab), config(c) {}
  virtual ~Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  enum class State : std::uint8_t {
    generating,
    awaiting_call,   // sync: the result of the call just written
    awaiting_all,    // sync-parallel: a barrier over all open calls
    awaiting_any,    // async: the next result, or message
    awaiting_named,  // async+: any or all of the calls that the trap named
    draining,        // the model has stopped; calls that it does not wait for still run
    done,
  };

  [[nodiscard]] static Result<std::unique_ptr<Impl>> make(
      const Vocabulary& vocabulary, const std::vector<ToolSpec>& specs, const SessionConfig& config,
      std::shared_ptr<CallGrammar> grammar, std::shared_ptr<const ModelDialect> dialect);
  [[nodiscard]] Result<void> add_tools(const std::vector<ToolSpec>& list);
  [[nodiscard]] Result<void> constrain(std::shared_ptr<CallGrammar> grammar,
                                       const GrammarOptions& options);
  [[nodiscard]] Json save() const;
  void load(const Json& saved);  // throws Json::exception and BadSave (session_save.cc)
  void check_wait() const;       // the same

  // --- the dialect: how the model writes calls, and is told of what happens ---

  // Appends the whole prompt to the context.
  [[nodiscard]] virtual Result<void> write_prompt(std::vector<Message> messages) = 0;
  // A token that the model has written, or could only have written.
  virtual void take(Token token, Time now) = 0;
  // Never to be sampled now.
  [[nodiscard]] virtual std::span<const Token> banned() const = 0;
  // Nothing may be appended behind what the model has written.
  [[nodiscard]] virtual bool in_critical_section() const = 0;
  // Tokens that the open block still takes.
  [[nodiscard]] virtual std::int32_t block_room() const = 0;
  // Tokens around the text of an interrupt, at most.
  [[nodiscard]] virtual std::size_t tokens_around() const = 0;
  // Appends interrupts, in their order, by append_told(). The turn goes on.
  [[nodiscard]] virtual Result<void> tell(std::vector<PendingInterrupt> interrupts, Time now) = 0;
  // What opens a new turn with everything in the queue: users' texts are its text. `begins`: for
  // each of the other interrupts, where in the tokens it begins. Changes nothing.
  struct NewTurn {
    std::vector<Token> tokens;
    std::vector<std::size_t> begins;
  };
  [[nodiscard]] virtual Result<NewTurn> new_turn() const = 0;
  // The turn has been opened.
  virtual void begin_turn() = 0;
  virtual void save_dialect(Json& out) const = 0;
  virtual void load_dialect(const Json& saved) = 0;  // throws as load()

  void begin_input() {
    if (events_taken) {
      events.clear();
      events_taken = false;
    }
  }
  template <class E>
  void emit(Time now, E&& event) {
    events.push_back(Event{now, std::forward<E>(event)});
  }
  [[nodiscard]] TokenFilter* filter() {
    return monitor && monitor->is_open() ? &*monitor : nullptr;
  }
  // The model is paused: it has not ended its turn.
  [[nodiscard]] bool waiting() const {
    return state != State::generating && state != State::draining && state != State::done;
  }
  // There is, or will be, something that ends a wait.
  [[nodiscard]] bool can_wait() const {
    return open_named + open_silent > 0 || !collected.empty() || config.awaits_messages ||
           queue_wakes();
  }
  [[nodiscard]] bool async_plus() const { return config.mode == Mode::async_plus; }

  // --- what the model wrote ---

  void jump_forward(Time now);
  void propose();
  void on_text(std::string_view text, Time now);
  // A call was written and has its record. `needed`: ids of calls that it must come after.
  void on_call(CallKey key, const CallSyntax& syntax, const std::vector<std::string>& needed,
               Time now);
  // The model's turn is over, and the token that ends it is in the context.
  void end_turn(Time now);
  void reject(CallKey key, std::string reason, Time now);
  void reject_anonymous(CallKey key, std::string reason, Time now);
  void reject_by_id(CallKey key, std::string reason, Time now);
  [[nodiscard]] std::string id_problem(const std::string& id) const;
  void dispatch(CallKey key, Time now);
  [[nodiscard]] int& open_calls(const CallRecord& call);
  void end_call(CallKey key, CallResult result, Time now);
  void withdraw(CallKey key, Time now);
  void wake(CallKey ended, Time now);
  void wait_for_calls(Time now);
  [[nodiscard]] Wait wait() const;
  void refuse_wait(std::string_view reason, Time now);

  // --- async+ ---

  [[nodiscard]] std::optional<CallKey> find_call(std::string_view id) const;
  [[nodiscard]] Result<std::vector<CallKey>> find_needs(const std::vector<std::string>& ids) const;
  void hold(CallKey key, Json arguments, Time now);
  void start(const WaitingCall& call, Time now);
  [[nodiscard]] Result<Json> with_results(const WaitingCall& call) const;
  void not_run(CallKey key, std::string reason, Time now);
  void on_ended(CallKey key, Time now);
  void on_cancel(CallKey key, const CallSyntax& syntax, Time now);
  void wait_for_named(const std::vector<std::string>& ids, std::string_view which, Time now);
  [[nodiscard]] bool named_have_ended() const;

  // --- what enters the context ---

  [[nodiscard]] bool has_room(std::size_t tokens) const {
    return context.size() + tokens <= static_cast<std::size_t>(config.context_tokens);
  }
  // Takes back what stands in the context from there on; an engine must forget it.
  void cut_context(std::size_t size, Time now);
  // Interrupts as they stand in the context. limit_exceeded: they do not fit, nothing was done.
  [[nodiscard]] Result<void> append_told(std::span<const Token> tokens,
                                         std::span<PendingInterrupt> interrupts, Time now);
  void queue_interrupt(PendingInterrupt interrupt);
  // Something in the queue is not silent.
  [[nodiscard]] bool queue_wakes() const;
  [[nodiscard]] bool queue_fits() const;
  void deliver_interrupts(bool idle, Time now);
  void resume(Time now);
  [[nodiscard]] Result<void> open_turn(Time now);
  void finish(FinishReason reason, Time now);
  void flush_text(Time now);
  // An interrupt now would stand inside a line, or inside a word of a long one.
  [[nodiscard]] bool in_line() const {
    return (line_bytes > 0 && line_bytes < kLongestLine) ||
           (word_bytes > 0 && word_bytes < kLongestWord);
  }
  void check_limits(Time now);
  void after_input(Time now);

  const Vocabulary& vocabulary;
  SessionConfig config;
  std::optional<Monitor> monitor;  // config.constrained
  DraftSource source;              // config.drafts
  std::span<const Token> draft;    // of the next step; the monitor's
  std::vector<ToolSpec> specs;
  std::map<std::string, Tool, std::less<>> tools;

  State state = State::generating;
  FinishReason finish_reason = FinishReason::stop;
  std::vector<Token> context;
  std::size_t fed = 0;  // tokens of the context that the engine has
  TokenCounts counts;
  std::int32_t turn_began = 0;  // counts.generated at the turn's start

  std::vector<CallRecord> calls;
  std::unordered_set<std::string> used_ids;
  std::vector<CallKey> collected;  // sync-parallel: written, not yet dispatched
  CallKey awaited = 0;             // State::awaiting_call
  std::vector<WaitingCall> held;   // async+: in the order of the calls
  std::vector<CallKey> named;      // State::awaiting_named
  bool wait_for_all = false;
  // Accepted calls without an outcome: with an id and a result that wakes, with one that does not,
  // and without an id, which produce no interrupt.
  int open_named = 0, open_silent = 0, open_unnamed = 0;
  int idle_traps = 0;

  std::vector<PendingInterrupt> queue;
  // Of the line of text that the context ends with, and of its last word, complete or not.
  std::size_t line_bytes = 0, word_bytes = 0;
  std::vector<Event> events;
  bool events_taken = false;
  std::string answer;
  std::size_t answer_sent = 0;  // bytes of the answer already in TextEvents
  std::optional<Error> error;
};

}  // namespace asynclm
