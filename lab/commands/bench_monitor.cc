// SPDX-License-Identifier: Apache-2.0
// asynclm-lab bench monitor: what the token monitor costs and saves.
#include <algorithm>
#include <format>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "bench/monitor.h"
#include "cli/assets.h"
#include "commands/bench_commands.h"
#include "fixtures/large_vocabulary.h"

namespace asynclm {
namespace {

using nlohmann::ordered_json;

struct BenchMonitorCommand {
  std::string data;
  std::optional<std::string> model;
  std::string words = "/usr/share/dict/words";
  std::vector<std::string> sets = {"parallel", "multiple", "v3_multi_step_parallel"};
  int threads = 1;
  std::size_t decoded = 60;  // samples of each set that are decoded
  bool json = false;

  [[nodiscard]] int run() const;
  [[nodiscard]] Result<ordered_json> measure(Engine& engine, const Vocabulary& large,
                                             const std::vector<Recording>& recordings) const;
};

constexpr Token kLargeVocabulary = 131'072;

ordered_json to_json(const bench::Percentiles& p) {
  return {{"p50", p.p50}, {"p90", p.p90}, {"p99", p.p99}};
}

Result<ordered_json> costs_of(const Vocabulary& vocabulary,
                              const std::vector<Recording>& recordings) {
  const auto costs = bench::measure_costs(vocabulary, recordings);
  if (!costs) return std::unexpected(costs.error());
  return ordered_json{{"vocabulary", vocabulary.size()},
                      {"compile_us", to_json(costs->compile_us)},
                      {"accepted_ns", to_json(costs->accepted_ns)},
                      {"new_mask_us", to_json(costs->new_mask_us)},
                      {"known_mask_us", to_json(costs->known_mask_us)}};
}

Result<ordered_json> counts_of(const Vocabulary& vocabulary,
                               const std::vector<Recording>& recordings) {
  ordered_json out = ordered_json::array();
  for (const bench::Features& features : bench::kFeatures) {
    const auto count = bench::count_tokens(vocabulary, recordings, features);
    if (!count) return std::unexpected(count.error());
    out.push_back({{"vocabulary", vocabulary.size()},
                   {"features", features.name},
                   {"calls", count->calls},
                   {"refused", count->refused},
                   {"tokens", count->tokens},
                   {"forced", count->forced},
                   {"drafted", count->drafted},
                   {"accepted", count->accepted},
                   {"steps", count->steps}});
  }
  return out;
}

// {samples, costs[of each vocabulary], counts[of each vocabulary and way], decoding[way]}
Result<ordered_json> BenchMonitorCommand::measure(Engine& engine, const Vocabulary& large,
                                                  const std::vector<Recording>& recordings) const {
  ordered_json report = {{"samples", recordings.size()},
                         {"costs", ordered_json::array()},
                         {"counts", ordered_json::array()},
                         {"decoding", ordered_json::array()}};
  for (const Vocabulary* vocabulary : {&engine.vocabulary(), &large}) {
    auto costs = costs_of(*vocabulary, recordings);
    if (!costs) return costs;
    report["costs"].push_back(std::move(*costs));
    auto counts = counts_of(*vocabulary, recordings);
    if (!counts) return counts;
    for (ordered_json& count : *counts) report["counts"].push_back(std::move(count));
  }
  const std::vector<Recording> some(
      recordings.begin(),
      recordings.begin() + static_cast<std::ptrdiff_t>(std::min(decoded, recordings.size())));
  const auto times = bench::measure_decoding(engine, some);
  if (!times) return std::unexpected(times.error());
  for (std::size_t way = 0; way < bench::kFeatures.size(); ++way) {
    report["decoding"].push_back({{"features", bench::kFeatures[way].name},
                                  {"call_ms", to_json(times->call_ms[way])},
                                  {"of_plain", times->ratio[way]}});
  }
  return report;
}

constexpr std::string_view kThree = "  {:<44}{:>10}{:>10}{:>10}\n";

void print_percentiles(const std::string& what, const ordered_json& p) {
  std::cout << std::format("  {:<44}{:>10.2f}{:>10.2f}{:>10.2f}\n", what, p["p50"].get<double>(),
                           p["p90"].get<double>(), p["p99"].get<double>());
}

void print_count(const ordered_json& count) {
  const auto number = [&](const char* name) { return count[name].get<double>(); };
  const auto share = [](double part, double whole) { return whole == 0 ? 0.0 : part / whole; };
  const double tokens = number("tokens"), calls = number("calls") - number("refused");
  std::cout << std::format(
      "  {:<30}{:>8.1f} %{:>8.1f} %{:>8.1f} %{:>10.1f}{:>10.1f}\n",
      std::format("{} tokens: {}", count["vocabulary"].get<int>(),
                  count["features"].get<std::string>()),
      100 * share(number("forced"), tokens), 100 * share(number("drafted"), tokens),
      100 * share(number("accepted"), tokens), share(tokens, calls), share(number("steps"), calls));
  if (number("refused") > 0) {
    std::cout << std::format("    {} of {} calls are not the grammar's\n",
                             count["refused"].get<int>(), count["calls"].get<int>());
  }
}

void print_set(const std::string& set, const ordered_json& report) {
  std::cout << std::format("{}: {} samples\n", set, report["samples"].get<std::size_t>())
            << std::format(kThree, "", "p50", "p90", "p99");
  for (const ordered_json& costs : report["costs"]) {
    const std::string size = std::format("{} tokens: ", costs["vocabulary"].get<int>());
    print_percentiles(size + "compile a tool (us)", costs["compile_us"]);
    print_percentiles(size + "accepted token (ns)", costs["accepted_ns"]);
    print_percentiles(size + "mask of a new state (us)", costs["new_mask_us"]);
    print_percentiles(size + "mask of a known state (us)", costs["known_mask_us"]);
  }
  std::cout << std::format("  {:<30}{:>10}{:>10}{:>10}{:>10}{:>10}\n", "", "forced", "drafted",
                           "accepted", "tokens", "steps");
  for (const ordered_json& count : report["counts"]) print_count(count);
  std::cout << std::format(kThree, "", "p50", "p90", "p99");
  for (const ordered_json& way : report["decoding"]) {
    print_percentiles(
        std::format("decoding a call, {} (ms): {:.2f} of plain", way["features"].get<std::string>(),
                    way["of_plain"].get<double>()),
        way["call_ms"]);
  }
  std::cout << std::flush;
}

int BenchMonitorCommand::run() const {
  const auto path = find_model(model);
  if (!path) return complain_bench("monitor", path.error());
  std::vector<std::vector<Recording>>
      recordings;  // of all sets, so that a wrong name is said at once
  for (const std::string& set : sets) {
    auto loaded = load_recordings(data + "/" + set + ".jsonl");
    if (!loaded) return complain_bench("monitor", loaded.error());
    recordings.push_back(std::move(*loaded));
  }
  // One sequence for the prompt, one for its copies.
  auto engine = make_llama_engine({.model_path = *path, .max_sequences = 2, .threads = threads});
  if (!engine) return complain_bench("monitor", engine.error());
  const auto large = bench::LargeVocabulary::create(words, kLargeVocabulary);
  if (!large) return complain_bench("monitor", large.error());
  ordered_json report = {{"figure", "monitor"},
                         {"model", *path},
                         {"threads", threads},
                         {"sets", ordered_json::object()}};
  for (std::size_t i = 0; i < sets.size(); ++i) {
    auto measured = measure(**engine, *large, recordings[i]);
    if (!measured) return complain_bench("monitor", measured.error());
    if (!json) print_set(sets[i], *measured);
    report["sets"][sets[i]] = std::move(*measured);
  }
  if (json) std::cout << report.dump(2) << '\n';
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
  sub->add_flag("--json", command->json, "Print one JSON object");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
