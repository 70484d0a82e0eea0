// SPDX-License-Identifier: Apache-2.0
// A session: calls from their emission to their outcome, and what the model waits for.
#include <algorithm>
#include <format>
#include <utility>

#include "cml/future.h"
#include "session/session_impl.h"

namespace asynclm {
namespace {

// A model that waits for nothing is told so; one that does not understand is stopped.
constexpr int kMaxIdleTraps = 3;

}  // namespace

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
  queue_interrupt({key, call.id, "error: " + call.result, Origin::runtime, Delivery::interrupt});
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

void Session::Impl::on_call(CallKey key, const CallSyntax& syntax,
                            const std::vector<std::string>& needed, Time now) {
  const auto refuse = [&](std::string reason) { reject_by_id(key, std::move(reason), now); };
  calls[key].name = syntax.name;
  const auto tool = tools.find(syntax.name);
  if (tool == tools.end()) {
    if (async_plus() && syntax.name == kCancelFunction) return on_cancel(key, syntax, now);
    return refuse(std::format("unknown function {}", schema::shown(calls[key].name)));
  }
  calls[key].delivery = tool->second.spec.delivery;
  // As written, for the record, should the check refuse them.
  calls[key].arguments = with_futures_as_text(syntax.named);

  if (!needed.empty()) {
    auto needs = find_needs(needed);
    if (!needs) return refuse(needs.error().message);
    auto placed = tool->second.validator.place(syntax.positional, syntax.named);
    if (!placed) return refuse(placed.error().message);
    calls[key].needs = std::move(*needs);
    ++open_calls(calls[key]);
    return hold(key, std::move(*placed), now);
  }

  auto arguments = tool->second.validator.check(syntax.positional, syntax.named);
  if (!arguments) return refuse(arguments.error().message);
  calls[key].arguments = std::move(*arguments);

  ++open_calls(calls[key]);
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

int& Session::Impl::open_calls(const CallRecord& call) {
  if (call.id.empty()) return open_unnamed;
  return call.delivery == Delivery::silent ? open_silent : open_named;
}

// A call that was accepted has its outcome.
void Session::Impl::end_call(CallKey key, CallResult result, Time now) {
  CallRecord& call = calls[key];
  call.outcome = result.outcome;
  call.result = std::move(result.text);
  call.returned = now;
  --open_calls(call);
  emit(now, CallCompleted{key});
  if (call.id.empty()) return;
  const bool ok = *call.outcome == Outcome::returned;
  // A failure is news, whatever the tool's results are.
  queue_interrupt({key, call.id, ok ? call.result : "error: " + call.result,
                   ok ? Origin::tool_result : Origin::tool_error,
                   ok ? call.delivery : Delivery::interrupt});
}

void Session::Impl::withdraw(CallKey key, Time now) {
  std::erase_if(held, [&](const WaitingCall& call) { return call.key == key; });
  std::erase(collected, key);
  if (calls[key].dispatched) emit(now, CallCancelled{key});
  end_call(key, {Outcome::cancelled, "cancelled"}, now);
}

// What a call's end means for a model that is paused, or has stopped.
void Session::Impl::wake(CallKey ended, Time now) {
  switch (state) {
    case State::awaiting_call:
      if (ended == awaited) resume(now);
      break;
    case State::awaiting_any:
      // A silent result ends the pause only if nothing else could.
      if (queue_wakes() ||
          (open_named == 0 && !config.awaits_messages && !calls[ended].id.empty())) {
        resume(now);
      }
      break;
    case State::awaiting_named:
      if (named_have_ended()) resume(now);
      break;
    case State::awaiting_all:
      if (open_named + open_silent == 0) {
        // A barrier has no order of arrival: the order of the calls makes runs reproducible.
        std::ranges::stable_sort(queue, {}, [](const PendingInterrupt& i) { return i.call; });
        resume(now);
      }
      break;
    case State::draining:
      if (open_silent + open_unnamed == 0) finish(FinishReason::stop, now);
      break;
    case State::generating:
    case State::done:
      break;
  }
  after_input(now);
}

// Calls that the model does not wait for may still run.
void Session::Impl::end_turn(Time now) {
  for (const CallKey key : std::exchange(collected, {})) dispatch(key, now);
  if (open_unnamed > 0 || open_silent > 0) {
    state = State::draining;
    return;
  }
  finish(FinishReason::stop, now);
}

// Pauses the model until a result is there. It may be there already.
void Session::Impl::wait_for_calls(Time now) {
  if (config.mode == Mode::sync_parallel) {
    for (const CallKey key : collected) dispatch(key, now);
    collected.clear();
  }
  if (queue_wakes() && config.mode != Mode::sync_parallel) return resume(now);
  if (open_named + open_silent > 0) {
    state = config.mode == Mode::sync_parallel ? State::awaiting_all : State::awaiting_any;
    return;
  }
  if (queue_wakes()) return resume(now);
  if (config.awaits_messages) {
    state = State::awaiting_any;
    return;
  }
  // Nothing will ever arrive.
  refuse_wait(open_unnamed > 0 ? "no open call has an id, there is nothing to wait for"
                               : "no call is open, there is nothing to wait for",
              now);
}

// The model is told why it does not wait; one that does not understand is stopped.
void Session::Impl::refuse_wait(std::string_view reason, Time now) {
  if (++idle_traps >= kMaxIdleTraps) return finish(FinishReason::stalled, now);
  queue_interrupt({std::nullopt, std::string(kErrorId), std::format("error: {}", reason),
                   Origin::runtime, Delivery::interrupt});
  resume(now);
}

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
  --open_calls(call);
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
  withdraw(*other, now);
  // The cancel is a call too: it has done its work.
  CallRecord& call = calls[key];
  call.outcome = Outcome::returned;
  call.result = std::format("'{}' is cancelled", id);
  call.returned = now;
  emit(now, CallCompleted{key});
  if (!call.id.empty()) {
    queue_interrupt({key, call.id, call.result, Origin::runtime, Delivery::interrupt});
  }
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
void Session::Impl::wait_for_named(const std::vector<std::string>& ids, std::string_view which,
                                   Time now) {
  if (which != "any" && which != "all") {
    return refuse_wait("a trap that names calls must say any or all", now);
  }
  std::vector<CallKey> keys;
  for (const std::string& id : ids) {
    const auto key = find_call(id);
    if (!key) return refuse_wait(std::format("no call has the id {}", schema::shown(id)), now);
    keys.push_back(*key);
  }
  named = std::move(keys);
  wait_for_all = which == "all";
  if (!named_have_ended()) {
    state = State::awaiting_named;
    return;
  }
  if (queue.empty()) return refuse_wait("what you wait for was already delivered", now);
  resume(now);
}

}  // namespace asynclm
