// SPDX-License-Identifier: Apache-2.0
// A session as data and back. What can be made again from the tools and the vocabulary is not in
// it.
#include <algorithm>
#include <array>
#include <format>
#include <utility>

#include "cml/future.h"
#include "session/saved_json.h"
#include "session/session_impl.h"
#include "session/session_json.h"

namespace asynclm {
namespace {

[[nodiscard]] std::unexpected<Error> no_session(const std::string& why) {
  return fail(ErrorCode::invalid_argument, "not a saved session: " + why);
}

Json time_json(const std::optional<Time>& time) { return time ? Json(time->count()) : Json(); }
std::optional<Time> time_from(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return Time(json.get<Time::rep>());
}

Json call_json(const CallRecord& call) {
  return Json{{"id", call.id},
              {"name", call.name},
              {"arguments", call.arguments},
              {"code", call.code},
              {"needs", call.needs},
              {"outcome", call.outcome ? enum_json(*call.outcome) : Json()},
              {"result", call.result},
              {"delivery", enum_json(call.delivery)},
              {"rejected", call.rejected},
              {"emitted", time_json(call.emitted)},
              {"dispatched", time_json(call.dispatched)},
              {"returned", time_json(call.returned)},
              {"delivered", time_json(call.delivered)}};
}

CallRecord call_from(const Json& json) {
  CallRecord call;
  json.at("id").get_to(call.id);
  json.at("name").get_to(call.name);
  call.arguments = json.at("arguments");
  json.at("code").get_to(call.code);
  json.at("needs").get_to(call.needs);
  if (const Json& outcome = json.at("outcome"); !outcome.is_null()) {
    call.outcome = enumerator(outcome, Outcome::cancelled);
  }
  json.at("result").get_to(call.result);
  call.delivery = enumerator(json.at("delivery"), Delivery::silent);
  json.at("rejected").get_to(call.rejected);
  call.emitted = time_from(json.at("emitted"));
  call.dispatched = time_from(json.at("dispatched"));
  call.returned = time_from(json.at("returned"));
  call.delivered = time_from(json.at("delivered"));
  return call;
}

}  // namespace

Json config_json(const SessionConfig& config) {
  return Json{{"mode", enum_json(config.mode)},
              {"dialect", enum_json(config.dialect)},
              {"strict_calls", config.strict_calls},
              {"max_generated", config.max_generated},
              {"context_tokens", config.context_tokens},
              {"max_calls", config.max_calls},
              {"max_call_tokens", config.max_call_tokens},
              {"max_result_bytes", config.max_result_bytes},
              {"constrained", config.constrained},
              {"jump_forward", config.jump_forward},
              {"drafts", config.drafts},
              {"awaits_messages", config.awaits_messages}};
}

Result<SessionConfig> saved_config(const Json& saved) {
  try {
    const Json& json = saved.at("config");
    return SessionConfig{.mode = enumerator(json.at("mode"), Mode::async_plus),
                         .dialect = enumerator(json.at("dialect"), DialectChoice::generic),
                         .strict_calls = json.at("strict_calls").get<bool>(),
                         .max_generated = json.at("max_generated").get<std::int32_t>(),
                         .context_tokens = json.at("context_tokens").get<std::int32_t>(),
                         .max_calls = json.at("max_calls").get<std::int32_t>(),
                         .max_call_tokens = json.at("max_call_tokens").get<std::int32_t>(),
                         .max_result_bytes = json.at("max_result_bytes").get<std::int32_t>(),
                         .constrained = json.at("constrained").get<bool>(),
                         .jump_forward = json.at("jump_forward").get<bool>(),
                         .drafts = json.at("drafts").get<bool>(),
                         .awaits_messages = json.at("awaits_messages").get<bool>()};
  } catch (const Json::exception& error) {
    return no_session(error.what());
  } catch (const BadSave& bad) {
    return no_session(bad.why);
  }
}

Json Session::save() const { return impl_->save(); }

Json Session::Impl::save() const {
  Json out;
  out["config"] = config_json(config);
  out["vocabulary"] = vocabulary.size();
  Json& tool_list = out["tools"] = Json::object();
  for (const auto& [name, tool] : tools) tool_list[name] = tool.spec.parameters;
  out["state"] = enum_json(state);
  out["finish_reason"] = enum_json(finish_reason);
  out["context"] = context;
  out["counts"] = {counts.prompt, counts.generated, counts.forced, counts.accepted,
                   counts.injected};
  out["turn_began"] = turn_began;
  save_dialect(out);
  if (monitor && monitor->is_open()) {
    Json names = Json::array();
    for (const CallName& name : monitor->opened_with_names()) {
      names.push_back({{"id", name.id}, {"open", name.open}});
    }
    out["block"] =
        Json{{"marker", enum_json(*monitor->opened_by())},
             {"names", std::move(names)},
             {"tokens", std::vector<Token>(monitor->block().begin(), monitor->block().end())}};
  }
  if (config.drafts) out["source"] = source.text();
  Json& call_list = out["calls"] = Json::array();
  for (const CallRecord& call : calls) call_list.push_back(call_json(call));
  out["collected"] = collected;
  out["awaited"] = awaited;
  Json& held_list = out["held"] = Json::array();
  for (const WaitingCall& call : held) {
    held_list.push_back({{"call", call.key}, {"arguments", call.arguments}});
  }
  out["named"] = named;
  out["wait_for_all"] = wait_for_all;
  out["idle_traps"] = idle_traps;
  Json& waiting = out["queue"] = Json::array();
  for (const PendingInterrupt& interrupt : queue) {
    waiting.push_back({{"call", interrupt.call ? Json(*interrupt.call) : Json()},
                       {"id", interrupt.id},
                       {"text", interrupt.text},
                       {"origin", enum_json(interrupt.origin)},
                       {"delivery", enum_json(interrupt.delivery)}});
  }
  out["line_bytes"] = line_bytes;
  out["word_bytes"] = word_bytes;
  out["answer"] = answer;
  out["answer_sent"] = answer_sent;
  if (error) out["error"] = {{"code", enum_json(error->code)}, {"message", error->message}};
  return out;
}

Result<Session> Session::load(const Vocabulary& vocabulary, std::vector<ToolSpec> tools,
                              const Json& saved, std::shared_ptr<CallGrammar> grammar,
                              std::shared_ptr<const ModelDialect> dialect) {
  const auto config = saved_config(saved);
  if (!config) return std::unexpected(config.error());
  try {
    if (saved.at("vocabulary").get<Token>() != vocabulary.size()) {
      return fail(ErrorCode::invalid_argument,
                  "the session was saved with another model: its vocabulary has another size");
    }
    const Json& then = saved.at("tools");
    for (const auto& [name, parameters] : then.items()) {
      const auto tool = std::ranges::find(tools, name, &ToolSpec::name);
      if (tool == tools.end() || tool->parameters != parameters) {
        return fail(
            ErrorCode::invalid_argument,
            std::format("the session was saved with other tools: {} {}", schema::shown(name),
                        tool == tools.end() ? "is missing now" : "has other parameters now"));
      }
    }
    for (const ToolSpec& tool : tools) {
      if (then.contains(tool.name)) continue;
      return fail(ErrorCode::invalid_argument,
                  std::format("the session was saved with other tools: '{}' is new", tool.name));
    }
    auto impl = Impl::make(vocabulary, tools, *config, std::move(grammar), std::move(dialect));
    if (!impl) return std::unexpected(impl.error());
    (*impl)->load(saved);
    return Session(std::move(*impl));
  } catch (const Json::exception& error) {
    return no_session(error.what());
  } catch (const BadSave& bad) {
    return no_session(bad.why);
  }
}

// Everything that later code relies on is checked: keys, tokens, states that fit together.
void Session::Impl::load(const Json& saved) {
  state = enumerator(saved.at("state"), State::done);
  finish_reason = enumerator(saved.at("finish_reason"), FinishReason::error);
  saved.at("context").get_to(context);
  require(!context.empty() && context.size() <= static_cast<std::size_t>(config.context_tokens),
          "its context is empty or longer than its limit");
  const auto is_token = [&](Token token) { return token >= 0 && token < vocabulary.size(); };
  require(std::ranges::all_of(context, is_token), "its context has what is no token");
  const auto numbers = saved.at("counts").get<std::array<std::int32_t, 5>>();
  require(std::ranges::all_of(numbers, [](std::int32_t n) { return n >= 0; }),
          "a count is negative");
  counts = {numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]};
  saved.at("turn_began").get_to(turn_began);
  require(turn_began >= 0 && turn_began <= counts.generated, "its turn began after its end");

