// SPDX-License-Identifier: Apache-2.0
#include "bench/trap_map.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <utility>

#include "runtime/residency_policy.h"

namespace asynclm::bench {
namespace {

// Less of the wait is nothing: a way that is back at once is no better than keeping.
constexpr double kWorthFreeing = 0.01;

Time median(std::vector<Time> times) {
  std::ranges::sort(times);
  return times[times.size() / 2];
}

// One sequence of the engine at a time, which goes with the object.
class Trial {
 public:
  Trial(Engine& engine, const Clock& clock) : engine_(engine), clock_(clock) {
    const std::vector<Token> some = engine.vocabulary().encode("the quick brown fox ");
    const auto room = static_cast<std::size_t>(engine.info().max_batch_tokens);
    while (text_.size() < room) text_.insert(text_.end(), some.begin(), some.end());
  }
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;
  ~Trial() { drop(); }

  void drop() {
    if (sequence_) engine_.drop(*std::exchange(sequence_, std::nullopt));
  }

  // A new sequence of so many tokens. `costs` learns if it is there.
  Result<void> compute(std::size_t tokens, CostModel* costs = nullptr) {
    if (Result<void> ok = create(); !ok) return ok;
    const auto most = static_cast<std::size_t>(engine_.info().max_batch_tokens);
    for (std::size_t depth = 0; depth < tokens;) {
      const std::size_t count = std::min(most, tokens - depth);
      const Time from = clock_.now();
      if (Result<void> ok = append(count, false); !ok) return ok;
      DecodeWork work;
      work.add(count, depth);
      if (costs != nullptr) costs->decoded(work, clock_.now() - from);
      depth += count;
    }
    return {};
  }

  Result<void> to_host() {
    auto saved = engine_.save(*sequence_);
    if (!saved) return std::unexpected(std::move(saved.error()));
    saved_ = std::move(*saved);
    drop();
    return {};
  }
  Result<void> from_host() {
    if (Result<void> ok = create(); !ok) return ok;
    return engine_.restore(*sequence_, saved_);
  }
  [[nodiscard]] std::size_t saved_bytes() const { return saved_.size(); }

  Result<void> next_token() { return append(1, true); }

 private:
  Result<void> create() {
    const auto sequence = engine_.create({});
    if (!sequence) return std::unexpected(sequence.error());
    sequence_ = *sequence;
    return {};
  }
  Result<void> append(std::size_t count, bool sample) {
    const DecodeItem item{.sequence = *sequence_,
                          .append = std::span(text_).first(count),
                          .sample = sample,
                          .banned = {}};
    Token sampled = kNoToken;
    return engine_.decode({&item, 1}, {&sampled, 1});
  }

