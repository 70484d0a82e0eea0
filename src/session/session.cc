// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <format>
#include <map>
#include <unordered_set>
#include <utility>

#include <asynclm/session.h>

#include "base/utf8.h"
#include "cml/call_syntax.h"
#include "cml/chat_template.h"
#include "cml/markers.h"
#include "cml/parser.h"
#include "cml/schema.h"
#include "cml/schema_expand.h"
#include "cml/span.h"
#include "cml/writer.h"

namespace asynclm {
namespace {

// Interrupt ids that are not calls; a model may not use them.
constexpr std::string_view kErrorId = "error";
constexpr std::string_view kReservedIds[] = {kErrorId, "user", "agent"};

// A model that waits for nothing is told so; one that does not understand is stopped.
constexpr int kMaxIdleTraps = 3;

struct Tool {
  ToolSpec spec;
  ArgumentValidator validator;
};

struct PendingInterrupt {
  std::optional<CallKey> call;
  std::string id;
  std::string text;
  Origin origin;
};

}  // namespace

struct Session::Impl {
  Impl(const Vocabulary& vocab, const Markers& m, const SessionConfig& c)
      : vocabulary(vocab), markers(m), config(c), parser(vocab, m) {}

  enum class State : std::uint8_t {
    generating,
    awaiting_call,  // sync: the result of the call just written
    awaiting_all,   // sync-parallel: a barrier over all open calls
    awaiting_any,   // async: the next result
    draining,       // the model has stopped; calls without an id still run
    done,
  };

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
  [[nodiscard]] bool waiting() const { return state != State::generating && state != State::done; }

  // --- what the model wrote ---

  void on_text(Token token, Time now);
  void on_call(Time now);
  void on_malformed(Token token, bool was_in_block, Time now);
  void on_trap(Time now);
  void on_stop(Token token, Time now);
  void reject(CallKey key, std::string reason, Time now);
  void reject_anonymous(CallKey key, std::string reason, Time now);
  [[nodiscard]] std::string id_problem(const std::string& id) const;
  void dispatch(CallKey key, Time now);
  void wait_for_calls(Time now);

  // --- what enters the context ---

  [[nodiscard]] bool has_room(std::size_t tokens) const {
    return context.size() + tokens <= static_cast<std::size_t>(config.context_tokens);
  }
  void append_control(Marker marker);
  void queue_interrupt(std::optional<CallKey> call, std::string id, std::string text,
                       Origin origin);
  void deliver_interrupts(Time now);
  void resume(Time now);
  void finish(FinishReason reason, Time now);
  void flush_text(Time now);
  void check_limits(Time now);

  const Vocabulary& vocabulary;
  Markers markers;
  SessionConfig config;
  Parser parser;
  std::map<std::string, Tool, std::less<>> tools;

  State state = State::generating;
  FinishReason finish_reason = FinishReason::stop;
  std::vector<Token> context;
  std::size_t fed = 0;  // tokens of the context that the engine has
  TokenCounts counts;

  std::vector<CallRecord> calls;
  std::unordered_set<std::string> used_ids;
  std::vector<CallKey> collected;  // sync-parallel: written, not yet dispatched
  CallKey awaited = 0;             // State::awaiting_call
  int open_named = 0;              // dispatched or collected calls with an id, without an outcome
  int open_unnamed = 0;            // the same without an id: they produce no interrupt
  int idle_traps = 0;