  for (const Json& call : saved.at("calls")) {
    calls.push_back(call_from(call));
    CallRecord& record = calls.back();
    if (!record.id.empty()) {
      require(!used_ids.contains(record.id), "the id of a call is there twice");
      used_ids.insert(record.id);
    }
    if (record.outcome) continue;
    require(tools.contains(record.name), "an open call is of no tool");
    ++open_calls(record);
  }
  const auto key_from = [&](const Json& json) {
    const auto key = json.get<CallKey>();
    require(key < calls.size(), "it names a call that is not there");
    return key;
  };
  for (CallKey key = 0; key < calls.size(); ++key) {
    for (const CallKey need : calls[key].needs) require(need < key, "a call needs a later one");
  }
  const auto is_held_back = [&](CallKey key) {
    return !calls[key].outcome && !calls[key].dispatched && tools.contains(calls[key].name);
  };
  for (const Json& key : saved.at("collected")) {
    collected.push_back(key_from(key));
    require(is_held_back(collected.back()), "a collected call runs or has ended");
  }
  for (const Json& call : saved.at("held")) {
    held.push_back({key_from(call.at("call")), call.at("arguments")});
    require(is_held_back(held.back().key) && held.back().arguments.is_object(),
            "a held call runs or has ended");
    for (const std::string& id : futures_in(held.back().arguments)) {
      require(find_call(id).has_value(), "a held call takes the result of none");
    }
    require(std::ranges::any_of(calls[held.back().key].needs,
                                [&](CallKey need) { return !calls[need].outcome; }),
            "a held call would never start");
  }
  for (CallKey key = 0; key < calls.size(); ++key) {
    if (calls[key].outcome || calls[key].dispatched) continue;
    require(
        std::ranges::count(collected, key) + std::ranges::count(held, key, &WaitingCall::key) == 1,
        "an open call would never start");
  }
  for (const Json& key : saved.at("named")) named.push_back(key_from(key));
  saved.at("wait_for_all").get_to(wait_for_all);
  awaited = saved.at("awaited").get<CallKey>();
  check_wait();
  saved.at("idle_traps").get_to(idle_traps);
  for (const Json& interrupt : saved.at("queue")) {
    const Json& call = interrupt.at("call");
    queue.push_back({call.is_null() ? std::nullopt : std::optional(key_from(call)),
                     interrupt.at("id").get<std::string>(), interrupt.at("text").get<std::string>(),
                     enumerator(interrupt.at("origin"), Origin::tool_error),
                     enumerator(interrupt.at("delivery"), Delivery::silent)});
  }
  saved.at("line_bytes").get_to(line_bytes);
  saved.at("word_bytes").get_to(word_bytes);
  saved.at("answer").get_to(answer);
  saved.at("answer_sent").get_to(answer_sent);
  require(answer_sent <= answer.size(), "more of its answer was sent than there is");
  if (saved.contains("error")) {
    error = Error{enumerator(saved.at("error").at("code"), ErrorCode::internal),
                  saved.at("error").at("message").get<std::string>()};
  }
  load_dialect(saved);
  if (config.drafts) source.load(saved.at("source").get<std::string>());
  if (const auto block = saved.find("block"); block != saved.end()) {
    const auto marker = enumerator(block->at("marker"), Marker::trap);
    const auto tokens = block->at("tokens").get<std::vector<Token>>();
    require(monitor && (marker == Marker::call || marker == Marker::trap) &&
                in_critical_section() && std::ranges::all_of(tokens, is_token),
            "its block is none");
    std::vector<CallName> names;
    for (const Json& name : block->at("names")) {
      names.push_back({name.at("id").get<std::string>(), name.at("open").get<bool>()});
      require(is_identifier(names.back().id), "a call that its block may name has no id");
    }
    monitor->open(marker, std::move(names));
    for (const Token token : tokens) {
      monitor->advance(token);
      require(monitor->is_open(), "its block is closed");
    }
  }
  propose();
}

// The state is one in which something can happen.
void Session::Impl::check_wait() const {
  const int open_with_id = open_named + open_silent;
  bool good = true;
  switch (state) {
    case State::generating:
      good = has_room(1) && counts.generated - turn_began < config.max_generated;
      break;
    case State::awaiting_call:
      good = awaited < calls.size() && !calls[awaited].outcome;
      break;
    case State::awaiting_all:
      good = open_with_id > 0;
      break;
    case State::awaiting_any:
      good = open_with_id > 0 || config.awaits_messages;
      break;
    case State::awaiting_named:
      good = !named_have_ended();
      break;
    case State::draining:
      good = open_silent + open_unnamed > 0;
      break;
    case State::done:
      break;
  }
  if (state != State::generating) good = good && collected.empty();
  if (!good) throw BadSave{"it waits for nothing, or should have stopped"};
}

}  // namespace asynclm