  Engine& engine_;
  const Clock& clock_;
  std::vector<Token> text_;
  std::optional<SequenceId> sequence_;
  std::vector<std::byte> saved_;
};

struct Times {
  Time token{};      // from the result to the next token
  double freed = 0;  // of the wait
};

// The trial has saved a sequence of so many tokens, which is where each way begins: computing it
// anew for each would take most of the time.
Result<Times> try_way(Trial& trial, const Clock& clock,
                      const std::function<void(Time)>& sleep_until, std::size_t tokens, Time wait,
                      Residency way, const CostModel& costs) {
  if (Result<void> ok = trial.from_host(); !ok) return std::unexpected(ok.error());
  const Time from = clock.now();
  const Time result = from + wait;
  Time gone = from, back = from;
  if (way != Residency::resident) {
    if (way == Residency::host) {
      if (Result<void> ok = trial.to_host(); !ok) return std::unexpected(ok.error());
    } else {
      trial.drop();
    }
    gone = clock.now();
    const Time lead = way == Residency::host ? costs.move(Move::from_host, costs.bytes(tokens))
                                             : costs.recompute(tokens);
    sleep_until(result - lead);
    back = clock.now();
    Result<void> ok = way == Residency::host ? trial.from_host() : trial.compute(tokens);
    if (!ok) return std::unexpected(ok.error());
  }
  sleep_until(result);
  if (Result<void> ok = trial.next_token(); !ok) return std::unexpected(ok.error());
  Times out{.token = clock.now() - result};
  // What was back only after the result was free for no use.
  const Time free = std::min(back, result) - gone;
  out.freed = std::max(0.0, static_cast<double>(free.count()) / static_cast<double>(wait.count()));
  trial.drop();
  return out;
}

}  // namespace

Result<std::vector<MeasuredCosts>> measure_trap_costs(Engine& engine, const Clock& clock,
                                                      const std::vector<std::size_t>& lengths,
                                                      Time limit, int repetitions,
                                                      CostModel& costs) {
  std::vector<MeasuredCosts> out;
  Trial trial(engine, clock);
  // The first calls of an engine take longer.
  if (Result<void> ok = trial.compute(1); !ok) return std::unexpected(ok.error());
  trial.drop();
  for (const std::size_t tokens : lengths) {
    if (costs.knows_decode() && costs.recompute(tokens) > limit) break;
    std::vector<Time> recompute, to_host, from_host;
    MeasuredCosts measured{.tokens = tokens};
    for (int i = 0; i < repetitions; ++i) {
      const Time a = clock.now();
      if (Result<void> ok = trial.compute(tokens, &costs); !ok) return std::unexpected(ok.error());
      const Time b = clock.now();
      if (Result<void> ok = trial.to_host(); !ok) return std::unexpected(ok.error());
      const Time c = clock.now();
      if (Result<void> ok = trial.from_host(); !ok) return std::unexpected(ok.error());
      const Time d = clock.now();
      trial.drop();
      measured.bytes = trial.saved_bytes();
      costs.moved(Move::to_host, measured.bytes, c - b);
      costs.moved(Move::from_host, measured.bytes, d - c);
      costs.saved(tokens, measured.bytes);
      recompute.push_back(b - a);
      to_host.push_back(c - b);
      from_host.push_back(d - c);
    }
    measured.recompute = median(recompute);
    measured.to_host = median(to_host);
    measured.from_host = median(from_host);
    out.push_back(measured);
  }
  return out;
}

Result<TrapPoint> try_trap(Engine& engine, const Clock& clock,
                           const std::function<void(Time)>& sleep_until, std::size_t tokens,
                           Time wait, int repetitions, const CostModel& costs) {
  TrapPoint out{.tokens = tokens, .wait = wait, .chosen = choice_at_trap(tokens, wait, costs)};
  Trial trial(engine, clock);
  if (Result<void> ok = trial.compute(tokens); !ok) return std::unexpected(ok.error());
  if (Result<void> ok = trial.to_host(); !ok) return std::unexpected(ok.error());
  std::array<std::vector<Time>, kTrapWays.size()> token;
  std::array<std::vector<double>, kTrapWays.size()> freed;
  // In turns, so that what else the machine does meets all of them.
  for (int i = 0; i < repetitions; ++i) {
    for (std::size_t way = 0; way < kTrapWays.size(); ++way) {
      const auto times = try_way(trial, clock, sleep_until, tokens, wait, kTrapWays[way], costs);
      if (!times) return std::unexpected(times.error());
      token[way].push_back(times->token);
      freed[way].push_back(times->freed);
    }
  }
  const Time kept = median(token.front());
  double most = -1;  // so that keeping is taken first
  for (std::size_t way = 0; way < kTrapWays.size(); ++way) {
    TrapTrial& trial_of_way = out.trials[way];
    std::ranges::sort(freed[way]);
    trial_of_way.freed = freed[way][freed[way].size() / 2];
    trial_of_way.added = std::max(Time{}, median(token[way]) - kept);
    if (trial_of_way.added <= wait / 5 + kTrialNoise && trial_of_way.freed > most + kWorthFreeing) {
      most = trial_of_way.freed;
      out.best = kTrapWays[way];
    }
  }
  return out;
}

std::array<Time, 3> telling_waits(std::size_t tokens, const CostModel& costs) {
  const auto [less, more] = std::minmax({std::max(costs.recompute(tokens), Time{1}),
                                         std::max(costs.host_round_trip(tokens), Time{1})});
  const double between =
      std::sqrt(static_cast<double>(less.count()) * static_cast<double>(more.count()));
  return {std::max(less / 4, Time{1}), Time{static_cast<Time::rep>(between)}, more * 2};
}

}  // namespace asynclm::bench
