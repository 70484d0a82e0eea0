// SPDX-License-Identifier: Apache-2.0
// asynclm-lab bench policies: how good the orders are in which calls are written.
#include <algorithm>
#include <format>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/policies.h"
#include "cli/assets.h"
#include "commands/bench_commands.h"
#include "commands/task_source.h"
#include "oracle/synthetic.h"

namespace asynclm {
namespace {

using nlohmann::ordered_json;

struct BenchPoliciesCommand {
  std::optional<std::string> model;
  TaskSource source;
  std::size_t tasks = 2000;
  std::uint64_t seed = 1;
  bool json = false;

  [[nodiscard]] int run();
  [[nodiscard]] Result<std::vector<TaskSequence>> read();
};

Result<std::vector<TaskSequence>> BenchPoliciesCommand::read() {
  if (auto ok = source.open(Split::test); !ok) return std::unexpected(ok.error());
  std::vector<TaskSequence> sequences;
  Random random(seed);
  if (source.is_recorded()) {
    for (std::uint64_t i = 0; i < source.size(); ++i) {
      sequences.push_back(source.sequence(i, random));
    }
    return sequences;
  }
  for (std::size_t count = 0; count < tasks;) {
    TaskSequence& sequence = sequences.emplace_back(source.sequence(0, random));
    std::erase_if(sequence.tasks, [](const Task& task) { return task.calls.size() < 2; });
    sequence.tasks.resize(std::min(sequence.tasks.size(), tasks - count));
    count += sequence.tasks.size();
  }
  return sequences;
}

// How long the calls of a comparison take.
std::string_view durations(bool noisy) {
  return noisy ? "0.5 to 2 times their estimate" : "their estimate";
}

ordered_json to_json(const bench::PolicyResults& results, bool noisy) {
  ordered_json out = {{"calls_take", durations(noisy)},
                      {"tasks", results.tasks},
                      {"unproven", results.unproven},
                      {"policies", ordered_json::array()}};
  for (const auto& line : results.lines) {
    out["policies"].push_back({{"name", line.name},
                               {"mean", line.mean},
                               {"p90", line.p90},
                               {"share_best", line.share_best},
                               {"over_random", line.over_random}});
  }
  return out;
}

void print(const bench::PolicyResults& results, bool noisy) {
  std::cout << std::format(
      "{} tasks, calls take {}; {} of them without a proven best order\n"
      "  {:<15}{:>20}{:>8}{:>14}{:>20}\n",
      results.tasks, durations(noisy), results.unproven, "makespan / best", "mean", "p90",
      "share best", "time / random's");
  for (const auto& line : results.lines) {
    std::cout << std::format("  {:<15}{:>20.3f}{:>8.3f}{:>12.1f} %{:>20.3f}\n", line.name,
                             line.mean, line.p90, 100 * line.share_best, line.over_random);
  }
  std::cout << std::flush;
}

int BenchPoliciesCommand::run() {
  const auto path = find_model(model);
  if (!path) return complain_bench("policies", path.error());
  const auto vocabulary = load_vocabulary(*path);
  if (!vocabulary) return complain_bench("policies", vocabulary.error());
  const auto sequences = read();
  if (!sequences) return complain_bench("policies", sequences.error());
  ordered_json report = {
      {"figure", "policies"}, {"seed", seed}, {"comparisons", ordered_json::array()}};
  for (const bool noisy : {false, true}) {
    const auto results = bench::compare_policies(**vocabulary, *sequences, noisy, seed);
    if (results.tasks == 0) {
      return complain_bench("policies", {ErrorCode::invalid_argument,
                                         "no task of the recordings has two calls or more"});
    }
    if (json) {
      report["comparisons"].push_back(to_json(results, noisy));
    } else {
      print(results, noisy);
    }
  }
  if (json) std::cout << report.dump(2) << '\n';
  return kExitOk;
}

}  // namespace

void add_bench_policies(CLI::App& bench, int& exit_code) {
  CLI::App* sub =
      bench.add_subcommand("policies", "How good the orders are in which calls are written");
  const auto command = std::make_shared<BenchPoliciesCommand>();
  CLI::Option* const recordings = command->source.add_to(*sub, 2);
  sub->add_option("--tasks", command->tasks, "Tasks with two calls or more")
      ->check(CLI::Range(1, 1'000'000))
      ->excludes(recordings)
      ->capture_default_str();
  sub->add_option("--seed", command->seed, "Of the tasks")->capture_default_str();
  sub->add_option("--model", command->model,
                  "GGUF file whose tokens count (default: the model that asynclm ships)");
  sub->add_flag("--json", command->json, "Print one JSON object");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