  std::vector<PendingInterrupt> queue;
  std::vector<Event> events;
  bool events_taken = false;
  std::string answer;
  std::size_t answer_sent = 0;  // bytes of the answer already in TextEvents
  std::optional<Error> error;
};

// --- what the model wrote -----------------------------------------------------------------------

void Session::Impl::flush_text(Time now) {
  const std::size_t complete = complete_utf8_prefix(answer, answer_sent);
  if (complete == answer_sent) return;
  emit(now, TextEvent{answer.substr(answer_sent, complete - answer_sent)});
  answer_sent = complete;
}

void Session::Impl::on_text(Token token, Time now) {
  vocabulary.append_piece(token, answer);
  flush_text(now);
}

std::string Session::Impl::id_problem(const std::string& id) const {
  if (!is_identifier(id)) {
    return std::format("{} is not a call id: use letters, digits and '_'", schema::shown(id));
  }
  if (std::ranges::find(kReservedIds, id) != std::end(kReservedIds)) {
    return std::format("'{}' is reserved and cannot be a call id", id);
  }
  if (used_ids.contains(id)) {
    return std::format("call id '{}' was already used: choose a new one", id);
  }
  return {};
}

void Session::Impl::reject(CallKey key, std::string reason, Time now) {
  CallRecord& call = calls[key];
  call.rejected = true;
  call.outcome = Outcome::failed;
  call.result = std::move(reason);
  emit(now, CallCompleted{key});
  queue_interrupt(key, call.id, "error: " + call.result, Origin::runtime);
}

// The block has no id under which an answer could be given without confusion.
void Session::Impl::reject_anonymous(CallKey key, std::string reason, Time now) {
  reject(key, std::move(reason), now);
  queue.back().id = kErrorId;
}

void Session::Impl::on_call(Time now) {
  const auto key = static_cast<CallKey>(calls.size());
  CallRecord& call = calls.emplace_back();
  call.emitted = now;
  call.code = parser.code();
  const std::string id(parser.id());
  emit(now, CallEmitted{key});
  idle_traps = 0;
  if (!id.empty()) {
    if (std::string problem = id_problem(id); !problem.empty()) {
      return reject_anonymous(key, std::move(problem), now);
    }
    call.id = id;
    used_ids.insert(id);
  }
  const auto refuse = [&](std::string reason) {
    if (call.id.empty()) return reject_anonymous(key, std::move(reason), now);
    return reject(key, std::move(reason), now);
  };
  if (static_cast<std::int32_t>(calls.size()) > config.max_calls) {
    return refuse(std::format("no more than {} calls are allowed", config.max_calls));
  }
  auto syntax = parse_call(call.code);
  if (!syntax) return refuse("malformed call: " + syntax.error().message);
  call.name = syntax->name;
  const auto tool = tools.find(syntax->name);
  if (tool == tools.end()) {
    return refuse(std::format("unknown function {}", schema::shown(call.name)));
  }
  call.arguments = syntax->named;  // as written, for the record, should the check refuse them
  auto arguments = tool->second.validator.check(syntax->positional, syntax->named);
  if (!arguments) return refuse(arguments.error().message);
  call.arguments = std::move(*arguments);

  ++(call.id.empty() ? open_unnamed : open_named);
  if (config.mode == Mode::sync_parallel) {
    collected.push_back(key);
    return;
  }
  dispatch(key, now);
  if (config.mode == Mode::sync && !call.id.empty()) {
    awaited = key;
    state = State::awaiting_call;
    emit(now, Trapped{});
  }
}

void Session::Impl::dispatch(CallKey key, Time now) {
  calls[key].dispatched = now;
  emit(now, CallDispatched{key});
}

// The context stays one that a model could have written: the token that broke a rule is left out of
// it, and a broken block is closed.
void Session::Impl::on_malformed(Token token, bool was_in_block, Time now) {
  const bool opens_block = parser.in_block();
  if (!has_room(opens_block ? 2 : 1)) return finish(FinishReason::context_full, now);
  if (was_in_block) append_control(Marker::end);
  if (opens_block) context.push_back(token);
  const auto key = static_cast<CallKey>(calls.size());
  CallRecord& call = calls.emplace_back();
  call.emitted = now;
  call.code = parser.code();
  emit(now, CallEmitted{key});
  reject_anonymous(key, std::format("malformed block: {}", parser.problem()), now);
}

void Session::Impl::on_trap(Time now) {
  if (!has_room(1)) return finish(FinishReason::context_full, now);
  append_control(Marker::end);
  emit(now, Trapped{});
  wait_for_calls(now);
}

// Pauses the model until a result is there. It may be there already.
void Session::Impl::wait_for_calls(Time now) {
  if (config.mode == Mode::sync_parallel) {
    for (const CallKey key : collected) dispatch(key, now);
    collected.clear();
  }
  if (!queue.empty() && config.mode != Mode::sync_parallel) return resume(now);
  if (open_named > 0) {
    state = config.mode == Mode::sync_parallel ? State::awaiting_all : State::awaiting_any;
    return;
  }
  if (!queue.empty()) return resume(now);
  // Nothing will ever arrive.
  if (++idle_traps >= kMaxIdleTraps) return finish(FinishReason::stalled, now);
  queue_interrupt(std::nullopt, std::string(kErrorId),
                  "error: no call is open, there is nothing to wait for", Origin::runtime);
  resume(now);
}

void Session::Impl::on_stop(Token token, Time now) {
  if (open_named > 0 || !queue.empty()) {
    // The model stopped without a trap: its calls' results are delivered all the same, and it may
    // go on. The end token does not enter the context; a trap stands in its place, so that the
    // context stays one that the model was trained on.
    append_control(Marker::trap);
    return on_trap(now);
  }
  context.push_back(token);
  if (!collected.empty()) {
    for (const CallKey key : std::exchange(collected, {})) dispatch(key, now);
  }
  if (open_unnamed > 0) {
    state = State::draining;
    return;
  }
  finish(FinishReason::stop, now);
}

// --- what enters the context --------------------------------------------------------------------

void Session::Impl::append_control(Marker marker) {
  context.push_back(markers.token(marker));
  ++counts.injected;
}

void Session::Impl::queue_interrupt(std::optional<CallKey> call, std::string id, std::string text,
                                    Origin origin) {
  const auto limit = static_cast<std::size_t>(config.max_result_bytes);
  if (text.size() > limit) {
    const std::size_t total = text.size();
    text.resize(complete_utf8_prefix(std::string_view(text).substr(0, limit), 0));
    text += std::format("… (cut: {} bytes in all)", total);
  }
  queue.push_back({call, std::move(id), std::move(text), origin});
}

void Session::Impl::deliver_interrupts(Time now) {
  std::vector<Token> tokens;
  for (PendingInterrupt& interrupt : std::exchange(queue, {})) {
    tokens.clear();
    for (const Span& span :
         interrupt_spans(markers, interrupt.id, interrupt.text, interrupt.origin)) {
      if (auto ok = append_tokens(vocabulary, span, tokens); !ok) {
        error = ok.error();
        return finish(FinishReason::error, now);
      }
    }
    // Room for the token that answers.
    if (!has_room(tokens.size() + 1)) return finish(FinishReason::context_full, now);
    const auto position = static_cast<std::int32_t>(context.size());
    context.insert(context.end(), tokens.begin(), tokens.end());
    counts.injected += static_cast<std::int32_t>(tokens.size());
    if (const auto call = interrupt.call) calls[*call].delivered = now;
    emit(now, InterruptDelivered{interrupt.call, std::move(interrupt.id), std::move(interrupt.text),
                                 position});
  }
}

void Session::Impl::resume(Time now) {
  state = State::generating;
  emit(now, Resumed{});
  deliver_interrupts(now);
}

void Session::Impl::finish(FinishReason reason, Time now) {
  if (state == State::done) return;
  state = State::done;
  finish_reason = reason;
  collected.clear();
  for (CallKey key = 0; key < calls.size(); ++key) {
    CallRecord& call = calls[key];
    if (call.outcome) continue;
    call.outcome = Outcome::cancelled;
    call.result = "cancelled: the session ended";
    call.returned = now;
    if (call.dispatched) emit(now, CallCancelled{key});
    emit(now, CallCompleted{key});
  }
  open_named = open_unnamed = 0;
  if (answer_sent < answer.size()) {  // an incomplete character that will not be completed
    emit(now, TextEvent{answer.substr(answer_sent)});
    answer_sent = answer.size();
  }
  emit(now, Finished{reason});
}

void Session::Impl::check_limits(Time now) {
  if (state != State::generating) return;
  if (counts.generated >= config.max_generated) return finish(FinishReason::length, now);
  if (!has_room(1)) finish(FinishReason::context_full, now);
}

// --- the public face ----------------------------------------------------------------------------

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Result<Session> Session::create(const Vocabulary& vocabulary, std::vector<ToolSpec> tools,
                                std::vector<Message> messages, const SessionConfig& config) {
  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  if (config.max_generated < 1 || config.context_tokens < 1 || config.max_calls < 0 ||
      config.max_result_bytes < 1) {
    return fail(ErrorCode::invalid_argument,
                "session limits (max_generated, context_tokens, max_result_bytes) must be at least "
                "1 and max_calls at least 0");
  }
  auto impl = std::make_unique<Impl>(vocabulary, *markers, config);

  std::vector<TypedMessage> typed = {
      {"system", {{tools_document(config.mode, tools), Origin::system}}}};
  for (Message& message : messages) {
    if (message.role == "system") {
      if (typed.front().content.size() > 1) typed.front().content.push_back({"\n", Origin::system});
      typed.front().content.push_back({std::move(message.content), Origin::system});
    } else if (message.role == "user" || message.role == "assistant") {
      const Origin origin = message.role == "user" ? Origin::user : Origin::assistant;
      typed.push_back({std::move(message.role), {{std::move(message.content), origin}}});
    } else {
      return fail(
          ErrorCode::invalid_argument,
          std::format("unknown message role '{}': use system, user or assistant", message.role));
    }
  }
  if (typed.back().role != "user") {
    return fail(ErrorCode::invalid_argument, "the last message must be of role user");
  }
  for (ToolSpec& spec : tools) {
    auto validator = ArgumentValidator::compile(spec);
    if (!validator) return std::unexpected(validator.error());
    std::string name = spec.name;
    if (!impl->tools.try_emplace(name, Tool{std::move(spec), std::move(*validator)}).second) {
      return fail(ErrorCode::invalid_argument, std::format("tool '{}' is listed twice", name));
    }
  }
  const auto spans = render_chat(vocabulary, typed);
  if (!spans) return std::unexpected(spans.error());
  for (const Span& span : *spans) {
    if (auto ok = append_tokens(vocabulary, span, impl->context); !ok) {
      return std::unexpected(ok.error());
    }
  }
  if (impl->context.empty()) {
    return fail(ErrorCode::unsupported, "the model's chat template renders an empty prompt");
  }
  if (impl->context.size() >= static_cast<std::size_t>(config.context_tokens)) {
    return fail(ErrorCode::limit_exceeded,
                std::format("the prompt has {} tokens, the context holds {}: list fewer tools, "
                            "shorten the task or raise the context size",
                            impl->context.size(), config.context_tokens));
  }
  impl->counts.prompt = static_cast<std::int32_t>(impl->context.size());
  return Session(std::move(impl));
}

Step Session::step() const {
  const Impl& s = *impl_;
  if (s.state == Impl::State::done) return Done{s.finish_reason};
  if (s.state != Impl::State::generating) return Wait{};
  return Decode{std::span(s.context).subspan(s.fed), s.parser.banned()};
}

void Session::decoded(Token sampled, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (s.state != Impl::State::generating) return;
  if (sampled < 0 || sampled >= s.vocabulary.size()) {
    s.error =
        Error{ErrorCode::engine, std::format("the engine sampled {}, which is no token of the "
                                             "vocabulary",
                                             sampled)};
    return s.finish(FinishReason::error, now);
  }
  s.fed = s.context.size();
  ++s.counts.generated;
  const bool was_in_block = s.parser.in_block();
  const Parser::Event event = s.parser.feed(sampled);
  if (event != Parser::Event::end_of_turn && event != Parser::Event::malformed) {
    s.context.push_back(sampled);
  }
  switch (event) {
    case Parser::Event::none:
      break;
    case Parser::Event::text:
      s.on_text(sampled, now);
      break;
    case Parser::Event::call:
      s.on_call(now);
      break;
    case Parser::Event::trap:
      s.on_trap(now);
      break;
    case Parser::Event::end_of_turn:
      s.on_stop(sampled, now);
      break;
    case Parser::Event::malformed:
      s.on_malformed(sampled, was_in_block, now);
      break;
  }
  if (s.state == Impl::State::generating && !s.parser.in_block()) s.deliver_interrupts(now);
  s.check_limits(now);
}

void Session::started(CallKey call, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (call >= s.calls.size()) return;
  CallRecord& record = s.calls[call];
  if (record.dispatched && !record.outcome) record.dispatched = now;
}

void Session::completed(CallKey key, CallResult result, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (key >= s.calls.size() || s.state == Impl::State::done) return;
  CallRecord& call = s.calls[key];
  if (!call.dispatched || call.outcome) return;
  call.outcome = result.outcome;
  call.result = std::move(result.text);
  call.returned = now;
  s.emit(now, CallCompleted{key});
  if (call.id.empty()) {
    --s.open_unnamed;
    if (s.state == Impl::State::draining && s.open_unnamed == 0) s.finish(FinishReason::stop, now);
    return;
  }
  --s.open_named;
  const bool ok = *call.outcome == Outcome::returned;
  s.queue_interrupt(key, call.id, ok ? call.result : "error: " + call.result,
                    ok ? Origin::tool_result : Origin::tool_error);
  switch (s.state) {
    case Impl::State::awaiting_call:
      if (key == s.awaited) s.resume(now);
      break;
    case Impl::State::awaiting_any:
      s.resume(now);
      break;
    case Impl::State::awaiting_all:
      if (s.open_named == 0) {
        // A barrier has no order of arrival: the order of the calls makes runs reproducible.
        std::ranges::stable_sort(s.queue, {}, [](const PendingInterrupt& i) { return i.call; });
        s.resume(now);
      }
      break;
    case Impl::State::generating:
      if (!s.parser.in_block()) s.deliver_interrupts(now);
      break;
    case Impl::State::draining:
    case Impl::State::done:
      break;
  }
  s.check_limits(now);
}

void Session::cancel(Time now) {
  impl_->begin_input();
  impl_->finish(FinishReason::cancelled, now);
}

void Session::engine_failed(Error error, Time now) {
  impl_->begin_input();
  if (impl_->state == Impl::State::done) return;
  impl_->error = std::move(error);
  impl_->finish(FinishReason::error, now);
}

Result<void> Session::add_user_message(std::string_view text, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (s.state != Impl::State::done || s.finish_reason != FinishReason::stop) {
    return fail(ErrorCode::invalid_argument,
                "a further message can be added only after the session has stopped normally");
  }
  if (s.counts.generated >= s.config.max_generated) {
    return fail(
        ErrorCode::limit_exceeded,
        std::format("the session has used up its {} generated tokens", s.config.max_generated));
  }
  const auto spans = render_next_turn(s.vocabulary, {std::string(text), Origin::user});
  if (!spans) return std::unexpected(spans.error());
  std::vector<Token> tokens;
  for (const Span& span : *spans) {
    if (auto ok = append_tokens(s.vocabulary, span, tokens); !ok) return ok;
  }
  if (!s.has_room(tokens.size() + 1)) {
    return fail(ErrorCode::limit_exceeded, "the message does not fit into the context");
  }
  s.context.insert(s.context.end(), tokens.begin(), tokens.end());
  s.counts.injected += static_cast<std::int32_t>(tokens.size());
  s.answer.clear();
  s.answer_sent = 0;
  s.idle_traps = 0;
  s.state = Impl::State::generating;
  s.emit(now, Resumed{});
  return {};
}

std::span<const Event> Session::take_events() {
  if (impl_->events_taken) return {};  // those of the last input have been handed out
  impl_->events_taken = true;
  return impl_->events;
}

const std::vector<CallRecord>& Session::calls() const { return impl_->calls; }
std::span<const Token> Session::context() const { return impl_->context; }
const TokenCounts& Session::token_counts() const { return impl_->counts; }
std::string_view Session::answer() const { return impl_->answer; }
Mode Session::mode() const { return impl_->config.mode; }
const std::optional<Error>& Session::error() const { return impl_->error; }
bool Session::in_critical_section() const { return impl_->parser.in_block(); }

std::string_view to_string(Mode mode) {
  switch (mode) {
    case Mode::sync:
      return "sync";
    case Mode::sync_parallel:
      return "sync-parallel";
    case Mode::async:
      return "async";
  }
  return "?";
}

Result<Mode> parse_mode(std::string_view text) {
  for (const Mode mode : {Mode::sync, Mode::sync_parallel, Mode::async}) {
    if (to_string(mode) == text) return mode;
  }
  return fail(ErrorCode::invalid_argument,
              std::format("unknown mode '{}': use async, sync or sync-parallel", text));
}

std::string_view to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::context_full:
      return "context_full";
    case FinishReason::stalled:
      return "stalled";
    case FinishReason::cancelled:
      return "cancelled";
    case FinishReason::error:
      return "error";
  }
  return "?";
}

}  // namespace asynclm
