// SPDX-License-Identifier: Apache-2.0
#include "oracle/dataset.h"

#include <memory>
#include <vector>

#include "cml/markers.h"
#include "engine/fake_engine.h"
#include "oracle/simulator.h"

namespace asynclm {
namespace {

Mode pick_mode(Random& random) {
  // Interrupts in mid-generation are what is hardest to learn.
  const double share = random.uniform();
  return share < 0.7 ? Mode::async : share < 0.85 ? Mode::sync_parallel : Mode::sync;
}

SimulationCosts pick_costs(Random& random) {
  // Paper section 4: 5 to 30 ms an output token.
  const double per_token = random.log_uniform(5, 30);
  return {.per_token = from_ms(per_token), .per_appended_token = from_ms(per_token / 50)};
}

}  // namespace

Result<Sample> make_sample(const Vocabulary& vocabulary, const WordList& words,
                           const DatasetOptions& options, std::uint64_t index) {
  Random random(Random(options.seed + index * 0x9E3779B97F4A7C15ULL).next());
  const TaskSequence sequence = make_tasks(words, options.level, random);
  Sample sample;
  sample.mode = pick_mode(random);
  const SimulationCosts costs = pick_costs(random);

  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  SessionConfig config;
  config.mode = sample.mode;
  config.context_tokens = 16 * options.max_tokens;
  config.max_generated = config.context_tokens;
  auto session =
      Session::create(vocabulary, sequence.tools, {{"user", sequence.tasks.front().user}}, config);
  if (!session) return std::unexpected(session.error());

  Oracle oracle(vocabulary, *markers, sequence.tools, options.policy, costs.per_token);
  FakeEngine engine(vocabulary, {.context_tokens = config.context_tokens,
                                 .max_sequences = 1,
                                 .max_batch_tokens = config.context_tokens,
                                 .scripts = {}});
  const auto id = engine.create({});
  if (!id) return std::unexpected(id.error());
  std::vector<bool> mistaken;  // for each token that the oracle wrote in this task
  engine.script(*id, [&](std::span<const Token>, std::span<const Token>) {
    const Token token = oracle.next(*session);
    mistaken.push_back(oracle.mistaken());
    return token;
  });
  const auto tool = [&](CallKey key, const CallRecord&) {
    const TaskCall& call = *oracle.call(key);
    return SimulatedReturn{call.duration, call.result};
  };
  for (const Task& task : sequence.tasks) {
    if (&task != &sequence.tasks.front()) {
      auto added = session->add_user_message(task.user, sample.makespan);
      if (!added) return std::unexpected(added.error());
    }
    oracle.begin(task, *session);
    mistaken.clear();
    const auto report = simulate(*session, engine, *id, sample.makespan, costs, tool);
    if (!report) return std::unexpected(report.error());
    sample.makespan = report->end;
    for (std::size_t i = 0; i < report->sampled.size(); ++i) {
      if (mistaken[i]) continue;
      const std::int32_t position = report->sampled[i];
      if (sample.loss.empty() || sample.loss.back().second != position) {
        sample.loss.emplace_back(position, position);
      }
      ++sample.loss.back().second;
    }
  }
  sample.tokens.assign(session->context().begin(), session->context().end());
  sample.calls = static_cast<std::int32_t>(session->calls().size());
  return sample;
}

}  // namespace asynclm
