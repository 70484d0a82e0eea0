// SPDX-License-Identifier: Apache-2.0
// asynclm-lab eval: accuracy of a model on synthetic tasks with unseen names, in each mode.
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <format>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/assets.h"
#include "cli/constraint_options.h"
#include "commands/commands.h"
#include "commands/task_source.h"
#include "oracle/dataset.h"
#include "oracle/evaluate.h"
#include "oracle/synthetic.h"

namespace asynclm {
namespace {

// Of all tasks in one mode.
struct ModeResult {
  Score score;
  std::uint64_t passed = 0;         // conversations that are right at all timings
  std::uint64_t too_long = 0;       // conversations whose first task does not fit into the context
  std::int64_t left_out = 0;        // later tasks that did not
  Json right_runs = Json::array();  // of each conversation, of how many; null: too long
};

struct EvalCommand {
  std::optional<std::string> model;
  int threads = 0;
  TaskSource source;
  std::string stand_in = "ok";
  std::int32_t context_tokens = 2048;
  std::vector<std::string> modes = {"sync", "sync-parallel", "async", "async+"};
  std::optional<std::uint64_t> tasks;
  std::uint64_t timings = 1;
  std::ptrdiff_t turns = 1;
  std::uint64_t seed = 1;
  float temperature = 0;
  std::int32_t max_tokens = 600;  // twice what the longest solution takes
  std::string failures;
  ConstraintOptions constraint;
  bool json = false;

