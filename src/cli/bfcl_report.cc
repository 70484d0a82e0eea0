// SPDX-License-Identifier: Apache-2.0
#include "cli/bfcl_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <format>
#include <functional>
#include <vector>

#include "bench/statistics.h"

namespace asynclm {
namespace {

using bench::BfclResults;
using bench::BfclRun;

// What speed-ups are over.
constexpr std::array<std::string_view, 4> kBases = {"sync", "sync-parallel", "sync-stateless",
                                                    "sync-stateless-docs"};

double mean(const std::vector<BfclRun>& runs, const std::function<double(const BfclRun&)>& of) {
  double sum = 0;
  for (const BfclRun& run : runs) sum += of(run);
  return sum / static_cast<double>(runs.size());
}

// Over all calls of all samples.
double mean_of_call(const std::vector<BfclRun>& runs,
                    const std::function<double(const BfclRun&)>& of) {
  const auto count = [](const BfclRun& run) { return static_cast<double>(run.calls.size()); };
  return mean(runs, of) / mean(runs, count);
}

// Microseconds are enough, and short.
double rounded(double value) { return std::round(value * 1e3) / 1e3; }

Json spread_json(const std::vector<double>& values) {
  const bench::Spread s = bench::spread(values);
  return {{"p10", rounded(s.p10)}, {"p50", rounded(s.p50)}, {"p90", rounded(s.p90)}};
}

Json arm_json(const BfclResults& results, std::size_t arm, std::uint64_t seed) {
  const std::vector<BfclRun>& runs = results.runs[arm];
  std::vector<double> times = bench::makespans(results, arm);
  Json out = {{"name", results.arms[arm].name}, {"makespan_ms", spread_json(times)}};
  for (double& ms : times) ms = rounded(ms);
  Json& speed_up = out["speed_up"] = Json::object();
  for (const std::string_view name : kBases) {
    const std::size_t base = bench::index_of(results, name);
    if (base == results.arms.size()) continue;
    const auto ratios = bench::speed_ups(results, base, arm);
    const auto e = bench::estimate_median(ratios, seed);
    speed_up[std::string(name)] = {{"median", rounded(e.median)},
                                   {"low", rounded(e.low)},
                                   {"high", rounded(e.high)},
                                   {"worst", rounded(std::ranges::min(ratios))}};
  }
  if (const auto ratios = bench::over_bound(results, arm); !ratios.empty()) {
    out["over_bound"] = spread_json(ratios);
    const auto inexact = std::ranges::count(runs, false, &BfclRun::bound_is_exact);
    out["bounds_of_critical_path"] = inexact;
  }
  const auto per_call = [&](auto member) {
    return rounded(
        mean_of_call(runs, [member](const BfclRun& r) { return static_cast<double>(r.*member); }));
  };
  out["prompt_tokens"] =
      rounded(mean(runs, [](const BfclRun& r) { return static_cast<double>(r.prompt_tokens); }));
  out["a_call"] = {{"writing_ms",
                    rounded(mean_of_call(runs, [](const BfclRun& r) { return to_ms(r.writing); }))},
                   {"decode_calls", per_call(&BfclRun::steps)},
                   {"requests", per_call(&BfclRun::requests)},
                   {"tokens", per_call(&BfclRun::tokens)},
                   {"protocol_tokens", per_call(&BfclRun::protocol_tokens)}};
  out["makespans_ms"] = std::move(times);
  return out;
}

}  // namespace

Json bfcl_table(const BfclResults& results, const bench::BfclSource& source, std::uint64_t seed) {
  const std::vector<BfclRun>& first = results.runs.front();
  Json out = {
      {"workload", source.name},
      {"says", source.says},
      {"samples", results.samples.size()},
      {"skipped", results.skipped},
      {"calls",
       rounded(mean(first, [](const BfclRun& r) { return static_cast<double>(r.calls.size()); }))},
      {"running_ms",
       rounded(mean_of_call(first, [](const BfclRun& r) { return to_ms(r.running); }))},
      {"arms", Json::array()}};
  Json& ids = out["ids"] = Json::array();
  for (const bench::BfclSample* sample : results.samples) ids.push_back(sample->id);
  for (std::size_t arm = 0; arm < results.arms.size(); ++arm) {
    out["arms"].push_back(arm_json(results, arm, seed));
  }
  return out;
}

Json bfcl_timeline(const BfclResults& results, std::size_t sample) {
  Json out = {{"id", results.samples[sample]->id}, {"arms", Json::array()}};
  for (std::size_t arm = 0; arm < results.arms.size(); ++arm) {
    const BfclRun& run = results.runs[arm][sample];
    Json calls = Json::array();
    for (const bench::BfclCall& call : run.calls) {
      calls.push_back({{"name", call.name},
                       {"begun_ms", rounded(to_ms(call.begun))},
                       {"taking_in_ms", rounded(to_ms(call.taking_in))},
                       {"written_ms", rounded(to_ms(call.written))},
                       {"started_ms", rounded(to_ms(call.started))},
                       {"returned_ms", rounded(to_ms(call.returned))},
                       {"delivered_ms", rounded(to_ms(call.delivered))}});
    }
    out["arms"].push_back({{"name", results.arms[arm].name},
                           {"makespan_ms", rounded(to_ms(run.makespan))},
                           {"calls", std::move(calls)}});
  }
  return out;
}

std::string bfcl_text(std::string_view title, const Json& table) {
  std::string out = std::format(
      "{}: {} samples, {:.1f} calls each, which run for {:.0f} ms on average\n"
      "  {:<20}{:>9}{:>9}{:>9}{:>11}{:>20}{:>12}{:>10}\n",
      title, table["samples"].get<int>(), table["calls"].get<double>(),
      table["running_ms"].get<double>(), "", "p10 ms", "p50", "p90", "over sync", "(95 %)",
      "over bound", "tok/call");
  for (const Json& arm : table["arms"]) {
    std::string over = std::format("{:>31}", ""), bound;
    if (arm["speed_up"].contains("sync")) {
      const Json& s = arm["speed_up"]["sync"];
      over = std::format(
          "{:>11.2f}{:>20}", s["median"].get<double>(),
          std::format("{:.2f} to {:.2f}", s["low"].get<double>(), s["high"].get<double>()));
    }
    if (arm.contains("over_bound")) {
      bound = std::format("{:.3f}", arm["over_bound"]["p50"].get<double>());
    }
    out += std::format("  {:<20}{:>9.0f}{:>9.0f}{:>9.0f}{}{:>12}{:>10.1f}\n",
                       arm["name"].get<std::string>(), arm["makespan_ms"]["p10"].get<double>(),
                       arm["makespan_ms"]["p50"].get<double>(),
                       arm["makespan_ms"]["p90"].get<double>(), over, bound,
                       arm["a_call"]["tokens"].get<double>());
  }
  if (!table["skipped"].empty()) {
    out += std::format("  {} samples left out; the first: {}\n", table["skipped"].size(),
                       table["skipped"].front().get<std::string>());
  }
  return out;
}

}  // namespace asynclm
