// SPDX-License-Identifier: Apache-2.0
#include "oracle/simulator.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

namespace asynclm {
namespace {

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

SimulatedWorld::SimulatedWorld(Session& session, Time start, const Serving& serving,
                               SimulatedTool tool, EventObserver observer,
                               std::span<const SimulatedInterrupt> interrupts)
    : session_(&session),
      start_(start),
      serving_(serving),
      tool_(std::move(tool)),
      observer_(std::move(observer)),
      interrupts_(interrupts) {
  act_on_events(start);  // of what has opened the turn
}

void SimulatedWorld::act_on_events(Time now) {
  for (const Event& event : session_->take_events()) {
    if (const auto* dispatched = std::get_if<CallDispatched>(&event.what)) {
      SimulatedReturn r = tool_(dispatched->call, session_->calls()[dispatched->call]);
      for (ResultPart& part : r.parts) {
        parts_.emplace(now + part.at, std::pair{dispatched->call, std::move(part.text)});
      }
      agenda_.emplace(std::pair{now + r.duration, dispatched->call}, std::move(r.result));
      report_.started.emplace_back(dispatched->call, now);
    } else if (const auto* cancelled = std::get_if<CallCancelled>(&event.what)) {
      std::erase_if(agenda_, [&](const auto& e) { return e.first.second == cancelled->call; });
      std::erase_if(parts_, [&](const auto& e) { return e.second.first == cancelled->call; });
    } else if (const auto* interrupt = std::get_if<InterruptDelivered>(&event.what)) {
      if (interrupt->call) delivered_.push_back(*interrupt->call);
    }
    if (!report_.steps.empty()) {
      SimulatedStep& last = report_.steps.back();
      if (const auto* e = std::get_if<CallEmitted>(&event.what)) last.wrote = e->call;
      last.paused = last.paused || std::holds_alternative<Trapped>(event.what);
    }
    has_delivery_ = has_delivery_ || is_delivery(event);
    if (observer_) observer_(event);
  }
}

std::optional<Time> SimulatedWorld::next() const {
  std::optional<Time> next;
  if (!agenda_.empty()) {
    next = serving_.all_at_once ? agenda_.rbegin()->first.first : agenda_.begin()->first.first;
  }
  if (!parts_.empty() && !serving_.all_at_once) {
    next = next ? std::min(*next, parts_.begin()->first) : parts_.begin()->first;
  }
  if (!interrupts_.empty()) {
    const Time said = start_ + interrupts_.front().at;
    next = next ? std::min(*next, said) : said;
  }
  return next;
}

Result<void> SimulatedWorld::hand_in(Time now, bool waits) {
  while (!interrupts_.empty() && start_ + interrupts_.front().at <= now) {
    if (std::holds_alternative<Done>(session_->step())) break;
    const SimulatedInterrupt& said = interrupts_.front();
    if (auto ok = session_->interrupt(said.source, said.text, now); !ok) return ok;
    interrupts_ = interrupts_.subspan(1);
    ++report_.said;
    act_on_events(now);
  }
  if (serving_.all_at_once && (!waits || agenda_.empty() || agenda_.rbegin()->first.first > now)) {
    return {};
  }
  while (!agenda_.empty() && agenda_.begin()->first.first <= now) {
    auto due = agenda_.extract(agenda_.begin());
    hand_in_parts(due.key().first, now);
    session_->completed(due.key().second, std::move(due.mapped()), now);
    act_on_events(now);
  }
  hand_in_parts(now, now);
  return {};
}

// Those that came up to a time.
void SimulatedWorld::hand_in_parts(Time until, Time now) {
  while (!parts_.empty() && parts_.begin()->first <= until) {
    const auto due = parts_.extract(parts_.begin());
    session_->progressed(due.mapped().first, due.mapped().second, now);
    act_on_events(now);
  }
}

void SimulatedWorld::stepped(Time begun, Time now, std::size_t position,
                             std::span<const Token> tokens) {
  report_.steps.push_back({.begun = begun,
                           .took = now - begun,
                           .is_new_request = std::exchange(has_delivery_, false),
                           .took_in = std::exchange(delivered_, {}),
                           .wrote = {}});
  for (const Token token : tokens) {
    // Tokens that break the protocol do not enter the context.
    if (position < session_->context().size() && session_->context()[position] == token) {
      report_.sampled.push_back(static_cast<std::int32_t>(position));
    }
    ++position;
  }
  act_on_events(now);
}

SimulationReport SimulatedWorld::report(Time end) && {
  report_.end = end;
  return std::move(report_);
}

Result<SimulationReport> simulate(Session& session, Engine& engine, SequenceId sequence, Time start,
                                  const SimulationOptions& how, const SimulatedTool& tool,
                                  const EventObserver& observer,
                                  std::span<const SimulatedInterrupt> interrupts) {
  SimulatedWorld world(session, start, how.serving, tool, observer, interrupts);
  const Time origin = wall_time() - start;
  Time now = start;
  while (true) {
    const Step step = session.step();
    if (std::holds_alternative<Done>(step)) break;
    const bool waits = std::holds_alternative<Wait>(step);
    if (waits) {
      const auto next = world.next();
      if (!next) return fail(ErrorCode::internal, "the session waits, but no call is running");
      if (how.on_wall_clock) {
        std::this_thread::sleep_until(std::chrono::steady_clock::time_point(*next + origin));
      }
      now = std::max(now, *next);
    } else {
      const auto& decode_step = std::get<Decode>(step);
      const Time begun = now;
      if (world.has_delivery()) {
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
      if (how.on_wall_clock) now = decoded - origin;
      const std::size_t position = session.context().size();
      session.decoded(*tokens, now);
      if (how.measured) now += wall_time() - decoded;
      world.stepped(begun, now, position, *tokens);
    }
    if (how.on_wall_clock) now = wall_time() - origin;
    if (auto ok = world.hand_in(now, waits); !ok) return std::unexpected(ok.error());
  }
  return std::move(world).report(now);
}

}  // namespace asynclm