  [[nodiscard]] int run();
  [[nodiscard]] TaskSequence conversation(std::uint64_t index, std::uint64_t timing) const;
  // Wrong runs are written to `failed` if it is open.
  [[nodiscard]] Result<ModeResult> run_mode(Engine& engine, Mode mode, std::uint64_t count,
                                            std::ofstream& failed) const;
  void print_header() const;
  void print(std::string_view mode, std::uint64_t count, const ModeResult& result) const;
};

// Of nothing there is no share.
std::string percent(std::int64_t part, std::int64_t whole) {
  if (whole == 0) return "-";
  return std::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

Json as_json(const ModeResult& result) {
  const Score& score = result.score;
  Json json = {{"runs", score.runs},
               {"runs_right", score.runs_right},
               {"calls", score.calls},
               {"calls_right", score.calls_right},
               {"calls_extra", score.calls_extra},
               {"repeated", score.repeated},
               {"refused", score.refused},
               {"not_run", score.not_run},
               {"early", score.early},
               {"invented", score.invented},
               {"untimely", score.untimely},
               {"traps", score.traps},
               {"traps_right", score.traps_right},
               {"passed_at_all_timings", result.passed},
               {"too_long", result.too_long},
               {"left_out", result.left_out},
               {"forged", score.forged},
               {"answers_right", score.answers_right},
               {"stopped", score.stopped},
               {"choices", score.choices},
               {"choices_right", score.choices_right},
               {"right_runs", result.right_runs}};
  for (std::size_t i = 0; i < kFailures.size(); ++i) {
    json["failures"][kFailures[i]] = score.failures[i];
  }
  return json;
}

int EvalCommand::run() {
  const auto complain = [](const std::string& message) {
    std::cerr << "asynclm-lab eval: " << message << '\n';
    return kExitUsage;
  };
  std::vector<Mode> wanted;
  for (const std::string& name : modes) {
    const auto mode = parse_mode(name);
    if (!mode) return complain("--mode: " + mode.error().message);
    if (!std::ranges::contains(wanted, *mode)) wanted.push_back(*mode);
  }
  const auto path = find_model(model);
  if (!path) return complain(path.error().message);
  const auto engine = make_llama_engine(
      {.model_path = *path, .context_tokens = context_tokens, .threads = threads});
  if (!engine) return complain(engine.error().message);
  if (auto ok = source.open(Split::test, &(*engine)->vocabulary()); !ok) {
    return complain(ok.error().message);
  }
  if (auto ok = source.leave_out_refused(); !ok) return complain(ok.error().message);
  const std::uint64_t count = source.is_recorded()
                                  ? std::min(tasks.value_or(UINT64_MAX), source.size())
                                  : tasks.value_or(200);
  std::ofstream failed;
  if (!failures.empty()) {
    failed.open(failures);
    if (!failed) return complain("cannot write '" + failures + "'");
  }
  Json report = {{"model", *path},
                 {"tasks", count},
                 {"timings", timings},
                 {"turns", turns},
                 {"seed", seed},
                 {"source", source.describe()},
                 {"temperature", temperature},
                 {"modes", Json::object()}};
  if (!json) print_header();
  std::int64_t runs = 0;
  for (const Mode mode : wanted) {
    const std::string name(to_string(mode));
    const auto result = run_mode(**engine, mode, count, failed);
    if (!result) {
      std::cerr << "asynclm-lab eval: " << result.error().message << '\n';
      return kExitFailed;
    }
    runs += result->score.runs;
    if (json) {
      report["modes"][name] = as_json(*result);
    } else {
      print(name, count, *result);
    }
  }
  if (json) std::cout << report.dump(2) << '\n';
  if (runs == 0) return complain("no prompt fits into the context: raise --ctx");
  return kExitOk;
}

TaskSequence EvalCommand::conversation(std::uint64_t index, std::uint64_t timing) const {
  Random random = random_for_sample(seed, index);
  TaskSequence sequence = source.sequence(index, random);
  if (timing > 0) {
    Random times = random_for_sample(seed + timing, index);
    draw_times(sequence, times);
  }
  return sequence;
}

Result<ModeResult> EvalCommand::run_mode(Engine& engine, Mode mode, std::uint64_t count,
                                         std::ofstream& failed) const {
  ModeResult result;
  EvaluationOptions options{.stand_in = stand_in,
                            .config = constraint.config(mode),
                            .sampling = {.temperature = temperature},
                            .turns = turns};
  options.config.max_generated = max_tokens;
  for (std::uint64_t index = 0; index < count; ++index) {
    const std::string id = source.is_recorded() ? source.id(index) : std::to_string(index);
    options.sampling.seed = seed + index;
    Score score;  // of the conversation
    std::int64_t expected = 0;
    std::string transcripts;
    for (std::uint64_t timing = 0; timing < timings; ++timing) {
      const TaskSequence sequence = conversation(index, timing);
      const auto runs = evaluate(engine, sequence, options);
      if (!runs && runs.error().code == ErrorCode::limit_exceeded) {
        score = {};
        break;
      }
      if (!runs) {
        return fail(runs.error().code, std::format("task {}: {}", id, runs.error().message));
      }
      expected += std::min(turns, std::ssize(sequence.tasks));
      for (std::size_t turn = 0; turn < runs->size(); ++turn) {
        const EvaluatedRun& run = (*runs)[turn];
        score += run.score;
        if (run.score.runs_right == 1) continue;
        transcripts += std::format("task {}{} mode {} {}\n\n", id,
                                   turns == 1 ? "" : std::format(" turn {}", turn + 1),
                                   to_string(mode), run.transcript);
      }
    }
    if (score.runs == 0) {
      ++result.too_long;
      result.right_runs.push_back(Json());
    } else {
      result.score += score;
      result.passed += score.runs_right == expected ? 1 : 0;
      result.left_out += expected - score.runs;
      result.right_runs.push_back(Json{score.runs_right, expected});
      if (failed.is_open()) failed << transcripts;
    }
    if (isatty(STDERR_FILENO) == 1) {
      std::cerr << std::format("\r{} {} of {}\x1b[K", to_string(mode), index + 1, count)
                << (index + 1 < count ? "" : "\r\x1b[K") << std::flush;
    }
  }
  return result;
}

void EvalCommand::print_header() const {
  std::cout << std::format(
      "{:<13}{:>6}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n", "mode",
      "runs", "calls", "runs", "pass^" + std::to_string(timings), "answers", "stopped", "priority",
      "traps", "early", "invented", "repeated", "refused", "not run", "forged");
}

void EvalCommand::print(std::string_view mode, std::uint64_t count,
                        const ModeResult& result) const {
  const Score& score = result.score;
  std::cout << std::format("{:<13}{:>6}", mode, score.runs);
  for (const std::string& share :
       {percent(score.calls_right, score.calls), percent(score.runs_right, score.runs),
        percent(static_cast<std::int64_t>(result.passed),
                static_cast<std::int64_t>(count - result.too_long)),
        percent(score.answers_right, score.runs), percent(score.stopped, score.runs),
        percent(score.choices_right, score.choices), percent(score.traps_right, score.traps)}) {
    std::cout << std::format("{:>9}", share);
  }
  std::cout << std::format("{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}\n", score.early, score.invented,
                           score.repeated, score.refused, score.not_run, score.forged)
            << std::flush;
  std::string wrong;
  for (std::size_t i = 0; i < kFailures.size(); ++i) {
    if (score.failures[i] == 0) continue;
    wrong += std::format("{}{} {}", wrong.empty() ? "  wrong runs: " : ", ", kFailures[i],
                         score.failures[i]);
  }
  if (score.untimely > 0) {
    wrong += std::format(" (results told before all were there: {})", score.untimely);
  }
  if (!wrong.empty()) std::cout << wrong << '\n';
  if (result.too_long > 0) {
    std::cout << std::format(
        "  without {} tasks whose prompt does not fit into the context (--ctx)\n", result.too_long);
  }
  if (result.left_out > 0) {
    std::cout << std::format(
        "  without {} later tasks that no longer fitted into the context (--ctx)\n",
        result.left_out);
  }
}

}  // namespace

void add_eval_command(CLI::App& app, int& exit_code) {
  auto command = std::make_shared<EvalCommand>();
  CLI::App* sub = app.add_subcommand("eval",
                                     "accuracy of a model, in each mode, on synthetic tasks with "
                                     "unseen names or on recorded calls");
  sub->add_option("--model", command->model, "GGUF file (default: the model that asynclm ships)");
  sub->add_option("--mode", command->modes, "modes to run")->delimiter(',')->capture_default_str();
  sub->add_option("--tasks", command->tasks,
                  "tasks, or conversations of several, a mode (default: 200, or all recordings)")
      ->check(CLI::Range(1, 1'000'000));
  command->source.add_to(*sub);
  sub->add_option("--stand-in", command->stand_in, "the result of recorded calls without one")
      ->capture_default_str();
  sub->add_option("--ctx", command->context_tokens, "context size in tokens")
      ->check(CLI::Range(256, 1 << 20))
      ->capture_default_str();
  sub->add_option(
         "--timings", command->timings,
         "run each task so often, with other run times: pass^N is the share of tasks (with "
         "--turns: of conversations) that are right every time")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  sub->add_option("--turns", command->turns,
                  "of each conversation so many tasks, one after the other, if it has them")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  sub->add_option("--seed", command->seed, "of the tasks and of sampling")->capture_default_str();
  sub->add_option("--temperature", command->temperature, "0 = greedy")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  sub->add_option("--max-tokens", command->max_tokens, "that the model may write in a run")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  sub->add_option("--threads", command->threads, "0 = all cores but one")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub->add_option("--failures", command->failures, "write the failing runs to this file");
  sub->footer(
      "The table: runs; calls right, of those expected and those too many; runs right as a whole; "
      "tasks right at all timings; answers with the right lines; runs that ended by themselves; "
      "choices of the call with the longest estimate; traps while nothing could be called; calls "
      "before what they need; results used before they came; calls made again; calls refused; "
      "calls left to the session and not run; interrupts that the model wrote itself.");
  command->constraint.add_to(*sub);
  sub->add_flag("--json", command->json, "one JSON object on standard output");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
