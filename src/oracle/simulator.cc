// SPDX-License-Identifier: Apache-2.0
#include "oracle/simulator.h"

#include <algorithm>
#include <map>
#include <utility>

namespace asynclm {
namespace {

// Completion times of running calls; equal times in the order of the calls.
using Agenda = std::map<std::pair<Time, CallKey>, CallResult>;

// The sampled tokens.
Result<std::vector<Token>> decode(Engine& engine, SequenceId sequence, const Decode& step) {
  std::span<const Token> rest = step.append;
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

}  // namespace

Result<SimulationReport> simulate(
    Session& session, Engine& engine, SequenceId sequence, Time start, const SimulationCosts& costs,
    const std::function<SimulatedReturn(CallKey, const CallRecord&)>& tool,
    const std::function<void(const Event&)>& observer,
    std::span<const SimulatedInterrupt> interrupts) {
  SimulationReport report;
  Time now = start;
  Agenda agenda;
  const auto act_on_events = [&] {
    for (const Event& event : session.take_events()) {
      if (const auto* dispatched = std::get_if<CallDispatched>(&event.what)) {
        SimulatedReturn r = tool(dispatched->call, session.calls()[dispatched->call]);
        agenda.emplace(std::pair{now + r.duration, dispatched->call}, std::move(r.result));
      } else if (const auto* cancelled = std::get_if<CallCancelled>(&event.what)) {
        std::erase_if(agenda, [&](const auto& e) { return e.first.second == cancelled->call; });
      }
      if (observer) observer(event);
    }
  };
  while (true) {
    const Step step = session.step();
    if (std::holds_alternative<Done>(step)) break;
    if (std::holds_alternative<Wait>(step)) {
      if (agenda.empty()) {
        return fail(ErrorCode::internal, "the session waits, but no call is running");
      }
      Time next = agenda.begin()->first.first;
      if (!interrupts.empty()) next = std::min(next, start + interrupts.front().at);
      now = std::max(now, next);
    } else {
      const auto& decode_step = std::get<Decode>(step);
      const auto appended = static_cast<std::int64_t>(decode_step.append.size());
      const auto tokens = decode(engine, sequence, decode_step);
      if (!tokens) return std::unexpected(tokens.error());
      now += costs.per_token + costs.per_appended_token * (appended + std::ssize(*tokens) - 2);
      std::size_t position = session.context().size();
      session.decoded(*tokens, now);
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
      act_on_events();
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
