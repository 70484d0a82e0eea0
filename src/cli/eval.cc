// SPDX-License-Identifier: Apache-2.0
// asynclm eval: accuracy of a model on synthetic tasks with unseen names, in each mode.
#include <cstdint>
#include <format>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "oracle/evaluate.h"

namespace asynclm {
namespace {

struct EvalCommand {
  LlamaOptions engine{.model_path = "models/asynclm-nano.gguf", .context_tokens = 2048};
  std::string words = "/usr/share/dict/words";
  std::vector<std::string> modes = {"sync", "sync-parallel", "async"};
  std::uint64_t tasks = 200;
  std::uint64_t seed = 1;
  int level = kLevels;
  std::string failures;
  bool json = false;

  [[nodiscard]] int run() const;
};

double percent(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 100.0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

int EvalCommand::run() const {
  const auto complain = [](const std::string& message) {
    std::cerr << "asynclm eval: " << message << '\n';
    return kExitUsage;
  };
  const auto list = WordList::load(words, Split::held_out);
  if (!list) return complain(list.error().message);
  const auto model = make_llama_engine(engine);
  if (!model) return complain(model.error().message);
  std::ofstream failed;
  if (!failures.empty()) {
    failed.open(failures);
    if (!failed) return complain("cannot write '" + failures + "'");
  }
  nlohmann::ordered_json report = {{"model", engine.model_path},
                                   {"tasks", tasks},
                                   {"seed", seed},
                                   {"level", level},
                                   {"modes", nlohmann::ordered_json::object()}};
  if (!json) {
    std::cout << std::format("{:<14}{:>6}{:>13}{:>12}{:>13}{:>12}{:>12}\n", "mode", "runs",
                             "calls right", "runs right", "answers", "stopped", "priority");
  }
  for (const std::string& name : modes) {
    const auto mode = parse_mode(name);
    if (!mode) return complain(mode.error().message);
    Score score;
    for (std::uint64_t index = 0; index < tasks; ++index) {
      const auto run = evaluate(**model, *list, level, seed, index, *mode);
      if (!run) {
        std::cerr << "asynclm eval: task " << index << ": " << run.error().message << '\n';
        return kExitFailed;
      }
      score += run->score;
      if (failed.is_open() && run->score.runs_right == 0) failed << run->transcript << "\n\n";
    }
    if (json) {
      report["modes"][name] = {{"runs", score.runs},
                               {"runs_right", score.runs_right},
                               {"calls", score.calls},
                               {"calls_right", score.calls_right},
                               {"calls_extra", score.calls_extra},
                               {"answers_right", score.answers_right},
                               {"stopped", score.stopped},
                               {"choices", score.choices},
                               {"choices_right", score.choices_right}};
    } else {
      std::cout << std::format("{:<14}{:>6}{:>12.1f}%{:>11.1f}%{:>12.1f}%{:>11.1f}%{:>11.1f}%\n",
                               name, score.runs, percent(score.calls_right, score.calls),
                               percent(score.runs_right, score.runs),
                               percent(score.answers_right, score.runs),
                               percent(score.stopped, score.runs),
                               percent(score.choices_right, score.choices))
                << std::flush;
    }
  }
  if (json) std::cout << report.dump(2) << '\n';
  return kExitOk;
}

}  // namespace

void add_eval_command(CLI::App& app, int& exit_code) {
  auto command = std::make_shared<EvalCommand>();
  CLI::App* sub =
      app.add_subcommand("eval", "accuracy of a model on synthetic tasks with unseen names");
  sub->add_option("--model", command->engine.model_path, "GGUF file")->capture_default_str();
  sub->add_option("--mode", command->modes, "modes to run")->delimiter(',')->capture_default_str();
  sub->add_option("--tasks", command->tasks, "tasks a mode")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  sub->add_option("--level", command->level, "how hard the tasks are")
      ->check(CLI::Range(1, kLevels))
      ->capture_default_str();
  sub->add_option("--seed", command->seed, "of the tasks")->capture_default_str();
  sub->add_option("--words", command->words, "word list; its held-out words are used")
      ->capture_default_str();
  sub->add_option("--threads", command->engine.threads, "0 = all cores but one")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub->add_option("--failures", command->failures, "write the failing runs to this file");
  sub->add_flag("--json", command->json, "one JSON object on standard output");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
