// SPDX-License-Identifier: Apache-2.0
// The runtime's decode loop without threads: fake engine, virtual clock, and calls that are events
// on it. What happens is a function of the seed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <asynclm/runtime.h>

#include "base/clock.h"
#include "fixtures/fake_engine.h"
#include "runtime/decode_loop.h"
#include "runtime/test_engine.h"
#include "tools/call_runner.h"

namespace asynclm {

// Things that happen at virtual times, in order.
class EventQueue {
 public:
  void at(Time when, std::function<void()> what) { events_.emplace(when, std::move(what)); }
  [[nodiscard]] std::optional<Time> next() const {
    return events_.empty() ? std::nullopt : std::optional(events_.begin()->first);
  }
  void happen(Time now) {
    while (!events_.empty() && events_.begin()->first <= now) {
      const std::function<void()> what = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      what();
    }
  }

 private:
  std::multimap<Time, std::function<void()>> events_;
};

// Calls that end when their plan says.
class SimulatedCalls final : public CallRunner {
 public:
  struct Plan {
    std::optional<Time> takes;  // none: it never ends by itself
    CallResult result;
  };
  SimulatedCalls(EventQueue& events, const Clock& clock,
                 std::function<Plan(const std::string& tool, const Json& arguments)> plan)
      : events_(events), clock_(clock), plan_(std::move(plan)) {}

  Handle start(const std::string& tool, Json arguments, std::function<void()> on_started,
               std::function<void(CallResult)> on_done) override {
    const Handle handle = ++last_;
    const Plan plan = plan_(tool, arguments);
    open_[handle] = std::move(on_done);
    events_.at(clock_.now(), std::move(on_started));
    if (plan.takes) {
      events_.at(clock_.now() + *plan.takes, [this, handle, plan] { end(handle, plan.result); });
    }
    return handle;
  }
  void cancel(Handle handle) override {
    events_.at(clock_.now(), [this, handle] { end(handle, {Outcome::cancelled, "cancelled"}); });
  }
  [[nodiscard]] std::size_t open() const { return open_.size(); }

 private:
  void end(Handle handle, CallResult result) {
    const auto found = open_.find(handle);
    if (found == open_.end()) return;
    const auto done = std::move(found->second);
    open_.erase(found);
    done(std::move(result));
  }

  EventQueue& events_;
  const Clock& clock_;
  std::function<Plan(const std::string&, const Json&)> plan_;
  std::map<Handle, std::function<void(CallResult)>> open_;
  Handle last_ = 0;
};

// A script that writes `plan(prompt's text)`, whatever was evicted meanwhile: what comes next
// follows from the context alone. '?' in a plan becomes a letter that depends on every token before
// it.
inline FakeScript follow(std::function<std::string(const std::string& prompt)> plan) {
  return [plan = std::move(plan)](std::span<const Token> context, std::span<const Token> banned) {
    const FakeVocabulary& words = test_vocabulary();
    const Token assistant = words.control("<|assistant|>"), interrupt = words.control("[INTR]"),
                trap = words.control("[TRAP]"), end = words.control("[END]");
    std::string prompt;
    std::size_t i = 0;
    std::uint32_t hash = 1;
    for (; i < context.size() && context[i] != assistant; ++i) {
      words.append_piece(context[i], prompt);
    }
    std::size_t written = 0;
    bool in_interrupt = false, after_trap = false;
    for (++i; i < context.size(); ++i) {
      const Token token = context[i];
      hash = hash * 31 + static_cast<std::uint32_t>(token);
      if (token == interrupt) in_interrupt = true;
      if (!in_interrupt && !(after_trap && token == end)) ++written;
      if (in_interrupt && token == end) in_interrupt = false;
      after_trap = token == trap;
    }
    const std::vector<Token> tokens = encode_with_controls(words, plan(prompt));
    if (written >= tokens.size()) return words.control("<|end_of_text|>");
    const Token next = tokens[written];
    const bool needs_no_trap = next == trap && std::ranges::contains(banned, trap);
    return next == '?' || needs_no_trap ? static_cast<Token>('a' + (hash >> 8) % 26) : next;
  };
}

// One runtime without its threads.
class Simulation {
 public:
  Simulation(std::vector<ToolSpec> specs, FakeEngineOptions engine_options,
             const RuntimeOptions& options,
             std::function<SimulatedCalls::Plan(const std::string&, const Json&)> plan,
             std::function<std::unique_ptr<Engine>(std::unique_ptr<Engine>)> wrap = {})
      : specs_(std::move(specs)),
        max_queued_(options.max_queued),
        costs(static_cast<std::size_t>(engine_options.max_batch_tokens)),
        latency(specs_),
        published(specs_),
        calls(events, clock, std::move(plan)) {
    engine_options.clock = &clock;
    engine = std::make_unique<FakeEngine>(test_vocabulary(), std::move(engine_options));
    if (wrap) engine = wrap(std::move(engine));
    loop = std::make_unique<DecodeLoop>(LoopContext{.engine = *engine,
                                                    .calls = calls,
                                                    .clock = clock,
                                                    .inbox = inbox,
                                                    .costs = costs,
                                                    .latency = latency,
                                                    .published = published},
                                        options);
  }

  // As Runtime::start, at the present time.
  Result<std::pair<RunId, std::future<RunReport>>> start(RunRequest request) {
    auto session = Session::create(test_vocabulary(), *published.specs(),
                                   std::move(request.messages), request.config);
    if (!session) return std::unexpected(session.error());
    if (!published.join_queue(max_queued_)) {
      return std::unexpected(Error{ErrorCode::overloaded, "full", published.retry_after()});
    }
    auto run = std::unique_ptr<Run>(new Run{.id = ++last_,
                                            .session = std::move(*session),
                                            .sampling = request.sampling,
                                            .priority = request.priority,
                                            .on_event = std::move(request.on_event),
                                            .began = clock.now()});
    std::future<RunReport> report = run->report.get_future();
    inbox.put(StartRun{std::move(run)});
    return std::pair(last_, std::move(report));
  }
  void cancel(RunId run) { inbox.put(CancelRun{run}); }

  // Until nothing is left that could happen. False if that takes more than so many turns.
  bool run(std::int64_t max_turns) {
    for (std::int64_t turn = 0; turn < max_turns; ++turn) {
      events.happen(clock.now());
      if (loop->turn()) continue;
      std::optional<Time> next = loop->wake_at();
      if (const auto event = events.next()) next = next ? std::min(*next, *event) : *event;
      if (!next) return true;
      clock.set(std::max(clock.now(), *next));
    }
    return false;
  }
  [[nodiscard]] Metrics metrics() const { return published.metrics(); }

 private:
  std::vector<ToolSpec> specs_;
  std::int32_t max_queued_;
  RunId last_ = 0;

 public:
  VirtualClock clock;
  EventQueue events;
  Inbox<Input> inbox;
  CostModel costs;
  LatencyModel latency;
  Published published;
  SimulatedCalls calls;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<DecodeLoop> loop;
};

}  // namespace asynclm
