// SPDX-License-Identifier: Apache-2.0
// asynclm bench monitor: what the token monitor costs and saves.
#include <algorithm>
#include <format>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/large_vocabulary.h"
#include "bench/monitor.h"
#include "cli/assets.h"
#include "cli/bench_commands.h"

namespace asynclm {
namespace {

struct BenchMonitorCommand {
  std::string data;
  std::optional<std::string> model;
  std::string words = "/usr/share/dict/words";
  std::vector<std::string> sets = {"parallel", "multiple", "v3_multi_step_parallel"};
  int threads = 1;
  std::size_t decoded = 60;  // samples of each set that are decoded

  [[nodiscard]] int run() const;
  [[nodiscard]] Result<void> measure(Engine& engine, const Vocabulary& large,
                                     const std::string& set) const;
};

constexpr Token kLargeVocabulary = 131'072;

void print(const std::string& what, const bench::Percentiles& p) {
  std::cout << std::format("  {:<44}{:>10.2f}{:>10.2f}{:>10.2f}\n", what, p.p50, p.p90, p.p99);
}

double share(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

void print(const std::string& what, const bench::CallTokens& count) {
  const std::int64_t calls = count.calls - count.refused;
  std::cout << std::format("  {:<30}{:>8.1f} %{:>8.1f} %{:>8.1f} %{:>10.1f}{:>10.1f}\n", what,
                           100 * share(count.forced, count.tokens),
                           100 * share(count.drafted, count.tokens),
                           100 * share(count.accepted, count.tokens), share(count.tokens, calls),
                           share(count.steps, calls));
}

Result<void> print_costs(const Vocabulary& vocabulary, const std::vector<Trace>& traces) {
  const auto costs = bench::measure_costs(vocabulary, traces);
  if (!costs) return std::unexpected(costs.error());
  const std::string size = std::format("{} tokens: ", vocabulary.size());
  print(size + "compile a tool (us)", costs->compile_us);
  print(size + "accepted token (ns)", costs->accepted_ns);
  print(size + "mask of a new state (us)", costs->new_mask_us);
  print(size + "mask of a known state (us)", costs->known_mask_us);
  return {};
}

Result<void> print_counts(const Vocabulary& vocabulary, const std::vector<Trace>& traces) {
  for (const bench::Features& features : bench::kFeatures) {
    const auto count = bench::count_tokens(vocabulary, traces, features);
    if (!count) return std::unexpected(count.error());
    print(std::format("{} tokens: {}", vocabulary.size(), features.name), *count);
    if (count->refused > 0) {
      std::cout << std::format("    {} of {} calls are not the grammar's\n", count->refused,
                               count->calls);
    }
  }
  return {};
}

Result<void> BenchMonitorCommand::measure(Engine& engine, const Vocabulary& large,
                                          const std::string& set) const {
  const auto traces = load_traces(data + "/" + set + ".jsonl");
  if (!traces) return std::unexpected(traces.error());
  constexpr std::string_view kThree = "  {:<44}{:>10}{:>10}{:>10}\n";
  std::cout << std::format("{}: {} samples\n", set, traces->size())
            << std::format(kThree, "", "p50", "p90", "p99");
  for (const Vocabulary* vocabulary : {&engine.vocabulary(), &large}) {
    if (auto ok = print_costs(*vocabulary, *traces); !ok) return ok;
  }
  std::cout << std::format("  {:<30}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "", "forced", "drafted",
                           "accepted", "tokens", "steps");
  for (const Vocabulary* vocabulary : {&engine.vocabulary(), &large}) {
    if (auto ok = print_counts(*vocabulary, *traces); !ok) return ok;
  }
  const std::vector<Trace> some(
      traces->begin(),
      traces->begin() + static_cast<std::ptrdiff_t>(std::min(decoded, traces->size())));
  const auto times = bench::measure_decoding(engine, some);
  if (!times) return std::unexpected(times.error());
  std::cout << std::format(kThree, "", "p50", "p90", "p99");
  for (std::size_t way = 0; way < bench::kFeatures.size(); ++way) {
    print(std::format("decoding a call, {} (ms): {:.2f} of plain", bench::kFeatures[way].name,
                      times->ratio[way]),
          times->call_ms[way]);
  }
  std::cout << std::flush;
  return {};
}

int BenchMonitorCommand::run() const {
  const auto path = find_model(model);
  if (!path) return complain_bench("monitor", path.error());
  // One sequence for the prompt, one for its copies.
  auto engine = make_llama_engine({.model_path = *path, .max_sequences = 2, .threads = threads});
  if (!engine) return complain_bench("monitor", engine.error());
  const auto large = bench::LargeVocabulary::create(words, kLargeVocabulary);
  if (!large) return complain_bench("monitor", large.error());
  for (const std::string& set : sets) {
    if (auto ok = measure(**engine, *large, set); !ok) return complain_bench("monitor", ok.error());
  }
  return kExitOk;
}

}  // namespace

void add_bench_monitor(CLI::App& bench, int& exit_code) {
  CLI::App* sub = bench.add_subcommand("monitor", "What the token monitor costs and saves");
  const auto command = std::make_shared<BenchMonitorCommand>();
  sub->add_option("--data", command->data, "Folder of the benchmark's sets (JSON lines)")
      ->required();
  sub->add_option("--set", command->sets, "Sets to read")->delimiter(',')->capture_default_str();
  sub->add_option("--model", command->model, "GGUF file (default: the model that asynclm ships)");
  sub->add_option("--words", command->words, "Word list, for the large vocabulary")
      ->capture_default_str();
  sub->add_option("--decode", command->decoded, "Samples of each set that are decoded")
      ->capture_default_str();
  sub->add_option("--threads", command->threads, "CPU threads of the decoding")
      ->capture_default_str();
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
