// SPDX-License-Identifier: Apache-2.0
#include "commands/bfcl_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <format>
#include <functional>
#include <optional>
#include <utility>
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

Json share_json(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? Json()
                    : Json(rounded(static_cast<double>(part) / static_cast<double>(whole)));
}

Json spread_json(const std::vector<double>& values) {
  const bench::Spread s = bench::spread(values);
  return {{"p10", rounded(s.p10)}, {"p50", rounded(s.p50)}, {"p90", rounded(s.p90)}};
}

// What was made of the calls: of all runs.
Json score_json(const std::vector<BfclRun>& runs) {
  bench::BfclScore sum;
  std::int64_t right = 0, ended = 0;
  for (const BfclRun& run : runs) {
    sum += run.score;
    right += run.score.is_right() ? 1 : 0;
    ended += run.score.ended ? 1 : 0;
  }
  return {{"runs", std::ssize(runs)},
          {"right", right},
          {"ended", ended},
          {"calls", sum.expected},
          {"exact", sum.exact},
          {"early", sum.early},
          {"extra", sum.extra},
          {"exact_share", share_json(sum.exact, sum.expected)},
          {"right_share", share_json(right, std::ssize(runs))}};
}

// Of one bound: the spread of the makespans over it.
Json over_bound_json(const BfclResults& results, std::size_t arm,
                     std::optional<Time> BfclRun::* bound) {
  const auto ratios = bench::over_bound(results, arm, bound);
  return ratios.empty() ? Json() : spread_json(ratios);
}

Json arm_json(const BfclResults& results, std::size_t arm, std::uint64_t seed) {
  Json out = {{"name", results.arms[arm].name}, {"score", score_json(results.runs[arm])}};
  Json& by_sample = out["makespans_ms"] = Json::array();
  std::vector<double> times;
  for (const auto ms : bench::makespans(results, arm)) {
    by_sample.push_back(ms ? Json(rounded(*ms)) : Json());
    if (ms) times.push_back(*ms);
  }
  if (times.empty()) return out;  // no time is one of the calls that were wanted
  out["makespan_ms"] = spread_json(times);
  Json& speed_up = out["speed_up"] = Json::object();
  for (const std::string_view name : kBases) {
    const std::size_t base = bench::index_of(results, name);
    if (base == results.arms.size()) continue;
    const auto ratios = bench::speed_ups(results, base, arm);
    if (ratios.empty()) continue;
    const auto e = bench::estimate_median(ratios, seed);
    speed_up[std::string(name)] = {{"samples", ratios.size()},
                                   {"median", rounded(e.median)},
                                   {"low", rounded(e.low)},
                                   {"high", rounded(e.high)},
                                   {"worst", rounded(std::ranges::min(ratios))}};
  }
  std::vector<BfclRun> runs = results.runs[arm];
  std::erase_if(runs, [](const BfclRun& run) { return !run.score.is_right(); });
  if (Json over = over_bound_json(results, arm, &BfclRun::bound); !over.is_null()) {
    out["over_bound"] = std::move(over);
    out["bounds_of_critical_path"] = std::ranges::count(runs, false, &BfclRun::bound_is_exact);
  }
  if (Json over = over_bound_json(results, arm, &BfclRun::bound_taking_in); !over.is_null()) {
    out["over_bound_taking_in"] = std::move(over);
  }
  const auto per_call = [&](auto member) {
    return rounded(
        mean_of_call(runs, [member](const BfclRun& r) { return static_cast<double>(r.*member); }));
  };
  const auto taken_in = [](const BfclRun& run) {
    double ms = 0;
    for (const bench::BfclCall& call : run.calls) ms += to_ms(call.taken_in);
    return ms;
  };
  out["prompt_tokens"] =
      rounded(mean(runs, [](const BfclRun& r) { return static_cast<double>(r.prompt_tokens); }));
  out["a_call"] = {{"writing_ms",
                    rounded(mean_of_call(runs, [](const BfclRun& r) { return to_ms(r.writing); }))},
                   {"taking_in_ms", rounded(mean_of_call(runs, taken_in))},
                   {"decode_calls", per_call(&BfclRun::steps)},
                   {"requests", per_call(&BfclRun::requests)},
                   {"tokens", per_call(&BfclRun::tokens)},
                   {"protocol_tokens", per_call(&BfclRun::protocol_tokens)}};
  return out;
}

// Calls of all samples, and how long they run.
std::pair<std::size_t, Time> work_of(const BfclResults& results) {
  std::pair<std::size_t, Time> work;
  for (const bench::BfclSample* sample : results.samples) {
    for (const Task& task : sample->sequence.tasks) {
      work.first += task.calls.size();
      for (const TaskCall& call : task.calls) work.second += call.duration;
    }
  }
  return work;
}

}  // namespace

Json bfcl_table(const BfclResults& results, const bench::BfclSource& source, std::uint64_t seed) {
  const auto [calls, running] = work_of(results);
  Json out = {{"workload", source.name},
              {"says", source.says},
              {"samples", results.samples.size()},
              {"skipped", results.skipped},
              {"calls", share_json(static_cast<std::int64_t>(calls), std::ssize(results.samples))},
              {"running_ms", rounded(to_ms(running) / static_cast<double>(calls))},
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
                           {"is_right", run.score.is_right()},
                           {"makespan_ms", rounded(to_ms(run.makespan))},
                           {"calls", std::move(calls)}});
  }
  return out;
}

std::string bfcl_text(std::string_view title, const Json& table) {
  std::string out = std::format(
      "{}: {} samples, {:.1f} calls each, which run for {:.0f} ms on average\n"
      "  {:<20}{:>8}{:>9}{:>9}{:>9}{:>11}{:>20}{:>12}{:>10}\n",
      title, table["samples"].get<int>(), table["calls"].get<double>(),
      table["running_ms"].get<double>(), "", "right", "p10 ms", "p50", "p90", "over sync", "(95 %)",
      "over bound", "tok/call");
  for (const Json& arm : table["arms"]) {
    out += std::format(
        "  {:<20}{:>8}", arm["name"].get<std::string>(),
        std::format("{}/{}", arm["score"]["right"].get<int>(), arm["score"]["runs"].get<int>()));
    if (!arm.contains("makespan_ms")) {
      out += std::format("  {} of {} calls exact\n", arm["score"]["exact"].get<int>(),
                         arm["score"]["calls"].get<int>());
      continue;
    }
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
    out += std::format(
        "{:>9.0f}{:>9.0f}{:>9.0f}{}{:>12}{:>10.1f}\n", arm["makespan_ms"]["p10"].get<double>(),
        arm["makespan_ms"]["p50"].get<double>(), arm["makespan_ms"]["p90"].get<double>(), over,
        bound, arm["a_call"]["tokens"].get<double>());
  }
  if (!table["skipped"].empty()) {
    out += std::format("  {} samples left out; the first: {}\n", table["skipped"].size(),
                       table["skipped"].front().get<std::string>());
  }
  return out;
}

}  // namespace asynclm
