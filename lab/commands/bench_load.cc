// SPDX-License-Identifier: Apache-2.0
// asynclm-lab bench load: many sessions that mostly wait for tools, under each residency policy.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <format>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/load.h"
#include "cli/assets.h"
#include "commands/bench_commands.h"
#include "oracle/synthetic.h"

namespace asynclm {
namespace {

struct BenchLoadCommand {
  std::optional<std::string> model;
  std::string words = "/usr/share/dict/words";
  bench::LoadOptions load{.sessions = 60, .arrivals_per_s = 0.8, .tool_median_s = 30};
  std::vector<std::int32_t> budgets = {2, 4};
  std::vector<std::string> policies = {"keep", "at-trap", "on-demand"};
  std::size_t tasks = 6;
  int level = 2;
  std::int32_t context = 2048;
  std::int32_t threads = 1;
  double limit = 2;  // of the time without a budget
  bool quick = false;
  bool json = false;

  [[nodiscard]] int run();
  [[nodiscard]] Result<bench::LoadResult> run_arm(const std::string& path,
                                                  const bench::LoadWork& work,
                                                  std::int32_t sequences,
                                                  const bench::LoadArm& arm) const;
};

nlohmann::ordered_json quantiles(const Histogram& histogram) {
  return {{"p50_ms", to_ms(histogram.quantile(0.5))}, {"p99_ms", to_ms(histogram.quantile(0.99))}};
}

nlohmann::ordered_json optional_ms(const std::optional<Time>& time) {
  return time ? nlohmann::ordered_json(to_ms(*time)) : nlohmann::ordered_json();
}

// No more than a picture can show.
nlohmann::ordered_json series(const std::vector<bench::LoadSample>& samples) {
  constexpr std::size_t kMost = 200;
  const std::size_t step = (samples.size() + kMost - 1) / kMost;
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < samples.size(); i += std::max<std::size_t>(step, 1)) {
    const bench::LoadSample& s = samples[i];
    out.push_back({{"at_ms", to_ms(s.at)},
                   {"running", s.running},
                   {"trapped", s.trapped},
                   {"waiting", s.waiting},
                   {"kv_tokens", s.kv_tokens},
                   {"saved_bytes", s.saved_bytes}});
  }
  return out;
}

nlohmann::ordered_json describe(const bench::LoadResult& r, std::string_view policy,
                                std::int32_t sequences) {
  const Metrics& m = r.metrics;
  const double seconds = to_ms(r.duration) / 1e3;
  const auto tokens = static_cast<double>(std::max<std::int64_t>(m.tokens_sampled, 1));
  return {{"policy", policy},
          {"kv_sequences", sequences},
          {"completed", r.completed},
          {"cancelled", r.cancelled},
          {"calls", r.calls},
          {"most_trapped", m.most_trapped},
          {"duration_s", seconds},
          {"sessions_per_minute", static_cast<double>(r.completed) * 60 / seconds},
          {"tokens_per_s", static_cast<double>(m.tokens_sampled) / seconds},
          {"completion",
           {{"p50_ms", optional_ms(bench::completion_quantile(r, 0.5))},
            {"p95_ms", optional_ms(bench::completion_quantile(r, 0.95))},
            {"p99_ms", optional_ms(bench::completion_quantile(r, 0.99))}}},
          {"first_token", quantiles(m.first_token)},
          {"token_gap", quantiles(m.token_gap)},
          {"interrupt_delay", quantiles(m.interrupt_delay)},
          {"return_time", quantiles(m.return_time)},
          {"decode_call", quantiles(m.decode_call)},
          {"own_us_per_token", to_ms(m.own_time) * 1e3 / tokens},
          {"tokens_recomputed", m.tokens_recomputed},
          {"swaps_out", m.swaps_out},
          {"swaps_in", m.swaps_in},
          {"discards", m.discards},
          {"prefetches", m.prefetches},
          {"preemptions", m.preemptions},
          {"series", series(r.samples)}};
}

std::string text_of(const nlohmann::ordered_json& ms) {
  return ms.is_null() ? "-" : std::format("{:.0f}", ms.get<double>());
}

void print_header() {
  std::cout << std::format(
                   "{:<10}{:>5}{:>7}{:>9}{:>8}{:>8}{:>17}{:>15}{:>13}{:>13}{:>13}{:>7}{:>7}\n", "",
                   "", "", "", "", "", "completion ms", "first tok. ms", "gap ms", "step ms",
                   "interrupt ms", "", "")
            << std::format(
                   "{:<10}{:>5}{:>7}{:>9}{:>8}{:>8}{:>9}{:>8}{:>8}{:>7}{:>7}{:>6}{:>7}{:>6}{:>7}{:>"
                   "6}{:>7}{:"
                   ">7}\n",
                   "policy", "KV", "done", "trapped", "tok/s", "sess/m", "p50", "p95", "p50", "p99",
                   "p50", "p99", "p50", "p99", "p50", "p99", "swaps", "recomp");
}

void print_arm(const nlohmann::ordered_json& a) {
  std::cout
      << std::format(
             "{:<10}{:>5}{:>7}{:>9}{:>8.0f}{:>8.1f}{:>9}{:>8}{:>8}{:>7}{:>7}{:>6}{:>7}{:>6}{:>7}"
             "{:>6}{:>7}{:>7}\n",
             a["policy"].get<std::string>(), a["kv_sequences"].get<int>(),
             std::format("{}/{}", a["completed"].get<int>(),
                         a["completed"].get<int>() + a["cancelled"].get<int>()),
             a["most_trapped"].get<int>(), a["tokens_per_s"].get<double>(),
             a["sessions_per_minute"].get<double>(), text_of(a["completion"]["p50_ms"]),
             text_of(a["completion"]["p95_ms"]), text_of(a["first_token"]["p50_ms"]),
             text_of(a["first_token"]["p99_ms"]), text_of(a["token_gap"]["p50_ms"]),
             text_of(a["token_gap"]["p99_ms"]), text_of(a["decode_call"]["p50_ms"]),
             text_of(a["decode_call"]["p99_ms"]), text_of(a["interrupt_delay"]["p50_ms"]),
             text_of(a["interrupt_delay"]["p99_ms"]), a["swaps_out"].get<int>(),
             a["discards"].get<int>())
      << std::flush;
}

Result<bench::LoadResult> BenchLoadCommand::run_arm(const std::string& path,
                                                    const bench::LoadWork& work,
                                                    std::int32_t sequences,
                                                    const bench::LoadArm& arm) const {
  auto engine = make_llama_engine({.model_path = path,
                                   .context_tokens = context,
                                   .max_sequences = sequences,
                                   .threads = threads});
  if (!engine) return std::unexpected(engine.error());
  return bench::run_load(std::move(*engine), work, load, arm);
}

int BenchLoadCommand::run() {
  if (quick) {
    load.sessions = 24;
    load.arrivals_per_s = 4;
    load.tool_median_s = 4;
    budgets = {2};
  }
  const auto path = find_model(model);
  if (!path) return complain_bench("load", path.error());
  std::vector<ResidencyPolicy> arms;
  for (const std::string& name : policies) {
    const auto policy = parse_residency_policy(name);
    if (!policy) return complain_bench("load", policy.error());
    arms.push_back(*policy);
  }
  const auto list = WordList::load(words, Split::test);
  if (!list) return complain_bench("load", list.error());
  Random random(load.seed);
  const bench::LoadWork work =
      bench::make_load_work([&] { return make_tasks(*list, level, random); }, tasks);
  nlohmann::ordered_json report = {{"figure", "load"},
                                   {"model", *path},
                                   {"threads", threads},
                                   {"sessions", load.sessions},
                                   {"arrivals_per_s", load.arrivals_per_s},
                                   {"tool_median_s", load.tool_median_s},
                                   {"tool_sigma", load.tool_sigma},
                                   {"seed", load.seed},
                                   {"level", level},
                                   {"arms", nlohmann::ordered_json::array()}};
  if (!json) print_header();
  const auto add = [&](nlohmann::ordered_json arm) {
    if (!json) print_arm(arm);
    report["arms"].push_back(std::move(arm));
  };
  // What the others are measured against: room for all.
  const auto unlimited =
      run_arm(*path, work, load.sessions, {.policy = ResidencyPolicy::keep, .limit = {}});
  if (!unlimited) return complain_bench("load", unlimited.error());
  add(describe(*unlimited, "unlimited", load.sessions));
  const Time most = std::chrono::duration_cast<Time>(limit * unlimited->duration);
  for (const std::int32_t budget : budgets) {
    for (const ResidencyPolicy policy : arms) {
      const auto result = run_arm(*path, work, budget, {.policy = policy, .limit = most});
      if (!result) return complain_bench("load", result.error());
      add(describe(*result, to_string(policy), budget));
    }
  }
  if (json) std::cout << report.dump(1) << '\n';
  return kExitOk;
}

}  // namespace

