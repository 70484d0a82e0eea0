// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <format>
#include <map>
#include <ranges>
#include <unordered_set>
#include <utility>

#include <asynclm/session.h>

#include "base/utf8.h"
#include "cml/call_syntax.h"
#include "cml/chat_template.h"
#include "cml/future.h"
#include "cml/markers.h"
#include "cml/parser.h"
#include "cml/schema.h"
#include "cml/schema_expand.h"
#include "cml/span.h"
#include "cml/token_mask.h"
#include "cml/writer.h"
#include "session/draft_source.h"
#include "session/marker_filter.h"
#include "session/monitor.h"

namespace asynclm {
namespace {

// The id of interrupts by which the session itself speaks.
constexpr std::string_view kErrorId = "error";

// A model that waits for nothing is told so; one that does not understand is stopped.
constexpr int kMaxIdleTraps = 3;

struct Tool {
  ToolSpec spec;
  ArgumentValidator validator;
};

struct PendingInterrupt {
  std::optional<CallKey> call;  // whose result it is
  std::string id;
  std::string text;
  Origin origin;
};

// A call of async+ that may not start yet: CallRecord::needs says what it waits for.
struct WaitingCall {
  CallKey key;
  Json arguments;  // with futures (cml/future.h)
};

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (const auto part : std::views::split(text, ' ')) {
    if (!part.empty()) out.emplace_back(part.begin(), part.end());
  }
  return out;
}

}  // namespace

struct Session::Impl {
  Impl(const Vocabulary& vocab, const Markers& m, const SessionConfig& c)
      : vocabulary(vocab),
        markers(m),
        config(c),
        parser(vocab, m, c.max_call_tokens, c.mode == Mode::async_plus) {
    for (std::size_t i = 0; i < kMarkerCount; ++i) {
      const auto marker = static_cast<Marker>(i);
      marker_tokens[i] =
          m.are_spelled() ? vocab.encode(kMarkerSpellings[i]) : std::vector<Token>{m.token(marker)};
    }
    if (m.are_spelled()) marker_filter.emplace(vocab, parser);
  }

  enum class State : std::uint8_t {
    generating,
    awaiting_call,   // sync: the result of the call just written
    awaiting_all,    // sync-parallel: a barrier over all open calls
    awaiting_any,    // async: the next result
    awaiting_named,  // async+: any or all of the calls that the trap named
    draining,        // the model has stopped; calls without an id still run
    done,
  };

  // The prompt and the tools.
  [[nodiscard]] Result<void> prepare(std::vector<ToolSpec> specs, std::vector<Message> messages,
                                     std::shared_ptr<CallGrammar> grammar);

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
    if (marker_filter) return &*marker_filter;
    return monitor && monitor->is_open() ? &*monitor : nullptr;
  }
  [[nodiscard]] bool waiting() const { return state != State::generating && state != State::done; }
  [[nodiscard]] bool async_plus() const { return config.mode == Mode::async_plus; }

  // --- what the model wrote ---

  void take(Token token, Time now);
  void fast_forward(Time now);
  void propose();
  void on_text(std::string_view text, Time now);
  void on_call(Time now);
  void on_malformed(bool was_in_block, Time now);
  void on_trap(Time now);
  void on_stop(Token token, Time now);
  void reject(CallKey key, std::string reason, Time now);
  void reject_anonymous(CallKey key, std::string reason, Time now);
  void reject_by_id(CallKey key, std::string reason, Time now);
  [[nodiscard]] std::string id_problem(const std::string& id) const;
  void dispatch(CallKey key, Time now);
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
  void wait_for_named(Time now);
  [[nodiscard]] bool named_have_ended() const;

  // --- what enters the context ---

  [[nodiscard]] bool has_room(std::size_t tokens) const {
    return context.size() + tokens <= static_cast<std::size_t>(config.context_tokens);
  }
  void leave_out(std::size_t bytes, bool or_all);
  [[nodiscard]] std::size_t tokens_of(Marker marker) const {
    return marker_tokens[static_cast<std::size_t>(marker)].size();
  }
  void append_marker(Marker marker);
  void queue_interrupt(std::optional<CallKey> call, std::string id, std::string text,
                       Origin origin);
  void deliver_interrupts(Time now);
  void resume(Time now);
  void finish(FinishReason reason, Time now);
  void flush_text(Time now);
  void check_limits(Time now);
  void after_input(Time now);

  const Vocabulary& vocabulary;
  Markers markers;
  std::array<std::vector<Token>, kMarkerCount> marker_tokens;
  SessionConfig config;
  Parser parser;
  std::optional<MarkerFilter> marker_filter;  // config.spelled_markers
  std::optional<Monitor> monitor;             // config.constrained
  DraftSource source;                         // config.drafts
  std::span<const Token> draft;               // of the next step; the monitor's
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
  std::vector<WaitingCall> held;   // async+: in the order of the calls
  std::vector<CallKey> named;      // State::awaiting_named
  bool wait_for_all = false;
  int open_named = 0;    // accepted calls with an id, without an outcome
  int open_unnamed = 0;  // the same without an id: they produce no interrupt
  int idle_traps = 0;

  std::vector<PendingInterrupt> queue;
  std::vector<Event> events;
  bool events_taken = false;
  std::string answer;
  std::size_t answer_sent = 0;  // bytes of the answer already in TextEvents
  std::optional<Error> error;
};

