// SPDX-License-Identifier: Apache-2.0
#include "cli/trace_options.h"

#include <algorithm>
#include <exception>
#include <fstream>
#include <iterator>
#include <set>
#include <utility>

namespace asynclm {
namespace {

// All texts of the JSON file, or of the part of it that a JSON pointer behind '#' leads to.
Result<std::set<std::string>> read_ids(const std::string& where) {
  const auto hash = where.find('#');
  const std::string path = where.substr(0, hash);
  std::ifstream file(path);
  if (!file) return fail(ErrorCode::not_found, "cannot read '" + path + "'");
  try {
    Json json = Json::parse(file);
    if (hash != std::string::npos) json = Json(json.at(Json::json_pointer(where.substr(hash + 1))));
    std::set<std::string> ids;
    for (const auto& [pointer, value] : json.flatten().items()) {
      if (value.is_string()) ids.insert(value.get<std::string>());
    }
    return ids;
  } catch (const std::exception& error) {
    return fail(ErrorCode::invalid_argument, where + ": " + error.what());
  }
}

}  // namespace

CLI::Option* TraceOptions::add_to(CLI::App& command) {
  CLI::Option* traces = command.add_option(
      "--traces", files, "files of recorded calls (src/oracle/traces.h), and no synthetic tasks");
  command
      .add_option("--only", only,
                  "take only these traces: a JSON file with ids, FILE or FILE#/json/pointer")
      ->needs(traces);
  command.add_option("--without", without, "take all but these traces")->needs(traces);
  return traces;
}

Result<std::vector<Trace>> TraceOptions::read() const {
  std::vector<Trace> all;
  for (const std::string& path : files) {
    auto some = load_traces(path);
    if (!some) return std::unexpected(some.error());
    std::ranges::move(*some, std::back_inserter(all));
  }
  for (const std::string* list : {&only, &without}) {
    if (list->empty()) continue;
    const auto ids = read_ids(*list);
    if (!ids) return std::unexpected(ids.error());
    std::erase_if(all, [&](const Trace& t) { return ids->contains(t.id) != (list == &only); });
  }
  std::erase_if(all, [](const Trace& t) {
    return std::ranges::all_of(t.sequence.tasks,
                               [](const Task& task) { return task.calls.empty(); });
  });
  if (all.empty()) {
    return fail(ErrorCode::invalid_argument,
                "no trace is left: look at --traces, --only and --without");
  }
  return all;
}

}  // namespace asynclm
