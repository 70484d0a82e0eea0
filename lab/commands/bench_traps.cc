// SPDX-License-Identifier: Apache-2.0
// asynclm-lab bench traps: keep, swap or recompute, over context length and expected wait.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <format>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "bench/trap_map.h"
#include "cli/assets.h"
#include "cli/terminal.h"
#include "commands/bench_commands.h"
#include "runtime/residency_policy.h"

namespace asynclm {
namespace {

using nlohmann::ordered_json;

struct BenchTrapsCommand {
  std::optional<std::string> model;
  std::int32_t context = 2048;
  std::int32_t threads = 1;
  double limit_s = 5;  // of one computation
  int repetitions = 3;
  bool json = false;

  [[nodiscard]] int run() const;
  [[nodiscard]] Result<ordered_json> measure(Engine& engine) const;
};

// By the order of the paper's figure; the letters of the map.
std::string_view name_of(Residency way) {
  switch (way) {
    case Residency::resident:
      return "keep";
    case Residency::host:
      return "swap";
    case Residency::disk:
      return "disk";
    case Residency::discarded:
      break;
  }
  return "recompute";
}

// 16, 32, 64, … and the longest there is room for, with one more token.
std::vector<std::size_t> lengths_up_to(std::int32_t context) {
  std::vector<std::size_t> out;
  const auto most = static_cast<std::size_t>(context) - 1;
  for (std::size_t length = 16; length < most; length *= 2) out.push_back(length);
  out.push_back(most);
  return out;
}

// 10 us to 100 s, four in each decade.
std::vector<Time> map_waits() {
  std::vector<Time> out;
  for (int i = 0; i <= 28; ++i) {
    out.push_back(std::chrono::duration_cast<Time>(
        std::chrono::duration<double>(1e-5 * std::pow(10.0, i / 4.0))));
  }
  return out;
}

void print(const ordered_json& report) {
  std::cout << std::format("{:>8}{:>12}{:>14}{:>12}{:>12}\n", "tokens", "kB", "recompute ms",
                           "out ms", "back ms");
  for (const ordered_json& c : report["costs"]) {
    std::cout << std::format("{:>8}{:>12.0f}{:>14.3f}{:>12.3f}{:>12.3f}\n",
                             c["tokens"].get<std::size_t>(), c["bytes"].get<double>() / 1e3,
                             c["recompute_ms"].get<double>(), c["out_ms"].get<double>(),
                             c["back_ms"].get<double>());
  }
  std::cout << "\nexpected wait, over context length: k keep, s swap, r recompute\n";
  const ordered_json& map = report["map"];
  for (std::size_t i = map.size(); i-- > 0;) {
    const auto wait =
        std::chrono::duration<double, std::milli>(report["waits_ms"][i].get<double>());
    std::string row;
    for (const char way : map[i].get<std::string>()) row += std::format("{:>6}", way);
    std::cout << std::format("{:>10} {}\n", duration_text(std::chrono::duration_cast<Time>(wait)),
                             row);
  }
  std::cout << std::format("{:>10} ", "tokens");
  for (const ordered_json& length : report["lengths"]) {
    std::cout << std::format("{:>6}", length.get<std::size_t>());
  }
  std::cout << std::format("\n\n{:>8}{:>12}  {:<11}{:<11}{:>24}{:>26}\n", "tokens", "wait ms",
                           "chosen", "best", "added ms: swap, recomp.", "freed %: swap, recompute");
  for (const ordered_json& p : report["points"]) {
    std::cout << std::format("{:>8}{:>12.3f}  {:<11}{:<11}{:>12.3f}{:>12.3f}{:>13.0f}{:>13.0f}\n",
                             p["tokens"].get<std::size_t>(), p["wait_ms"].get<double>(),
                             p["chosen"].get<std::string>(), p["best"].get<std::string>(),
                             p["trials"]["swap"]["added_ms"].get<double>(),
                             p["trials"]["recompute"]["added_ms"].get<double>(),
                             100 * p["trials"]["swap"]["freed"].get<double>(),
                             100 * p["trials"]["recompute"]["freed"].get<double>());
  }
}

Result<ordered_json> BenchTrapsCommand::measure(Engine& engine) const {
  const EngineInfo& info = engine.info();
  const SteadyClock clock;
  CostModel costs(static_cast<std::size_t>(info.max_batch_tokens));
  const Time limit = std::chrono::duration_cast<Time>(std::chrono::duration<double>(limit_s));
  const auto measured = bench::measure_trap_costs(engine, clock, lengths_up_to(info.context_tokens),
                                                  limit, repetitions, costs);
  if (!measured) return std::unexpected(measured.error());
  ordered_json report = {{"figure", "traps"},
                         {"model", info.model},
                         {"threads", threads},
                         {"costs", ordered_json::array()},
                         {"lengths", lengths_up_to(info.context_tokens)},
                         {"waits_ms", ordered_json::array()},
                         {"recompute_ms", ordered_json::array()},
                         {"swap_ms", ordered_json::array()},
                         {"map", ordered_json::array()},
                         {"points", ordered_json::array()}};
  for (const bench::MeasuredCosts& c : *measured) {
    report["costs"].push_back({{"tokens", c.tokens},
                               {"bytes", c.bytes},
                               {"recompute_ms", to_ms(c.recompute)},
                               {"out_ms", to_ms(c.to_host)},
                               {"back_ms", to_ms(c.from_host)}});
  }
  const std::vector<std::size_t> lengths = lengths_up_to(info.context_tokens);
  for (const std::size_t length : lengths) {
    report["recompute_ms"].push_back(to_ms(costs.recompute(length)));
    report["swap_ms"].push_back(to_ms(costs.host_round_trip(length)));
  }
  for (const Time wait : map_waits()) {
    std::string row;
    for (const std::size_t length : lengths) {
      row += name_of(choice_at_trap(length, wait, costs)).front();
    }
    report["waits_ms"].push_back(to_ms(wait));
    report["map"].push_back(row);
  }
  const auto sleep_until = [&clock](Time until) {
    // Threads wake up late: the rest is spent awake.
    constexpr Time kLate = std::chrono::milliseconds(1);
    if (until - clock.now() > kLate) std::this_thread::sleep_for(until - clock.now() - kLate);
    while (clock.now() < until) std::this_thread::yield();
  };
  // The longest that was measured, and one in the middle of the map.
  const std::size_t last = measured->size() - 1;
  for (const std::size_t at : {last / 2, last}) {
    const std::size_t tokens = (*measured)[at].tokens;
    for (const Time wait : bench::telling_waits(tokens, costs)) {
      const auto point =
          bench::try_trap(engine, clock, sleep_until, tokens, wait, repetitions, costs);
      if (!point) return std::unexpected(point.error());
      ordered_json trials;
      for (std::size_t way = 0; way < bench::kTrapWays.size(); ++way) {
        trials[std::string(name_of(bench::kTrapWays[way]))] = {
            {"added_ms", to_ms(point->trials[way].added)}, {"freed", point->trials[way].freed}};
      }
      report["points"].push_back({{"tokens", tokens},
                                  {"wait_ms", to_ms(wait)},
                                  {"chosen", name_of(point->chosen)},
                                  {"best", name_of(point->best)},
                                  {"trials", trials}});
    }
  }
  return report;
}

int BenchTrapsCommand::run() const {
  const auto path = find_model(model);
  if (!path) return complain_bench("traps", path.error());
  auto engine = make_llama_engine(
      {.model_path = *path, .context_tokens = context, .max_sequences = 1, .threads = threads});
  if (!engine) return complain_bench("traps", engine.error());
  const auto report = measure(**engine);
  if (!report) return complain_bench("traps", report.error());
  if (json) {
    std::cout << report->dump(2) << '\n';
  } else {
    print(*report);
  }
  return kExitOk;
}

}  // namespace

void add_bench_traps(CLI::App& bench, int& exit_code) {
  CLI::App* sub = bench.add_subcommand(
      "traps", "Keep, swap or recompute: what is best over context length and wait");
  const auto command = std::make_shared<BenchTrapsCommand>();
  sub->add_option("--model", command->model, "GGUF file (default: the model that asynclm ships)");
  sub->add_option("--context", command->context, "The longest context, in tokens")
      ->check(CLI::Range(64, 1'000'000))
      ->capture_default_str();
  sub->add_option("--threads", command->threads, "CPU threads of the engine")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  sub->add_option("--limit", command->limit_s,
                  "Lengths whose computation takes longer (s) are not measured")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  sub->add_option("--repeat", command->repetitions, "Turns of each; medians count")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  sub->add_flag("--json", command->json, "Print one JSON object (for ./dev plot)");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