// --- what the model wrote -----------------------------------------------------------------------

// A token that the model has written, or could only have written.
void Session::Impl::take(Token token, Time now) {
  context.push_back(token);
  parser.read(token);
  for (bool goes_on = true; goes_on;) {
    const bool was_in_block = parser.in_block();
    const auto next = parser.next();
    if (!next) return;
    const Parser::Event event = *next;
    if (monitor) {
      if (parser.in_block() && (!was_in_block || event == Parser::Event::malformed)) {
        monitor->open(*markers.marker(token), !calls.empty());
      } else if (event == Parser::Event::malformed) {
        monitor->close();
      } else if (was_in_block) {
        monitor->advance(token);
      }
    }
    // What breaks a rule, or ends the turn, does not enter the context; nor what a token has beyond
    // the marker that pauses the model: the model would have known more.
    if (event == Parser::Event::malformed || event == Parser::Event::end_of_turn) {
      leave_out(parser.bytes_from_event(), /*or_all=*/true);
      goes_on = false;
    } else if (event == Parser::Event::trap ||
               (event == Parser::Event::call && config.mode == Mode::sync)) {
      leave_out(parser.bytes_behind(), /*or_all=*/false);
      goes_on = false;
    }
    switch (event) {
      case Parser::Event::none:
        break;
      case Parser::Event::text:
        on_text(parser.text(), now);
        break;
      case Parser::Event::call:
        on_call(now);
        break;
      case Parser::Event::trap:
        on_trap(now);
        break;
      case Parser::Event::end_of_turn:
        on_stop(token, now);
        break;
      case Parser::Event::malformed:
        on_malformed(was_in_block, now);
        break;
    }
  }
}

// Takes the last bytes of the token just written out of the context. Where the vocabulary has no
// tokens for the rest of it alone: all of it (or_all), or nothing.
void Session::Impl::leave_out(std::size_t bytes, bool or_all) {
  parser.drop_rest();
  if (bytes == 0) return;
  const Token token = context.back();
  context.pop_back();
  std::string piece;
  vocabulary.append_piece(token, piece);
  if (bytes >= piece.size()) return;
  piece.resize(piece.size() - bytes);
  const std::vector<Token> rest = vocabulary.encode(piece);
  std::string spelled;
  for (const Token part : rest) vocabulary.append_piece(part, spelled);
  if (spelled == piece && has_room(rest.size())) {
    context.insert(context.end(), rest.begin(), rest.end());
    counts.injected += static_cast<std::int32_t>(rest.size()) - 1;
  } else if (!or_all) {
    context.push_back(token);
  }
}

