// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_workload.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <format>
#include <system_error>
#include <utility>

#include "oracle/recordings.h"

namespace asynclm::bench {
namespace {

// Each task but the first is said later, and its calls are asked for by what is said.
void say_one_after_another(const std::vector<Recording::Part>& parts, Time apart, Task& task) {
  task.user = parts.front().user;
  std::size_t call = parts.front().calls;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    task.interruptions.push_back({apart * static_cast<std::int64_t>(i), parts[i].user});
    for (std::size_t n = 0; n < parts[i].calls; ++n) task.calls[call++].asked_by = i - 1;
  }
}

std::string documents_of(const std::vector<ToolSpec>& tools) {
  std::string text;
  for (const ToolSpec& tool : tools) {
    text +=
        Json{
            {"name", tool.name}, {"description", tool.description}, {"parameters", tool.parameters}}
            .dump() +
        "\n";
  }
  return text;
}

// Of the two files that it can be; the first where there is none.
std::string path_of(const std::string& folder, const BfclSource& source) {
  namespace fs = std::filesystem;
  std::string path = std::format("{}/{}.jsonl", folder, source.file);
  std::error_code none;
  if (source.upstream.empty() || fs::exists(path, none)) return path;
  const std::string end = std::format("_{}.json", source.upstream);
  for (const auto& entry : fs::directory_iterator(folder, none)) {
    const std::string name = entry.path().filename().string();
    // BFCL_v4_parallel.json, and not BFCL_v4_live_parallel.json.
    if (name.starts_with("BFCL_v") && name.ends_with(end) &&
        name.find('_', std::string_view("BFCL_v").size()) == name.size() - end.size()) {
      return entry.path().string();
    }
  }
  return path;
}

}  // namespace

Result<BfclWorkload> load_bfcl(const std::string& folder, const BfclSource& source) {
  const std::string path = path_of(folder, source);
  auto recordings = load_recordings(path);
  if (!recordings) return std::unexpected(recordings.error());
  BfclWorkload workload{.name = source.name, .samples = {}};
  for (Recording& recording : *recordings) {
    std::vector<Task>& tasks = recording.sequence.tasks;
    if (source.first_turn_only) tasks.resize(std::min<std::size_t>(tasks.size(), 1));
    if (source.arrivals) {
      if (recording.parts.empty()) {
        return fail(ErrorCode::invalid_argument,
                    std::format("{}: '{}' is not of tasks side by side", path, recording.id));
      }
      say_one_after_another(recording.parts, *source.arrivals, tasks.front());
    }
    std::erase_if(tasks, [](const Task& task) { return task.calls.empty(); });
    if (tasks.empty()) continue;
    for (Task& task : tasks) {
      for (TaskCall& call : task.calls) {
        if (call.result.text.empty()) call.result.text = kStandInResult;
      }
    }
    std::string documents = documents_of(recording.sequence.tools);
    workload.samples.push_back(
        {std::move(recording.id), std::move(recording.sequence), std::move(documents)});
  }
  if (workload.samples.empty()) {
    return fail(ErrorCode::invalid_argument, path + " has no sample with a call");
  }
  return workload;
}

void keep_called_tools(BfclWorkload& workload) {
  for (BfclSample& sample : workload.samples) {
    asynclm::keep_called_tools(sample.sequence);
    sample.documents = documents_of(sample.sequence.tools);
  }
}

void scale_times(BfclWorkload& workload, double factor) {
  for (BfclSample& sample : workload.samples) {
    for (ToolSpec& tool : sample.sequence.tools) {
      const double ms = static_cast<double>(tool.estimate.count()) * factor;
      // Tools are told whole milliseconds, none takes no time.
      tool.estimate = std::chrono::milliseconds(std::max(1L, std::lround(ms)));
    }
    for (Task& task : sample.sequence.tasks) {
      for (TaskCall& call : task.calls) call.duration = from_ms(to_ms(call.duration) * factor);
    }
  }
}

}  // namespace asynclm::bench
