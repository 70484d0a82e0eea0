// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_log.h"

#include <array>
#include <cstdint>
#include <filesystem>
#include <format>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"

namespace asynclm::bench {
namespace {

constexpr std::size_t kLargestLog = std::size_t{1} << 32;

// Times are whole nanoseconds: what is recalled is what was measured.
template <class Object>
using TimeMember = std::pair<std::string_view, Time Object::*>;
constexpr std::array<TimeMember<BfclCall>, 7> kCallTimes = {{{"begun", &BfclCall::begun},
                                                             {"written", &BfclCall::written},
                                                             {"started", &BfclCall::started},
                                                             {"returned", &BfclCall::returned},
                                                             {"delivered", &BfclCall::delivered},
                                                             {"taking_in", &BfclCall::taking_in},
                                                             {"taken_in", &BfclCall::taken_in}}};
constexpr std::array<TimeMember<BfclRun>, 3> kRunTimes = {{{"makespan", &BfclRun::makespan},
                                                           {"writing", &BfclRun::writing},
                                                           {"running", &BfclRun::running}}};
constexpr std::array<std::pair<std::string_view, std::optional<Time> BfclRun::*>, 2> kBounds = {
    {{"bound", &BfclRun::bound}, {"bound_taking_in", &BfclRun::bound_taking_in}}};
constexpr std::array<std::pair<std::string_view, std::int64_t BfclRun::*>, 5> kCounts = {
    {{"requests", &BfclRun::requests},
     {"steps", &BfclRun::steps},
     {"prompt_tokens", &BfclRun::prompt_tokens},
     {"tokens", &BfclRun::tokens},
     {"protocol_tokens", &BfclRun::protocol_tokens}}};
constexpr std::array<std::pair<std::string_view, std::int64_t BfclScore::*>, 4> kScores = {
    {{"expected", &BfclScore::expected},
     {"exact", &BfclScore::exact},
     {"early", &BfclScore::early},
     {"extra", &BfclScore::extra}}};

Json run_to_json(const BfclRun& run) {
  Json out = {{"bound_is_exact", run.bound_is_exact}, {"ended", run.score.ended}};
  for (const auto& [name, time] : kRunTimes) out[name] = (run.*time).count();
  for (const auto& [name, bound] : kBounds) {
    if (run.*bound) out[name] = (*(run.*bound)).count();
  }
  for (const auto& [name, count] : kCounts) out[name] = run.*count;
  for (const auto& [name, count] : kScores) out[name] = run.score.*count;
  Json& calls = out["calls"] = Json::array();
  for (const BfclCall& call : run.calls) {
    Json& one = calls.emplace_back(Json{{"name", call.name}});
    for (const auto& [name, time] : kCallTimes) one[name] = (call.*time).count();
  }
  return out;
}

// Throws Json::exception.
BfclRun run_from_json(const Json& json) {
  BfclRun run;
  run.bound_is_exact = json.at("bound_is_exact").get<bool>();
  run.score.ended = json.at("ended").get<bool>();
  for (const auto& [name, time] : kRunTimes) run.*time = Time{json.at(name).get<Time::rep>()};
  for (const auto& [name, bound] : kBounds) {
    if (json.contains(name)) run.*bound = Time{json[name].get<Time::rep>()};
  }
  for (const auto& [name, count] : kCounts) json.at(name).get_to(run.*count);
  for (const auto& [name, count] : kScores) json.at(name).get_to(run.score.*count);
  for (const Json& one : json.at("calls")) {
    BfclCall& call = run.calls.emplace_back();
    one.at("name").get_to(call.name);
    for (const auto& [name, time] : kCallTimes) call.*time = Time{one.at(name).get<Time::rep>()};
  }
  return run;
}

// The options in which the two differ.
std::string differences(const Json& here, const Json& there) {
  std::string out;
  const auto shown = [](const Json& json, const std::string& name) {
    return json.contains(name) ? json[name].dump() : "nothing";
  };
  Json all = there;
  all.update(here);
  for (const auto& [name, value] : all.items()) {
    const std::string a = shown(there, name), b = shown(here, name);
    if (a != b) out += std::format("{}{}: {} there, {} here", out.empty() ? "" : "; ", name, a, b);
  }
  return out;
}

}  // namespace

Result<BfclLog> BfclLog::open(const std::string& path, const Json& options) {
  BfclLog log;
  log.path_ = path;
  const Json head = {{"bfcl", options}};
  auto text = read_whole_file(path, kLargestLog);
  if (!text && text.error().code != ErrorCode::not_found) return std::unexpected(text.error());
  std::string_view rest = text ? std::string_view(*text) : std::string_view();
  const std::size_t whole = rest.rfind('\n') + 1;  // npos + 1 is 0
  rest = rest.substr(0, whole);
  try {
    for (bool is_first = true; !rest.empty(); is_first = false) {
      const auto line = rest.substr(0, rest.find('\n'));
      rest.remove_prefix(line.size() + 1);
      Json json = Json::parse(line);
      if (!is_first) {
        const std::string key = json.at("key").get<std::string>();
        log.lines_[key] = std::move(json);
        continue;
      }
      if (const std::string other = differences(options, json.at("bfcl")); !other.empty()) {
        return fail(ErrorCode::invalid_argument,
                    std::format("{} is of a bench with other options ({}); take another file", path,
                                other));
      }
    }
  } catch (const Json::exception& problem) {
    return fail(
        ErrorCode::invalid_argument,
        std::format("{} is not a file that a bench can go on with: {}", path, problem.what()));
  }
  std::error_code failed;
  if (text) std::filesystem::resize_file(path, whole, failed);
  log.file_.open(path, std::ios::app | std::ios::binary);
  if (whole == 0) log.file_ << head.dump() << '\n' << std::flush;
  if (failed || !log.file_) return fail(ErrorCode::io, "cannot write '" + path + "'");
  return log;
}

std::optional<BfclSampleRuns> BfclLog::find(const std::string& key) const {
  const auto line = lines_.find(key);
  if (line == lines_.end()) return std::nullopt;
  try {
    if (line->second.contains("skipped")) {
      return fail(ErrorCode::unsupported, line->second["skipped"].get<std::string>());
    }
    std::vector<BfclRun> runs;
    for (const Json& run : line->second.at("runs")) runs.push_back(run_from_json(run));
    return runs;
  } catch (const Json::exception& problem) {
    return fail(ErrorCode::io, std::format("{}, {}: {}", path_, key, problem.what()));
  }
}

Result<void> BfclLog::add(const std::string& key, const BfclSampleRuns& runs) {
  Json line = {{"key", key}};
  if (runs) {
    Json& list = line["runs"] = Json::array();
    for (const BfclRun& run : *runs) list.push_back(run_to_json(run));
  } else {
    line["skipped"] = runs.error().message;
  }
  file_ << line.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n' << std::flush;
  if (!file_) return fail(ErrorCode::io, "cannot write '" + path_ + "'");
  return {};
}

}  // namespace asynclm::bench
