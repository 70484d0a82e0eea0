// SPDX-License-Identifier: Apache-2.0
#include "oracle/simulator.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace asynclm {
namespace {

// Completion times of running calls; equal times in the order of the calls.
using Agenda = std::map<std::pair<Time, CallKey>, CallResult>;

// Feeds `rest`; the sampled tokens.
Result<std::vector<Token>> decode(Engine& engine, SequenceId sequence, const Decode& step,
                                  std::span<const Token> rest) {
  const auto limit = static_cast<std::size_t>(engine.info().max_batch_tokens);
  const auto drafts = static_cast<std::size_t>(engine.info().max_draft_tokens);
  std::vector<Token> sampled;
  while (true) {
    const std::size_t n = std::min(limit, rest.size());
    DecodeItem item{.sequence = sequence,
                    .append = rest.first(n),
                    .sample = n == rest.size(),
                    .banned = step.banned,
                    .filter = step.filter};
    if (item.sample) {
      item.draft = step.draft.first(std::min({step.draft.size(), limit - n, drafts}));
    }
    sampled.resize(1 + item.draft.size());
    if (auto ok = engine.decode({&item, 1}, sampled); !ok) return std::unexpected(ok.error());
    if (item.sample) break;
    rest = rest.subspan(n);
  }
  sampled.erase(std::ranges::find(sampled, kNoToken), sampled.end());
  return sampled;
}

// The sequence keeps its sampler only.
Result<void> forget(Engine& engine, SequenceId sequence) {
  const auto sampler = engine.save_sampler(sequence);
  if (!sampler) return std::unexpected(sampler.error());
  return engine.restore(sequence, *sampler);
}

Time wall_time() {
  return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now().time_since_epoch());
}

// Something has entered the context.
bool is_delivery(const Event& event) {
  return std::holds_alternative<InterruptDelivered>(event.what) ||
         std::holds_alternative<TurnStarted>(event.what);
}

}  // namespace

Result<SimulationReport> simulate(
    Session& session, Engine& engine, SequenceId sequence, Time start, const SimulationOptions& how,
    const std::function<SimulatedReturn(CallKey, const CallRecord&)>& tool,
    const std::function<void(const Event&)>& observer,
    std::span<const SimulatedInterrupt> interrupts) {
  SimulationReport report;
  Time now = start;
  Agenda agenda;
  bool has_delivery = false;
  const auto act_on_events = [&] {
    for (const Event& event : session.take_events()) {
      if (const auto* dispatched = std::get_if<CallDispatched>(&event.what)) {
        SimulatedReturn r = tool(dispatched->call, session.calls()[dispatched->call]);
        agenda.emplace(std::pair{now + r.duration, dispatched->call}, std::move(r.result));
      } else if (const auto* cancelled = std::get_if<CallCancelled>(&event.what)) {
        std::erase_if(agenda, [&](const auto& e) { return e.first.second == cancelled->call; });
      }
      if (!report.steps.empty()) {
        SimulatedStep& last = report.steps.back();
        if (const auto* e = std::get_if<CallEmitted>(&event.what)) last.wrote = e->call;
        last.paused = last.paused || std::holds_alternative<Trapped>(event.what);
      }
      has_delivery = has_delivery || is_delivery(event);
      if (observer) observer(event);
    }
  };
  act_on_events();  // of what has opened the turn
  while (true) {
    const Step step = session.step();
    if (std::holds_alternative<Done>(step)) break;
    if (std::holds_alternative<Wait>(step)) {
      if (agenda.empty()) {
        return fail(ErrorCode::internal, "the session waits, but no call is running");
      }
      Time next =
          how.serving.all_at_once ? agenda.rbegin()->first.first : agenda.begin()->first.first;
      if (!interrupts.empty()) next = std::min(next, start + interrupts.front().at);
      now = std::max(now, next);
    } else {
      const auto& decode_step = std::get<Decode>(step);
      const Time begun = now;
      if (has_delivery) {
        now += how.serving.per_request;
        if (!how.serving.keeps_cache) {
          if (auto ok = forget(engine, sequence); !ok) return std::unexpected(ok.error());
        }
      }
      const auto append =
          session.context().subspan(static_cast<std::size_t>(engine.length(sequence)));
      const std::size_t batch = append.size() + decode_step.draft.size();
      const Time from = wall_time();
      const auto tokens = decode(engine, sequence, decode_step, append);
      if (!tokens) return std::unexpected(tokens.error());
      const Time decoded = wall_time();
      now += how.measured ? decoded - from
                          : how.costs.per_token +
                                how.costs.per_appended_token * static_cast<std::int64_t>(batch - 1);
      std::size_t position = session.context().size();
      session.decoded(*tokens, now);
      if (how.measured) now += wall_time() - decoded;
      report.steps.push_back(
          {.begun = begun, .took = now - begun, .is_new_request = has_delivery, .wrote = {}});
      has_delivery = false;
      for (const Token token : *tokens) {
        // Tokens that break the protocol do not enter the context.
        if (position < session.context().size() && session.context()[position] == token) {
          report.sampled.push_back(static_cast<std::int32_t>(position));
        }
        ++position;
      }
      act_on_events();
    }
    while (!interrupts.empty() && start + interrupts.front().at <= now) {
      if (std::holds_alternative<Done>(session.step())) break;
      const auto said = session.interrupt(interrupts.front().source, interrupts.front().text, now);
      if (!said) return std::unexpected(said.error());
      interrupts = interrupts.subspan(1);
      ++report.said;
      act_on_events();
    }
    if (how.serving.all_at_once && (!std::holds_alternative<Wait>(step) || agenda.empty() ||
                                    agenda.rbegin()->first.first > now)) {
      continue;
    }
    while (!agenda.empty() && agenda.begin()->first.first <= now) {
      auto due = agenda.extract(agenda.begin());
      session.completed(due.key().second, std::move(due.mapped()), now);
      act_on_events();
    }
  }
  report.end = now;
  return report;
}

}  // namespace asynclm
