// SPDX-License-Identifier: Apache-2.0
// Hundreds of sessions, or as many as ASYNCLM_SIMULATED_SESSIONS says, with tools that fail, time
// out and never come, an engine that refuses, fails and loses what it saved, and people who give
// up: every call has one outcome, every session ends, nobody starves, memory stays flat.
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/test_sanitized.h"
#include "fixtures/forwarding_engine.h"
#include "runtime/test_simulation.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kSeed = 20240607;
constexpr std::int32_t kSimulatedSequences = 8;
constexpr std::int64_t kHostBytes = 60'000;
constexpr Time kPatience = 120s;  // then a person gives up

int session_count() {
  const char* wanted = std::getenv("ASYNCLM_SIMULATED_SESSIONS");
  return wanted != nullptr ? std::atoi(wanted) : kSanitized ? 60 : 300;
}

// Fails now and then, but never for good: what is refused once works when it is asked again, and an
// error of a decode call is the one session's that is marked as damaged.
class FaultyEngine final : public ForwardingEngine {
 public:
  using ForwardingEngine::ForwardingEngine;

  Result<SequenceId> create(const SamplingParams& params) override {
    if (random_.chance(0.02)) return fail(ErrorCode::limit_exceeded, "somebody else has it");
    return inner().create(params);
  }
  Result<std::vector<std::byte>> save(SequenceId id) const override {
    if (random_.chance(0.02)) return fail(ErrorCode::engine, "no memory to save");
    return inner().save(id);
  }
  Result<void> restore(SequenceId id, std::span<const std::byte> state) override {
    if (state.size() > 200 && random_.chance(0.02)) {
      // As the contract says: the sequence is empty then.
      (void)inner().restore(id, {});
      return fail(ErrorCode::engine, "the state cannot be read");
    }
    return inner().restore(id, state);
  }
  Result<void> decode(std::span<const DecodeItem> items, std::span<Token> sampled) override {
    if (random_.chance(0.001)) return fail(ErrorCode::cancelled, "aborted for somebody else");
    return inner().decode(items, sampled);
  }

 private:
  mutable Random random_{kSeed};
};

std::vector<ToolSpec> three_tools() {
  std::vector<ToolSpec> tools;
  for (const auto& [name, estimate] :
       {std::pair{"quick", 50ms}, {"slow", 2000ms}, {"odd", 500ms}}) {
    ToolSpec spec;
    spec.name = name;
    spec.description = "a tool";
    spec.parameters =
        Json::parse(R"({"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]})");
    spec.estimate = estimate;
    spec.timeout = 20s;
    tools.push_back(std::move(spec));
  }
  return tools;
}

// What the session of this number writes: text, calls, traps; some never stop writing, some write
// what is no call, some are refused by the engine (a byte that is banned is an engine's error).
std::string plan_of(const std::string& prompt) {
  Random random(kSeed + std::stoull(prompt.substr(prompt.find('#') + 1)));
  std::string out;
  const int rounds = random.between(0, 4);
  for (int round = 0; round < rounds; ++round) {
    out.append(static_cast<std::size_t>(random.between(1, 20)), '?');
    const int calls = random.between(1, 3);
    for (int call = 0; call < calls; ++call) {
      const char* const tools[] = {"quick", "slow", "odd", "unknown"};
      const char* tool = tools[random.chance(0.03) ? 3 : random.below(3)];
      out += "[CALL]c" + std::to_string(round) + std::to_string(call) + "[HEAD]" + tool +
             "(n=" + std::to_string(random.below(1'000'000)) + ")[END]";
      if (random.chance(0.3)) out += "??";
    }
    if (random.chance(0.02)) out += "[CALL]broken[HEAD](((";
    if (random.chance(0.01)) out += "[INTR]";  // banned: the engine fails
    if (random.chance(0.8)) out += "[TRAP]";
  }
  out.append(random.chance(0.02) ? 400 : static_cast<std::size_t>(random.between(1, 30)), '?');
  return out;
}

