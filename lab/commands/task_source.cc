// SPDX-License-Identifier: Apache-2.0
#include "commands/task_source.h"

#include <algorithm>
#include <exception>
#include <filesystem>
#include <format>
#include <fstream>
#include <iostream>
#include <iterator>
#include <set>
#include <utility>

#include "base/json_error.h"
#include "oracle/cheat_sheet.h"

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
    return fail(ErrorCode::invalid_argument, where + ": " + plain_message(error));
  }
}

// The recordings with these ids, and all that share a task with one of them. Which tasks one has is
// known only where it is among the recordings that were read.
void leave_out(std::set<std::string> ids, std::vector<Recording>& recordings) {
  std::set<std::string> found;
  for (const Recording& recording : recordings) {
    if (ids.contains(recording.id)) found.insert(recording.id);
  }
  const std::size_t unknown = ids.size() - found.size();
  for (const Recording& recording : recordings) {
    if (!found.contains(recording.id)) continue;
    for (const Recording::Part& part : recording.parts) {
      if (!part.sample.empty()) ids.insert(part.sample);
    }
  }
  const auto all = recordings.size();
  const auto named = std::erase_if(
      recordings, [&](const Recording& recording) { return found.contains(recording.id); });
  std::erase_if(recordings, [&](const Recording& recording) {
    return ids.contains(recording.id) ||
           std::ranges::any_of(recording.parts, [&](const Recording::Part& part) {
             return ids.contains(part.sample);
           });
  });
  std::cerr << std::format("--without: {} recordings left out, and {} that share a task with one\n",
                           named, all - named - recordings.size());
  if (unknown > 0) {
    std::cerr << std::format(
        "--without: {} ids are of no recording of these files; where tasks side by side are among "
        "them, give their file too, so that what they share can be left out\n",
        unknown);
  }
}

}  // namespace

CLI::Option* TaskSource::add_to(CLI::App& command, int lowest_level) {
  CLI::Option* const recordings = command.add_option(
      "--recordings", files_,
      "files of recorded calls, and no synthetic tasks: a JSON object a line, "
      "{id, messages, functions, calls} and what else lab/oracle/recordings.h says");
  command
      .add_option("--only", only_,
                  "take only these recordings: a JSON file with ids, FILE or FILE#/json/pointer")
      ->needs(recordings);
  command
      .add_option("--without", without_,
                  "take all but these recordings and those that share a task with one of them")
      ->needs(recordings);
  command
      .add_flag("--calls-in-prompt", calls_in_prompt_,
                "the prompt says which calls to make, as in the paper's latency experiments")
      ->needs(recordings);
  command
      .add_flag("--only-called", only_called_,
                "leave functions that no call of a recording is of out of its prompt")
      ->needs(recordings);
  command.add_option("--words", words_, "word list of the synthetic tasks, one word a line")
      ->capture_default_str();
  command
      .add_option("--level", level_,
                  "which synthetic tasks: 1 one call, 2 several, 3 chains and errors, 4 more and "
                  "longer ones, 5 the user interrupts, 6 and 8 the calls stand in the prompt, 7 "
                  "what else async+ can, 9 as 4 with results of several values")
      ->check(CLI::Range(lowest_level, kLevels))
      ->excludes(recordings)
      ->capture_default_str();
  return recordings;
}

Result<void> TaskSource::open(Split split, const Vocabulary* vocabulary) {
  if (!files_.empty()) {
    auto recordings = read_recordings();
    if (!recordings) return std::unexpected(recordings.error());
    recordings_ = std::move(*recordings);
    return {};
  }
  auto list = WordList::load(words_, split);
  if (!list) return std::unexpected(list.error());
  list_ = std::move(*list);
  if (vocabulary == nullptr) return {};
  return list_->fit(*vocabulary);
}

Result<void> TaskSource::leave_out_refused() {
  std::erase_if(recordings_, [](const Recording& recording) {
    const std::string why = refused_call(recording.sequence);
    if (!why.empty()) std::cerr << std::format("{} left out: {}\n", recording.id, why);
    return !why.empty();
  });
  if (!is_recorded() || !recordings_.empty()) return {};
  return fail(ErrorCode::invalid_argument, "no recording is left whose functions take its calls");
}

TaskSequence TaskSource::sequence(std::uint64_t index, Random& random) const {
  return is_recorded() ? recordings_[index % size()].sequence : make_tasks(*list_, level_, random);
}

std::string TaskSource::id(std::uint64_t index) const {
  return is_recorded() ? recordings_[index % size()].id : "";
}

Json TaskSource::describe() const {
  if (!is_recorded()) return {{"level", level_}};
  Json names = Json::array();
  for (const std::string& path : files_) {
    names.push_back(std::filesystem::path(path).filename().string());
  }
  return {
      {"recordings", names}, {"calls_in_prompt", calls_in_prompt_}, {"only_called", only_called_}};
}

Result<std::vector<Recording>> TaskSource::read_recordings() const {
  std::vector<Recording> all;
  for (const std::string& path : files_) {
    auto some = load_recordings(path);
    if (!some) return std::unexpected(some.error());
    std::ranges::move(*some, std::back_inserter(all));
  }
  if (!without_.empty()) {  // first: what is to be left out says what else is
    const auto ids = read_ids(without_);
    if (!ids) return std::unexpected(ids.error());
    leave_out(*ids, all);
  }
  if (!only_.empty()) {
    const auto ids = read_ids(only_);
    if (!ids) return std::unexpected(ids.error());
    std::erase_if(all, [&](const Recording& recording) { return !ids->contains(recording.id); });
  }
  const auto without_calls = std::erase_if(all, [](const Recording& t) {
    return std::ranges::all_of(t.sequence.tasks,
                               [](const Task& task) { return task.calls.empty(); });
  });
  if (without_calls > 0) {
    std::cerr << std::format("{} recordings left out, which have no call\n", without_calls);
  }
  for (Recording& recording : all) {
    if (only_called_) keep_called_tools(recording.sequence);
    if (!calls_in_prompt_) continue;
    write_cheat_sheet(recording.sequence,
                      [](const Task& task) { return std::vector<double>(task.calls.size()); });
  }
  if (all.empty()) {
    return fail(ErrorCode::invalid_argument,
                "no recording is left: look at --recordings, --only and --without");
  }
  return all;
}

}  // namespace asynclm
