// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <format>
#include <utility>

#include <asynclm/session.h>

#include "grammar/token_mask.h"
#include "session/cml_session.h"
#include "session/native_session.h"
#include "session/session_impl.h"

namespace asynclm {

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;

// Callers hand their tools over. NOLINTNEXTLINE(performance-unnecessary-value-param)
Result<Session> Session::create(const Vocabulary& vocabulary, std::vector<ToolSpec> tools,
                                std::vector<Message> messages, const SessionConfig& config,
                                std::shared_ptr<CallGrammar> grammar,
                                std::shared_ptr<const ModelDialect> dialect) {
  auto impl = Impl::make(vocabulary, tools, config, std::move(grammar), std::move(dialect));
  if (!impl) return std::unexpected(impl.error());
  if (auto ok = (*impl)->write_prompt(std::move(messages)); !ok) {
    return std::unexpected(ok.error());
  }
  const std::size_t size = (*impl)->context.size();
  if (size == 0) {
    return fail(ErrorCode::unsupported, "the model's chat template renders an empty prompt");
  }
  if (size >= static_cast<std::size_t>(config.context_tokens)) {
    return fail(ErrorCode::limit_exceeded,
                std::format("the prompt has {} tokens, the context holds {}: list fewer tools, "
                            "shorten the task or raise the context size",
                            size, config.context_tokens));
  }
  (*impl)->counts.prompt = static_cast<std::int32_t>(size);
  return Session(std::move(*impl));
}

Result<std::unique_ptr<Session::Impl>> Session::Impl::make(
    const Vocabulary& vocabulary, const std::vector<ToolSpec>& specs, const SessionConfig& config,
    std::shared_ptr<CallGrammar> grammar, std::shared_ptr<const ModelDialect> dialect) {
  if (config.max_generated < 1 || config.context_tokens < 1 || config.max_calls < 0 ||
      config.max_call_tokens < 1 || config.max_result_bytes < 1) {
    return fail(ErrorCode::invalid_argument,
                "session limits (max_generated, context_tokens, max_call_tokens, max_result_bytes) "
                "must be at least 1 and max_calls at least 0");
  }
  if ((config.jump_forward || config.drafts) && !config.constrained) {
    return fail(ErrorCode::invalid_argument,
                std::format("{} needs constrained", config.drafts ? "drafts" : "jump_forward"));
  }
  if (uses_cml(vocabulary, config.dialect)) {
    return CmlSession::make(vocabulary, specs, config, std::move(grammar));
  }
  return NativeSession::make(vocabulary, specs, config, std::move(grammar), std::move(dialect));
}

Result<void> Session::Impl::add_tools(const std::vector<ToolSpec>& list) {
  specs = list;
  for (const ToolSpec& spec : specs) {
    auto validator = ArgumentValidator::compile(spec);
    if (!validator) return std::unexpected(validator.error());
    if (!tools.try_emplace(spec.name, Tool{spec, std::move(*validator)}).second) {
      return fail(ErrorCode::invalid_argument, std::format("tool '{}' is listed twice", spec.name));
    }
  }
  return {};
}

Result<void> Session::Impl::constrain(std::shared_ptr<CallGrammar> grammar,
                                      const GrammarOptions& options) {
  if (!config.constrained) return {};
  if (!grammar) {
    auto own = CallGrammar::create(vocabulary, std::make_shared<const TokenTrie>(vocabulary), specs,
                                   options);
    if (!own) return std::unexpected(own.error());
    grammar = std::move(*own);
  }
  // Where nothing can be called, calls are refused one by one.
  if (grammar->has_calls()) {
    monitor.emplace(std::move(grammar),
                    [this](const std::string& id) { return id_problem(id).empty(); });
  }
  return {};
}

Step Session::step() const {
  Impl& s = *impl_;  // the monitor remembers what it is asked for
  if (s.state == Impl::State::done) return Done{s.finish_reason};
  if (s.state != Impl::State::generating) return s.wait();
  return Decode{.append = std::span(s.context).subspan(s.fed),
                .banned = s.banned(),
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
  s.jump_forward(now);
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
  if (!s.calls[key].dispatched || s.calls[key].outcome) return;
  s.end_call(key, std::move(result), now);
  s.on_ended(key, now);
  s.wake(key, now);
}

void Session::cancel_call(CallKey key, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (key >= s.calls.size() || s.calls[key].outcome) return;
  s.withdraw(key, now);
  s.on_ended(key, now);
  s.wake(key, now);
}

void Session::progressed(CallKey key, std::string_view text, Time now) {
  Impl& s = *impl_;
  s.begin_input();
  if (key >= s.calls.size() || s.state == Impl::State::done || !s.async_plus()) return;
  const CallRecord& call = s.calls[key];
  if (!call.dispatched || call.outcome || call.id.empty()) return;
  s.queue_interrupt(
      {std::nullopt, call.id + " part", std::string(text), Origin::tool_result, call.delivery});
  s.after_input(now);
}

Result<void> Session::interrupt(std::string_view source, std::string_view text, Time now,
                                Delivery delivery) {
  Impl& s = *impl_;
  s.begin_input();
  constexpr std::string_view kAgent = "agent:";
  if (source != "user" &&
      !(source.starts_with(kAgent) && is_identifier(source.substr(kAgent.size())))) {
    return fail(ErrorCode::invalid_argument,
                std::format("an interrupt comes from 'user' or 'agent:NAME', not from {}",
                            schema::shown(std::string(source))));
  }
  if (s.state == Impl::State::done &&
      (s.finish_reason == FinishReason::context_full || s.finish_reason == FinishReason::error)) {
    return fail(ErrorCode::invalid_argument,
                std::format("the session has ended ({}) and cannot go on: start a new one",
                            to_string(s.finish_reason)));
  }
  s.queue.push_back({std::nullopt, std::string(source), std::string(text), Origin::user, delivery});
  const bool opens_turn = delivery != Delivery::silent &&
                          (s.state == Impl::State::draining || s.state == Impl::State::done);
  auto taken = opens_turn ? s.open_turn(now)
               : s.queue_fits()
                   ? Result<void>()
                   : fail(ErrorCode::limit_exceeded, "the message does not fit into the context");
  if (!taken) {
    s.queue.pop_back();
    return taken;
  }
  if (delivery == Delivery::silent) return {};
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

void Session::close(Time now) {
  Impl& s = *impl_;
  s.begin_input();
  const bool calls_open = s.open_named + s.open_silent + s.open_unnamed > 0;
  if (s.state == Impl::State::awaiting_any && !calls_open) s.finish(FinishReason::stop, now);
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
bool Session::in_critical_section() const { return impl_->in_critical_section(); }

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

std::string_view to_string(DialectChoice choice) {
  switch (choice) {
    case DialectChoice::automatic:
      return "auto";
    case DialectChoice::cml:
      return "cml";
    case DialectChoice::native:
      return "native";
    case DialectChoice::generic:
      return "generic";
  }
  return "?";
}

Result<DialectChoice> parse_dialect(std::string_view text) {
  for (const auto choice : {DialectChoice::automatic, DialectChoice::cml, DialectChoice::native,
                            DialectChoice::generic}) {
    if (text == to_string(choice)) return choice;
  }
  return fail(ErrorCode::invalid_argument,
              std::format("'{}' is no dialect: use auto, cml, native or generic", text));
}

}  // namespace asynclm