SimulatedCalls::Plan outcome_of(const std::string& tool, const Json& arguments) {
  Random random(kSeed ^ arguments.at("n").get<std::uint64_t>());
  const double low = tool == "quick" ? 10 : tool == "slow" ? 500 : 1;
  const double high = tool == "quick" ? 200 : tool == "slow" ? 8000 : 15'000;
  const Time takes = from_ms(random.log_uniform(low, high));
  const double luck = random.uniform();
  if (luck < 0.01) return {std::nullopt, {}};  // never comes, not even as timed out
  if (luck < 0.04) return {20s, {Outcome::timed_out, "no result after 20000 ms"}};
  if (luck < 0.10) return {takes, {Outcome::failed, "it is broken"}};
  return {takes, {Outcome::returned, std::string(1 + random.below(60), 'r')}};
}

std::size_t resident_pages() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0, resident = 0;
  file >> all >> resident;
  return resident;
}

class Population {
 public:
  Population(int count, const RuntimeOptions& options)
      : simulation_(three_tools(),
                    {.context_tokens = 2048,
                     .max_sequences = kSimulatedSequences,
                     .max_batch_tokens = 128,
                     .per_call = 2ms,
                     .per_token = 20us,
                     .scripts = [](SequenceId) { return follow(plan_of); }},
                    options, outcome_of,
                    [](std::unique_ptr<Engine> inner) {
                      return std::make_unique<FaultyEngine>(std::move(inner));
                    }),
        count_(count) {}

