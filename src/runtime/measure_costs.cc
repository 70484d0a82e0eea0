// SPDX-License-Identifier: Apache-2.0
#include "runtime/measure_costs.h"

#include <span>
#include <utility>
#include <vector>

namespace asynclm {
namespace {

// Single tokens twice: the first call also sets the engine up.
constexpr std::size_t kSizes[] = {1, 1, 1, 2, 4, 8, 16, 1, 32, 64, 1, 128, 256, 1, 512, 1};

Result<void> measure_sequence(Engine& engine, const Clock& clock, Time limit, SequenceId sequence,
                              CostModel& costs) {
  const EngineInfo& info = engine.info();
  const std::vector<Token> some = engine.vocabulary().encode("the quick brown fox ");
  if (some.empty()) return {};
  std::vector<Token> tokens;
  while (tokens.size() < 512) tokens.insert(tokens.end(), some.begin(), some.end());

  const Time begin = clock.now();
  bool first = true;
  for (const std::size_t size : kSizes) {
    const auto depth = static_cast<std::size_t>(engine.length(sequence));
    DecodeWork work;
    work.add(size, depth);
    if (size > static_cast<std::size_t>(info.max_batch_tokens) ||
        depth + size > static_cast<std::size_t>(info.context_tokens)) {
      continue;
    }
    if (clock.now() - begin + costs.decode(work) > limit) continue;
    const DecodeItem item{.sequence = sequence,
                          .append = std::span(tokens).first(size),
                          .sample = false,
                          .banned = {}};
    Token sampled = kNoToken;
    const Time from = clock.now();
    if (Result<void> done = engine.decode({&item, 1}, {&sampled, 1}); !done) return done;
    if (!std::exchange(first, false)) costs.decoded(work, clock.now() - from);
  }

  const Time from = clock.now();
  Result<std::vector<std::byte>> saved = engine.save(sequence);
  if (!saved) return std::unexpected(std::move(saved.error()));
  costs.moved(Move::to_host, saved->size(), clock.now() - from);
  costs.saved(static_cast<std::size_t>(engine.length(sequence)), saved->size());
  const Time back = clock.now();
  if (Result<void> done = engine.restore(sequence, *saved); !done) return done;
  costs.moved(Move::from_host, saved->size(), clock.now() - back);
  return {};
}

}  // namespace

Result<void> measure_costs(Engine& engine, const Clock& clock, Time limit, CostModel& costs) {
  Result<SequenceId> sequence = engine.create({});
  if (!sequence) return std::unexpected(std::move(sequence.error()));
  Result<void> result = measure_sequence(engine, clock, limit, *sequence, costs);
  engine.drop(*sequence);
  return result;
}

}  // namespace asynclm