// Tokens that cannot be others are not asked for: they ride with the next step. The block's last
// one may be among them, then its call is dispatched before it was decoded.
void Session::Impl::fast_forward(Time now) {
  if (!config.fast_forward || !monitor) return;
  while (state == State::generating && monitor->is_open()) {
    const auto forced = monitor->forced();
    if (forced.empty()) return;
    for (const Token token : std::vector<Token>(forced.begin(), forced.end())) {
      if (!has_room(1) || state != State::generating) return;
      ++counts.forced;
      take(token, now);
    }
  }
}

// What the rest of an argument may be.
void Session::Impl::propose() {
  if (!config.drafts || state != State::generating || !monitor || !monitor->is_open()) return;
  const std::size_t limit =
      std::min({kMaxDraftTokens, static_cast<std::size_t>(parser.block_room()),
                static_cast<std::size_t>(config.max_generated - counts.generated - 1),
                static_cast<std::size_t>(config.context_tokens) - context.size() - 1});
  draft = monitor->draft(source.continuation(monitor->written()), limit);
}

void Session::Impl::flush_text(Time now) {
  const std::size_t complete = complete_utf8_prefix(answer, answer_sent);
  if (complete == answer_sent) return;
  emit(now, TextEvent{answer.substr(answer_sent, complete - answer_sent)});
  answer_sent = complete;
}

void Session::Impl::on_text(std::string_view text, Time now) {
  answer += text;
  flush_text(now);
}

