// SPDX-License-Identifier: Apache-2.0
#include "runtime/latency_model.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <format>
#include <fstream>
#include <numeric>
#include <system_error>
#include <utility>

namespace asynclm {
namespace {

constexpr int kFileFormat = 1;
constexpr double kFirstBound = 1e5;  // nanoseconds: 0.1 ms
constexpr double kPerOctave = 4;
// A call a hundred calls ago counts a third of one now.
constexpr double kKeptWeight = 0.99;

// What is believed of a tool before any call: its estimate, to within a factor of two. It counts as
// much as four calls.
constexpr std::array<std::pair<double, double>, 5> kPrior{
    {{0.5, 0.4}, {0.71, 0.8}, {1.0, 1.6}, {1.41, 0.8}, {2.0, 0.4}}};

constexpr double kCallsBeforeEstimate = 8;
constexpr double kEstimateMoves = 4.0 / 3;  // by this factor, up or down

std::size_t bucket_of(Time time, std::size_t buckets) {
  const double ratio = static_cast<double>(time.count()) / kFirstBound;
  const double index = ratio <= 1 ? 0 : std::ceil(kPerOctave * std::log2(ratio) - 1e-9);
  return std::min(static_cast<std::size_t>(index), buckets - 1);
}

// Within the bucket, between its bounds: share 0 is the lower one.
Time within_bucket(std::size_t bucket, double share) {
  const double exponent = (static_cast<double>(bucket) - 1 + share) / kPerOctave;
  return Time(std::llround(kFirstBound * std::exp2(exponent)));
}

// The middle of the part of the bucket that lies above `from`.
Time middle(std::size_t bucket, Time from) {
  const Time low = std::max(bucket == 0 ? Time{} : within_bucket(bucket, 0), from);
  return low + (within_bucket(bucket, 1) - low) / 2;
}

}  // namespace

LatencyModel::LatencyModel(const std::vector<ToolSpec>& tools) : specs_(tools) {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    Tool& tool = tools_[specs_[i].name];
    tool.declared = specs_[i].estimate;
    tool.timeout = specs_[i].timeout;
    tool.spec = i;
    tool.known = true;
  }
}

const LatencyModel::Tool* LatencyModel::find(std::string_view tool) const {
  const auto found = tools_.find(tool);
  return found == tools_.end() || !found->second.known ? nullptr : &found->second;
}

void LatencyModel::observe(std::string_view name, Time took) {
  specs_changed_ = false;
  const auto found = tools_.find(name);
  if (found == tools_.end() || !found->second.known) return;
  Tool& tool = found->second;
  for (double& weight : tool.weights) weight *= kKeptWeight;
  tool.weights[bucket_of(std::max(took, Time{}), kBuckets)] += 1;
  tool.calls += 1;
  update_estimate(tool);
}

void LatencyModel::update_estimate(Tool& tool) {
  if (tool.calls < kCallsBeforeEstimate) return;
  ToolSpec& spec = specs_[tool.spec];
  const double median = to_ms(quantile(spec.name, 0.5));
  const double shown = std::max(static_cast<double>(spec.estimate.count()), 1.0);
  if (median < shown * kEstimateMoves && median * kEstimateMoves > shown) return;
  const std::chrono::milliseconds estimate(std::max(std::llround(median), 1LL));
  if (estimate == spec.estimate) return;
  spec.estimate = estimate;
  specs_changed_ = true;
}

std::array<double, LatencyModel::kBuckets> LatencyModel::belief(const Tool& tool) {
  std::array<double, kBuckets> weights = tool.weights;
  for (const auto& [factor, weight] : kPrior) {
    const Time time(std::llround(factor * static_cast<double>(tool.declared.count())));
    weights[bucket_of(time, kBuckets)] += weight;
  }
  return weights;
}

Time LatencyModel::quantile(std::string_view name, double q) const {
  const Tool* tool = find(name);
  if (tool == nullptr) return {};
  const auto weights = belief(*tool);
  const double wanted =
      std::clamp(q, 0.0, 1.0) * std::accumulate(weights.begin(), weights.end(), 0.0);
  double below = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (weights[i] > 0 && below + weights[i] >= wanted) {
      return within_bucket(i, (wanted - below) / weights[i]);
    }
    below += weights[i];
  }
  return within_bucket(kBuckets - 1, 1);
}