void add_bench_load(CLI::App& bench, int& exit_code) {
  CLI::App* sub =
      bench.add_subcommand("load", "Many sessions that mostly wait, under each residency policy");
  const auto command = std::make_shared<BenchLoadCommand>();
  sub->add_option("--model", command->model, "GGUF file (default: the model that asynclm ships)");
  CLI::Option* const quick =
      sub->add_flag("--quick", command->quick, "24 sessions and a budget of 2: about two minutes");
  sub->add_option("--sessions", command->load.sessions, "How many arrive")
      ->check(CLI::Range(1, 256))
      ->excludes(quick)
      ->capture_default_str();
  sub->add_option("--rate", command->load.arrivals_per_s, "Arrivals in a second, on average")
      ->check(CLI::Range(0.001, 1000.0))
      ->excludes(quick)
      ->capture_default_str();
  sub->add_option("--tool-median", command->load.tool_median_s, "Half of the calls take longer (s)")
      ->check(CLI::Range(0.001, 500.0))
      ->excludes(quick)
      ->capture_default_str();
  sub->add_option("--tool-sigma", command->load.tool_sigma,
                  "Standard deviation of the logarithm of the calls' times")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  sub->add_option("--budgets", command->budgets, "Sequences that the engine has room for")
      ->delimiter(',')
      ->check(CLI::Range(1, 256))
      ->excludes(quick)
      ->capture_default_str();
  sub->add_option("--policies", command->policies, "Of keep, at-trap, on-demand")
      ->delimiter(',')
      ->capture_default_str();
  sub->add_option("--limit", command->limit,
                  "Sessions are cancelled after so many times what it takes without a budget")
      ->check(CLI::Range(1.0, 100.0))
      ->capture_default_str();
  sub->add_option("--tasks", command->tasks, "Different tasks")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  sub->add_option("--level", command->level, "How hard they are (asynclm-lab dataset)")
      ->check(CLI::Range(1, kLevels))
      ->capture_default_str();
  sub->add_option("--words", command->words, "Word list of the tasks")->capture_default_str();
  sub->add_option("--context", command->context, "Tokens of a session at most")
      ->check(CLI::Range(64, 1'000'000))
      ->capture_default_str();
  sub->add_option("--threads", command->threads, "CPU threads of the engine")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  sub->add_option("--seed", command->load.seed, "Of arrivals, tasks and times")
      ->capture_default_str();
  sub->add_flag("--json", command->json, "Print one JSON object (for ./dev plot)");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