  void run() {
    arrive(0);
    EXPECT_TRUE(simulation_.run(std::int64_t{20'000} * count_)) << "it goes on for ever";
    EXPECT_EQ(ended_, count_);
    EXPECT_TRUE(open_.empty());
    EXPECT_EQ(simulation_.calls.open(), 0U) << "a call was left running";
    for (const KvUse& use : simulation_.metrics().kv) {
      EXPECT_EQ(use.sessions, 0);
      EXPECT_EQ(use.tokens, 0);
      EXPECT_EQ(use.bytes, 0);
    }
    for (SequenceId id = 0; id < kSimulatedSequences; ++id)
      EXPECT_EQ(simulation_.engine->length(id), -1);
  }

  Metrics metrics() const { return simulation_.metrics(); }
  std::map<FinishReason, int> finished;
  std::map<Outcome, int> outcomes;
  int refused = 0, most_open = 0;
  std::size_t pages_at_a_third = 0, pages_at_end = 0;

 private:
  struct Open {
    std::future<RunReport> report;
    std::map<CallKey, int> completions;
  };

  // One after the other, at random times: faster than the engine can serve for a while, then
  // slower.
  void arrive(int number) {
    if (number == count_) return;
    Random random(kSeed * 7 + static_cast<std::uint64_t>(number));
    const double mean = number % 100 < 70 ? 2 : 400;
    simulation_.events.at(simulation_.clock.now() + from_ms(-mean * std::log(1 - random.uniform())),
                          [this, number] {
                            start(number);
                            arrive(number + 1);
                          });
  }

  void start(int number) {
    RunRequest request;
    request.config = {.max_generated = 300, .context_tokens = 2048};
    request.messages = {{"user", "Number #" + std::to_string(number)}};
    request.priority = number % 10 == 0 ? 1 : 0;
    request.on_event = [this, number](const Session&, const Event& event) {
      if (const auto* completed = std::get_if<CallCompleted>(&event.what)) {
        ++open_.at(number).completions[completed->call];
      }
      if (std::holds_alternative<Finished>(event.what)) {
        // The report is there when the loop has left this callback.
        simulation_.events.at(simulation_.clock.now(), [this, number] { end(number); });
      }
    };
    auto started = simulation_.start(std::move(request));
    if (!started) {
      EXPECT_EQ(started.error().code, ErrorCode::overloaded);
      EXPECT_GT(started.error().retry_after, 0ms);
      ++refused;
      simulation_.events.at(simulation_.clock.now() + started.error().retry_after,
                            [this, number] { start(number); });
      return;
    }
    open_[number] = {std::move(started->second), {}};
    most_open = std::max(most_open, static_cast<int>(open_.size()));
    const RunId run = started->first;
    Random random(kSeed * 13 + static_cast<std::uint64_t>(number));
    const Time patience = random.chance(0.05) ? from_ms(random.uniform() * 5000) : kPatience;
    simulation_.events.at(simulation_.clock.now() + patience,
                          [this, run] { simulation_.cancel(run); });
  }

  void end(int number) {
    Open open = std::move(open_.at(number));
    open_.erase(number);
    ASSERT_EQ(open.report.wait_for(0s), std::future_status::ready);
    const RunReport report = open.report.get();
    ++finished[report.finish];
    EXPECT_EQ(report.error.has_value(), report.finish == FinishReason::error);
    EXPECT_LE(report.wall, kPatience + 1s);
    for (CallKey key = 0; key < report.calls.size(); ++key) {
      const CallRecord& call = report.calls[key];
      ASSERT_TRUE(call.outcome) << number << ": " << call.code;
      ++outcomes[*call.outcome];
      EXPECT_TRUE(open.completions[key] == 1 || (call.rejected && open.completions[key] == 0))
          << number << ": " << call.code;
      EXPECT_TRUE(call.delivered || report.finish != FinishReason::stop) << number;
    }
    if (++ended_ == count_ / 3) pages_at_a_third = resident_pages();
    if (ended_ == count_) pages_at_end = resident_pages();
  }

  Simulation simulation_;
  int count_, ended_ = 0;
  std::map<int, Open> open_;
};

void show(const char* name, const Population& population) {
  const Metrics metrics = population.metrics();
  std::cout << name << ": ";
  for (const auto& [reason, count] : population.finished) {
    std::cout << count << ' ' << to_string(reason) << ", ";
  }
  std::cout << "calls: ";
  for (const auto& [outcome, count] : population.outcomes) {
    std::cout << count << ' ' << to_string(outcome) << ", ";
  }
  std::cout << population.refused << " refused and tried again; at most " << population.most_open
            << " open, " << metrics.most_trapped << " trapped, on " << kSimulatedSequences
            << " sequences; " << metrics.swaps_out << " swapped out, " << metrics.discards
            << " discarded, " << metrics.prefetches << " back early, " << metrics.lost
            << " lost; queued p99 " << to_ms(metrics.queue_time.quantile(0.99)) << " ms, back p99 "
            << to_ms(metrics.return_time.quantile(0.99)) << " ms; " << to_ms(metrics.at) / 1000
            << " s of virtual time; memory " << population.pages_at_a_third * 4 / 1024 << " -> "
            << population.pages_at_end * 4 / 1024 << " MiB\n";
}

TEST(Simulation, EverySessionEndsAndEveryCallHasOneOutcome) {
  const int count = session_count();
  Population population(count, {.max_queued = 5, .host_kv_bytes = kHostBytes});
  population.run();
  show("on-demand", population);
  const Metrics metrics = population.metrics();
  // Nothing was left out: the faults happened, and places were fought for.
  EXPECT_GT(population.finished[FinishReason::stop], count / 2);
  EXPECT_GT(population.finished[FinishReason::cancelled], 0);
  EXPECT_GT(population.finished[FinishReason::error], 0);
  EXPECT_GT(population.outcomes[Outcome::failed], 0);
  EXPECT_GT(population.outcomes[Outcome::timed_out], 0);
  EXPECT_GT(population.outcomes[Outcome::cancelled], 0);
  EXPECT_GT(population.refused, 0);
  EXPECT_GT(metrics.swaps_out, count);
  EXPECT_GT(metrics.discards, 0);
  EXPECT_GT(metrics.most_trapped, kSimulatedSequences);
  EXPECT_EQ(metrics.started, count);
  EXPECT_EQ(metrics.refused, population.refused);
  // Nobody starves: who can go on does so soon, in a crowd of short steps.
  EXPECT_LT(metrics.return_time.quantile(1), 10s);
  EXPECT_LT(metrics.queue_time.quantile(1), 30s);
  if (count >= 3000) {
    EXPECT_LT(population.pages_at_end, population.pages_at_a_third + 8192) << "32 MiB more";
  }
}

TEST(Simulation, ThePapersPolicyToo) {
  Population population(
      session_count() / 3,
      {.max_queued = 1000, .residency = ResidencyPolicy::at_trap, .host_kv_bytes = kHostBytes});
  population.run();
  show("at-trap", population);
  EXPECT_GT(population.metrics().swaps_out, 0);
}

}  // namespace
}  // namespace asynclm