Time LatencyModel::remaining(std::string_view name, Time elapsed) const {
  const Tool* tool = find(name);
  if (tool == nullptr) return {};
  const auto weights = belief(*tool);
  double mass = 0, time = 0;
  for (std::size_t i = bucket_of(elapsed, kBuckets); i < kBuckets; ++i) {
    double weight = weights[i];
    if (!(weight > 0)) continue;
    const Time bound = within_bucket(i, 1);
    if (bound <= elapsed) continue;
    const Time low = i == 0 ? Time{} : within_bucket(i, 0);
    if (elapsed > low) {  // of this bucket only what is above
      weight *= static_cast<double>((bound - elapsed).count()) /
                static_cast<double>((bound - low).count());
    }
    mass += weight;
    time += weight * static_cast<double>((middle(i, elapsed) - elapsed).count());
  }
  // Less than a hundredth of a call says nothing.
  const Time expected = mass > 0.01 ? Time(std::llround(time / mass)) : elapsed;
  return std::clamp(expected, Time{}, std::max(Time{}, tool->timeout - elapsed));
}

// --- The file ---------------------------------------------------------------------------------

Json LatencyModel::to_json(const Tool& tool) {
  Json buckets = Json::array();
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (tool.weights[i] > 1e-6) buckets.push_back({i, tool.weights[i]});
  }
  return Json{{"calls", tool.calls}, {"buckets", std::move(buckets)}};
}

Result<LatencyModel::Tool> LatencyModel::from_json(const Json& json) {
  constexpr auto kCode = ErrorCode::invalid_argument;
  const auto is_weight = [](const Json& value) {
    return value.is_number() && std::isfinite(value.get<double>()) && value.get<double>() >= 0 &&
           value.get<double>() < 1e12;
  };
  if (!json.is_object() || !json.contains("calls") || !json.contains("buckets") ||
      !json["buckets"].is_array()) {
    return fail(kCode, "needs \"calls\" and \"buckets\"");
  }
  if (!is_weight(json["calls"])) return fail(kCode, "\"calls\" must be a number, 0 or more");
  Tool tool;
  tool.calls = json["calls"].get<double>();
  for (const Json& entry : json["buckets"]) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_number_unsigned() ||
        entry[0].get<std::size_t>() >= kBuckets || !is_weight(entry[1])) {
      return fail(kCode, std::format("a bucket must be [index below {}, weight]", kBuckets));
    }
    tool.weights[entry[0].get<std::size_t>()] = entry[1].get<double>();
  }
  return tool;
}

Result<void> LatencyModel::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto bad = [&](const std::string& what) {
    return fail(ErrorCode::invalid_argument,
                std::format("latency file {}: {}; delete it to start anew", path, what));
  };
  if (!file) return fail(ErrorCode::io, std::format("latency file {} cannot be opened", path));
  const Json json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (file.bad()) return fail(ErrorCode::io, std::format("latency file {} cannot be read", path));
  if (json.is_discarded()) return bad("is no JSON (cut off?)");
  if (!json.is_object() || !json.contains("format") || json["format"] != kFileFormat) {
    return bad(std::format("is not of format {}", kFileFormat));
  }
  if (!json.contains("tools") || !json["tools"].is_object()) return bad("has no \"tools\"");
  std::vector<std::pair<std::string, Tool>> read;
  for (const auto& [name, entry] : json["tools"].items()) {
    Result<Tool> tool = from_json(entry);
    if (!tool) return bad(std::format("tool '{}' {}", name, tool.error().message));
    read.emplace_back(name, *tool);
  }
  for (auto& [name, tool] : read) {
    Tool& mine = tools_[name];
    mine.weights = tool.weights;
    mine.calls = tool.calls;
    if (mine.known) update_estimate(mine);
  }
  return {};
}

Result<void> LatencyModel::save(const std::string& path) const {
  Json tools = Json::object();
  for (const auto& [name, tool] : tools_) {
    if (tool.calls > 0) tools[name] = to_json(tool);
  }
  const std::string text = Json{{"format", kFileFormat}, {"tools", std::move(tools)}}.dump() + "\n";
  // Whoever reads meanwhile, or after a crash, sees the old file or the new one.
  const std::string beside = path + ".new";
  {
    std::ofstream file(beside, std::ios::binary | std::ios::trunc);
    file << text;
    if (!file.flush()) {
      return fail(ErrorCode::io, std::format("latency file {} cannot be written", beside));
    }
  }
  std::error_code error;
  std::filesystem::rename(beside, path, error);
  if (error) {
    return fail(ErrorCode::io,
                std::format("latency file {} cannot be replaced: {}", path, error.message()));
  }
  return {};
}

}  // namespace asynclm