std::string Session::Impl::id_problem(const std::string& id) const {
  if (!is_identifier(id)) {
    return std::format("{} is not a call id: use letters, digits and '_'", schema::shown(id));
  }
  if (is_reserved_id(id)) {
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

void Session::Impl::reject_by_id(CallKey key, std::string reason, Time now) {
  if (calls[key].id.empty()) return reject_anonymous(key, std::move(reason), now);
  return reject(key, std::move(reason), now);
}

void Session::Impl::on_call(Time now) {
  const auto key = static_cast<CallKey>(calls.size());
  calls.emplace_back();
  calls[key].emitted = now;
  calls[key].code = parser.code();
  // "id", or in async+ "id after id id"
  std::vector<std::string> after;
  std::string id(parser.id());
  if (async_plus()) {
    after = words(id);
    if (!after.empty()) id = after.front();
  }
  emit(now, CallEmitted{key});
  idle_traps = 0;
  if (!id.empty()) {
    if (std::string problem = id_problem(id); !problem.empty()) {
      return reject_anonymous(key, std::move(problem), now);
    }
    calls[key].id = id;
    used_ids.insert(id);
  }
  const auto refuse = [&](std::string reason) { reject_by_id(key, std::move(reason), now); };
  if (static_cast<std::int32_t>(calls.size()) > config.max_calls) {
    return refuse(std::format("no more than {} calls are allowed", config.max_calls));
  }
  if (after.size() > 1 && (after[1] != "after" || after.size() == 2)) {
    return refuse("malformed call: only 'after' and call ids may follow the id");
  }
  auto syntax = parse_call(calls[key].code, async_plus());
  if (!syntax) return refuse("malformed call: " + syntax.error().message);
  calls[key].name = syntax->name;
  const auto tool = tools.find(syntax->name);
  if (tool == tools.end()) {
    if (async_plus() && syntax->name == kCancelFunction) return on_cancel(key, *syntax, now);
    return refuse(std::format("unknown function {}", schema::shown(calls[key].name)));
  }
  // As written, for the record, should the check refuse them.
  calls[key].arguments = with_futures_as_text(syntax->named);

  std::vector<std::string> needed(after.begin() + std::min<std::ptrdiff_t>(2, std::ssize(after)),
                                  after.end());
  for (const Json& value : syntax->positional) {
    for (std::string& other : futures_in(value)) needed.push_back(std::move(other));
  }
  for (std::string& other : futures_in(syntax->named)) needed.push_back(std::move(other));
  if (!needed.empty()) {
    auto needs = find_needs(needed);
    if (!needs) return refuse(needs.error().message);
    auto placed = tool->second.validator.place(syntax->positional, syntax->named);
    if (!placed) return refuse(placed.error().message);
    calls[key].needs = std::move(*needs);
    ++(calls[key].id.empty() ? open_unnamed : open_named);
    return hold(key, std::move(*placed), now);
  }

  auto arguments = tool->second.validator.check(syntax->positional, syntax->named);
  if (!arguments) return refuse(arguments.error().message);
  calls[key].arguments = std::move(*arguments);

  ++(calls[key].id.empty() ? open_unnamed : open_named);
  if (config.mode == Mode::sync_parallel) {
    collected.push_back(key);
    return;
  }
  dispatch(key, now);
  if (config.mode == Mode::sync && !calls[key].id.empty()) {
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
void Session::Impl::on_malformed(bool was_in_block, Time now) {
  const bool opens_block = parser.in_block();
  if (!has_room(tokens_of(Marker::end) + (opens_block ? tokens_of(Marker::call) : 0))) {
    return finish(FinishReason::context_full, now);
  }
  if (was_in_block) append_marker(Marker::end);
  if (opens_block) {
    append_marker(Marker::call);
    --counts.injected;  // the token that the model wrote
  }
  const auto key = static_cast<CallKey>(calls.size());
  CallRecord& call = calls.emplace_back();
  call.emitted = now;
  call.code = parser.code();
  emit(now, CallEmitted{key});
  reject_anonymous(key, std::format("malformed block: {}", parser.problem()), now);
}

void Session::Impl::on_trap(Time now) {
  if (!parser.model_closes_traps()) {
    if (!has_room(1)) return finish(FinishReason::context_full, now);
    append_marker(Marker::end);
  }
  emit(now, Trapped{});
  if (async_plus() && !parser.id().empty()) return wait_for_named(now);
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
  refuse_wait(open_unnamed > 0 ? "no open call has an id, there is nothing to wait for"
                               : "no call is open, there is nothing to wait for",
              now);
}

// The model is told why it does not wait; one that does not understand is stopped.
void Session::Impl::refuse_wait(std::string_view reason, Time now) {
  if (++idle_traps >= kMaxIdleTraps) return finish(FinishReason::stalled, now);
  queue_interrupt(std::nullopt, std::string(kErrorId), std::format("error: {}", reason),
                  Origin::runtime);
  resume(now);
}

void Session::Impl::on_stop(Token token, Time now) {
  if (open_named > 0 || !queue.empty()) {
    // The model stopped without a trap: its calls' results are delivered all the same, and it may
    // go on. The end token does not enter the context; a trap stands in its place, so that the
    // context stays one that the model was trained on.
    if (!has_room(tokens_of(Marker::trap) + tokens_of(Marker::end))) {
      return finish(FinishReason::context_full, now);
    }
    append_marker(Marker::trap);
    append_marker(Marker::end);
    emit(now, Trapped{});
    return wait_for_calls(now);
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

// --- async+
// ---------------------------------------------------------------------------------------

std::optional<CallKey> Session::Impl::find_call(std::string_view id) const {
  const auto at = std::ranges::find(calls, id, &CallRecord::id);
  if (id.empty() || at == calls.end()) return std::nullopt;
  return static_cast<CallKey>(at - calls.begin());
}

Result<std::vector<CallKey>> Session::Impl::find_needs(const std::vector<std::string>& ids) const {
  std::vector<CallKey> keys;
  for (const std::string& id : ids) {
    const auto key = find_call(id);
    // The last one is the call itself. Only earlier calls can be named, so there are no cycles.
    if (!key || *key + 1 == calls.size()) {
      return fail(ErrorCode::invalid_argument,
                  std::format("no earlier call has the id {}", schema::shown(id)));
    }
    if (!std::ranges::contains(keys, *key)) keys.push_back(*key);
  }
  return keys;
}

// The call starts now if all that it needs has returned, else later or never.
void Session::Impl::hold(CallKey key, Json arguments, Time now) {
  held.push_back({key, std::move(arguments)});
  const std::vector<CallKey> needs = calls[key].needs;
  for (const CallKey need : needs) {
    if (calls[need].outcome && *calls[need].outcome != Outcome::returned)
      return on_ended(need, now);
  }
  on_ended(needs.front(), now);
}

// Starts what waited for the call alone; what cannot be run any more is reported as not run.
void Session::Impl::on_ended(CallKey key, Time now) {
  std::vector<CallKey> affected;
  for (const WaitingCall& call : held) {
    if (std::ranges::contains(calls[call.key].needs, key)) affected.push_back(call.key);
  }
  for (const CallKey other : affected) {
    const auto at = std::ranges::find(held, other, &WaitingCall::key);
    if (at == held.end()) continue;  // a chain of failures has reached it on another way
    const std::vector<CallKey>& needs = calls[other].needs;
    const auto failed = std::ranges::find_if(needs, [&](CallKey need) {
      return calls[need].outcome && *calls[need].outcome != Outcome::returned;
    });
    if (failed != needs.end()) {
      const CallRecord& cause = calls[*failed];
      std::string reason = std::format("not run: {} {}", cause.id,
                                       cause.rejected ? "was not run" : to_string(*cause.outcome));
      held.erase(at);
      not_run(other, std::move(reason), now);
    } else if (std::ranges::all_of(needs,
                                   [&](CallKey need) { return calls[need].outcome.has_value(); })) {
      const WaitingCall call = std::move(*at);
      held.erase(at);
      start(call, now);
    }
  }
}

void Session::Impl::start(const WaitingCall& call, Time now) {
  auto arguments = with_results(call);
  if (!arguments) return not_run(call.key, "not run: " + arguments.error().message, now);
  calls[call.key].arguments = std::move(*arguments);
  dispatch(call.key, now);
}

// The call's arguments with the results that its futures stand for, checked.
Result<Json> Session::Impl::with_results(const WaitingCall& call) const {
  const Tool& tool = tools.find(calls[call.key].name)->second;
  // Which type is wanted is known of the arguments themselves only.
  const auto fill = [&](const auto& self, const Json& value, bool as_text) -> Result<Json> {
    if (is_future(value)) {
      const std::string text = future_text(value);
      std::string_view rest = text;
      const auto future = read_future(rest);
      if (!future) return std::unexpected(future.error());
      return resolve(*future, calls[*find_call(future->id)].result, as_text);
    }
    Json out = value;
    if (!value.is_structured()) return out;
    for (Json& child : out) {
      auto filled = self(self, child, false);
      if (!filled) return filled;
      child = std::move(*filled);
    }
    return out;
  };
  Json arguments = Json::object();
  for (const auto& [name, value] : call.arguments.items()) {
    auto filled = fill(fill, value, tool.validator.wants_text(name));
    if (!filled) return filled;
    arguments[name] = std::move(*filled);
  }
  return tool.validator.check({}, arguments);
}

// A held call ends without having been started.
void Session::Impl::not_run(CallKey key, std::string reason, Time now) {
  CallRecord& call = calls[key];
  const bool has_id = !call.id.empty();
  --(has_id ? open_named : open_unnamed);
  call.returned = now;
  if (has_id) {
    reject(key, std::move(reason), now);
  } else {
    reject_anonymous(key, std::format("{}: {}", call.name, reason), now);
  }
  on_ended(key, now);
}

void Session::Impl::on_cancel(CallKey key, const CallSyntax& syntax, Time now) {
  const auto refuse = [&](std::string reason) { reject_by_id(key, std::move(reason), now); };
  if (syntax.positional.size() != 1 || !syntax.positional[0].is_string() || !syntax.named.empty()) {
    return refuse("cancel takes the id of one call");
  }
  const auto id = syntax.positional[0].get<std::string>();
  const auto other = find_call(id);
  if (!other || *other == key) {
    return refuse(std::format("no earlier call has the id {}", schema::shown(id)));
  }
  if (calls[*other].outcome) return refuse(std::format("'{}' has already ended", id));
  CallRecord& cancelled = calls[*other];
  cancelled.outcome = Outcome::cancelled;
  cancelled.result = "cancelled";
  cancelled.returned = now;
  std::erase_if(held, [&](const WaitingCall& call) { return call.key == *other; });
  --open_named;
  if (cancelled.dispatched) emit(now, CallCancelled{*other});
  emit(now, CallCompleted{*other});
  queue_interrupt(*other, id, "error: cancelled", Origin::runtime);
  // The cancel is a call too: it has done its work.
  CallRecord& call = calls[key];
  call.outcome = Outcome::returned;
  call.result = std::format("'{}' is cancelled", id);
  call.returned = now;
  emit(now, CallCompleted{key});
  if (!call.id.empty()) queue_interrupt(key, call.id, call.result, Origin::runtime);
  on_ended(*other, now);
}

bool Session::Impl::named_have_ended() const {
  const auto ended = [&](CallKey key) { return calls[key].outcome.has_value(); };
  return wait_for_all ? std::ranges::all_of(named, ended) : std::ranges::any_of(named, ended);
}

Wait Session::Impl::wait() const {
  switch (state) {
    case State::awaiting_call:
      return {.calls = {&awaited, 1}, .all = true};
    case State::awaiting_named:
      return {.calls = named, .all = wait_for_all};
    case State::awaiting_all:
    case State::draining:
      return {.calls = {}, .all = true};
    default:
      return {};
  }
}

// Pauses until any or all of the named calls have ended. Other results do not end the pause; they
// are delivered with the one that does.
void Session::Impl::wait_for_named(Time now) {
  if (parser.code() != "any" && parser.code() != "all") {
    return refuse_wait("a trap that names calls must say any or all", now);
  }
  std::vector<CallKey> keys;
  for (const std::string& id : words(parser.id())) {
    const auto key = find_call(id);
    if (!key) return refuse_wait(std::format("no call has the id {}", schema::shown(id)), now);
    keys.push_back(*key);
  }
  named = std::move(keys);
  wait_for_all = parser.code() == "all";
  if (!named_have_ended()) {
    state = State::awaiting_named;
    return;
  }
  if (queue.empty()) return refuse_wait("what you wait for was already delivered", now);
  resume(now);
}

// --- what enters the context --------------------------------------------------------------------

void Session::Impl::append_marker(Marker marker) {
  const std::vector<Token>& tokens = marker_tokens[static_cast<std::size_t>(marker)];
  context.insert(context.end(), tokens.begin(), tokens.end());
  counts.injected += static_cast<std::int32_t>(tokens.size());
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
    const auto spans = interrupt_spans(markers, interrupt.id, interrupt.text, interrupt.origin);
    if (auto ok = append_spans(vocabulary, markers, spans, tokens); !ok) {
      error = ok.error();
      return finish(FinishReason::error, now);
    }
    // Room for the token that answers.
    if (!has_room(tokens.size() + 1)) return finish(FinishReason::context_full, now);
    const auto position = static_cast<std::int32_t>(context.size());
    context.insert(context.end(), tokens.begin(), tokens.end());
    counts.injected += static_cast<std::int32_t>(tokens.size());
    if (const auto call = interrupt.call) calls[*call].delivered = now;
    if (config.drafts) source.add(interrupt.text);
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
  held.clear();
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
  answer += parser.release();
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

// What came in meanwhile is delivered at once, but not inside a block.
void Session::Impl::after_input(Time now) {
  if (state == State::generating && !parser.in_critical_section()) deliver_interrupts(now);
  check_limits(now);
}

// --- the public face ----------------------------------------------------------------------------

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

Result<Session> Session::create(const Vocabulary& vocabulary, std::vector<ToolSpec> tools,
                                std::vector<Message> messages, const SessionConfig& config,
                                std::shared_ptr<CallGrammar> grammar) {
  const auto markers = config.spelled_markers ? Markers::spelled() : Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  if (config.constrained && config.spelled_markers) {
    return fail(ErrorCode::invalid_argument, "constrained needs markers that are tokens");
  }
  if (config.max_generated < 1 || config.context_tokens < 1 || config.max_calls < 0 ||
      config.max_call_tokens < 1 || config.max_result_bytes < 1) {
    return fail(ErrorCode::invalid_argument,
                "session limits (max_generated, context_tokens, max_call_tokens, max_result_bytes) "
                "must be at least 1 and max_calls at least 0");
  }
  if ((config.fast_forward || config.drafts) && !config.constrained) {
    return fail(ErrorCode::invalid_argument,
                std::format("{} needs constrained", config.drafts ? "drafts" : "fast_forward"));
  }
  auto impl = std::make_unique<Impl>(vocabulary, *markers, config);
  if (auto ok = impl->prepare(std::move(tools), std::move(messages), std::move(grammar)); !ok) {
    return std::unexpected(ok.error());
  }
  return Session(std::move(impl));
}

Result<void> Session::Impl::prepare(std::vector<ToolSpec> specs, std::vector<Message> messages,
                                    std::shared_ptr<CallGrammar> grammar) {
  std::vector<TypedMessage> typed = {{"system", {}}};
  if (config.spelled_markers) {
    typed.front().content.push_back({spelled_protocol(), Origin::protocol});
  }
  typed.front().content.push_back({tools_document(config.mode, specs), Origin::system});
  bool has_system_text = false;
  for (Message& message : messages) {
    if (config.drafts) source.add(message.content);
    if (message.role == "system") {
      if (std::exchange(has_system_text, true)) {
        typed.front().content.push_back({"\n", Origin::system});
      }
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
  if (config.constrained) {
    if (!grammar) {
      auto own =
          CallGrammar::create(vocabulary, std::make_shared<const TokenTrie>(vocabulary), specs,
                              {.canonical_order = config.fast_forward, .async_plus = async_plus()});
      if (!own) return std::unexpected(own.error());
      grammar = std::move(*own);
    }
    // Where nothing can be called, calls are refused one by one.
    if (grammar->has_calls()) {
      monitor.emplace(std::move(grammar),
                      [this](const std::string& id) { return id_problem(id).empty(); });
    }
  }
  for (ToolSpec& spec : specs) {
    auto validator = ArgumentValidator::compile(spec);
    if (!validator) return std::unexpected(validator.error());
    std::string name = spec.name;
    if (!tools.try_emplace(name, Tool{std::move(spec), std::move(*validator)}).second) {
      return fail(ErrorCode::invalid_argument, std::format("tool '{}' is listed twice", name));
    }
  }
  const auto spans = render_chat(vocabulary, typed);
  if (!spans) return std::unexpected(spans.error());
  if (auto ok = append_spans(vocabulary, markers, *spans, context); !ok) return ok;
  if (context.empty()) {
    return fail(ErrorCode::unsupported, "the model's chat template renders an empty prompt");
  }
  if (context.size() >= static_cast<std::size_t>(config.context_tokens)) {
    return fail(ErrorCode::limit_exceeded,
                std::format("the prompt has {} tokens, the context holds {}: list fewer tools, "
                            "shorten the task or raise the context size",
                            context.size(), config.context_tokens));
  }
  counts.prompt = static_cast<std::int32_t>(context.size());
  return {};
}

Step Session::step() const {
  Impl& s = *impl_;  // the monitor remembers what it is asked for
  if (s.state == Impl::State::done) return Done{s.finish_reason};
  if (s.state != Impl::State::generating) return s.wait();
  return Decode{.append = std::span(s.context).subspan(s.fed),
                .banned = s.parser.banned(),
                .filter = s.filter(),
                .draft = s.draft};
}

void Session::decoded(std::span<const Token> sampled, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (s.state != Impl::State::generating) return;
  // All but the last were drafts: the engine has them, and they are plain text of an open block.
  s.counts.accepted += static_cast<std::int32_t>(sampled.size()) - 1;
  s.draft = {};
  for (const Token token : sampled) {
    if (token < 0 || token >= s.vocabulary.size()) {
      s.error =
          Error{ErrorCode::engine, std::format("the engine sampled {}, which is no token of the "
                                               "vocabulary",
                                               token)};
      return s.finish(FinishReason::error, now);
    }
    s.fed = s.context.size();
    ++s.counts.generated;
    s.take(token, now);
  }
  s.fast_forward(now);
  s.after_input(now);
  s.propose();
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
  s.on_ended(key, now);
  switch (s.state) {
    case Impl::State::awaiting_call:
      if (key == s.awaited) s.resume(now);
      break;
    case Impl::State::awaiting_any:
      s.resume(now);
      break;
    case Impl::State::awaiting_named:
      if (s.named_have_ended()) s.resume(now);
      break;
    case Impl::State::awaiting_all:
      if (s.open_named == 0) {
        // A barrier has no order of arrival: the order of the calls makes runs reproducible.
        std::ranges::stable_sort(s.queue, {}, [](const PendingInterrupt& i) { return i.call; });
        s.resume(now);
      }
      break;
    case Impl::State::generating:
    case Impl::State::draining:
    case Impl::State::done:
      break;
  }
  s.after_input(now);
}

void Session::progressed(CallKey key, std::string_view text, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (key >= s.calls.size() || s.state == Impl::State::done || !s.async_plus()) return;
  const CallRecord& call = s.calls[key];
  if (!call.dispatched || call.outcome || call.id.empty()) return;
  s.queue_interrupt(std::nullopt, call.id + " part", std::string(text), Origin::tool_result);
  s.after_input(now);
}

Result<void> Session::interrupt(std::string_view source, std::string_view text, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  constexpr std::string_view kAgent = "agent:";
  if (source != "user" &&
      !(source.starts_with(kAgent) && is_identifier(source.substr(kAgent.size())))) {
    return fail(ErrorCode::invalid_argument,
                std::format("an interrupt comes from 'user' or 'agent:NAME', not from {}",
                            schema::shown(std::string(source))));
  }
  if (s.state == Impl::State::done || s.state == Impl::State::draining) {
    return fail(ErrorCode::invalid_argument, "the session has stopped and cannot be interrupted");
  }
  s.queue_interrupt(std::nullopt, std::string(source), std::string(text), Origin::user);
  if (s.waiting()) s.resume(now);
  s.after_input(now);
  return {};
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
  if (auto ok = append_spans(s.vocabulary, s.markers, *spans, tokens); !ok) return ok;
  if (!s.has_room(tokens.size() + 1)) {
    return fail(ErrorCode::limit_exceeded, "the message does not fit into the context");
  }
  s.context.insert(s.context.end(), tokens.begin(), tokens.end());
  s.counts.injected += static_cast<std::int32_t>(tokens.size());
  if (s.config.drafts) s.source.add(text);
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
bool Session::in_critical_section() const { return impl_->parser.in_critical_section(); }

std::string_view to_string(Mode mode) {
  switch (mode) {
    case Mode::sync:
      return "sync";
    case Mode::sync_parallel:
      return "sync-parallel";
    case Mode::async:
      return "async";
    case Mode::async_plus:
      return "async+";
  }
  return "?";
}

Result<Mode> parse_mode(std::string_view text) {
  for (const Mode mode : {Mode::sync, Mode::sync_parallel, Mode::async, Mode::async_plus}) {
    if (to_string(mode) == text) return mode;
  }
  return fail(ErrorCode::invalid_argument,
              std::format("unknown mode '{}': use async, async+, sync or sync-parallel", text));
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
