// SPDX-License-Identifier: Apache-2.0
#include "oracle/recordings.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <exception>
#include <filesystem>
#include <format>
#include <fstream>
#include <optional>
#include <set>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "base/json_error.h"
#include "cml/call_syntax.h"
#include "cml/schema.h"
#include "oracle/upstream_bfcl.h"

namespace asynclm {
namespace {

// A call's dependencies on earlier ones: on what they did, and on what they returned.
constexpr std::string_view kStateFlow = "deps_state", kDataFlow = "deps_data";

std::string usable_name(std::string name) {
  std::ranges::replace_if(
      name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
  if (!is_identifier(name)) name.insert(0, "f_");
  return name;
}

Json in_order(const Json& parameters, const Json& arguments) {
  Json out = Json::object();
  if (parameters.contains("properties")) {
    for (const auto& [name, schema] : parameters["properties"].items()) {
      if (arguments.contains(name)) out[name] = arguments[name];
    }
  }
  for (const auto& [name, value] : arguments.items()) {
    if (!out.contains(name)) out[name] = value;
  }
  return out;
}

Result<std::ifstream> open_data(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return fail(ErrorCode::invalid_argument, std::format("'{}' is a folder, not a file", path));
  }
  std::ifstream file(path);
  if (file) return file;
  return fail(ErrorCode::not_found,
              std::format("cannot read '{}': it is of benchmark data as JSON lines, derived from "
                          "the Berkeley Function Calling Leaderboard (ShishirPatil/gorilla)",
                          path));
}

// A number or text within a result, and the path that leads to it, as futures write it.
struct Leaf {
  Json value;
  std::string path;
};

void collect_leaves(const Json& value, const std::string& path, std::vector<Leaf>& out) {
  if (value.is_object()) {
    for (const auto& [name, child] : value.items()) {
      // A name that is no identifier cannot be written in a path.
      if (is_identifier(name)) collect_leaves(child, path + "." + name, out);
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      collect_leaves(value[i], std::format("{}[{}]", path, i), out);
    }
  } else if (value.is_string() || value.is_number()) {
    out.push_back({value, path});
  }
}

std::string as_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Whether the text has the value as words or numbers of its own: 20 is not in "2010" or "20.5", but
// in "20km" and "20.5.2010".
bool says(std::string_view text, std::string_view value) {
  const auto is_digit = [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; };
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  const auto are_one = [&](char a, char b) {
    return (is_digit(a) && is_digit(b)) || (is_letter(a) && is_letter(b));
  };
  for (auto at = text.find(value); at != std::string_view::npos; at = text.find(value, at + 1)) {
    const std::string_view before = text.substr(0, at), after = text.substr(at + value.size());
    if (!before.empty() && are_one(before.back(), value.front())) continue;
    if (!after.empty() && are_one(value.back(), after.front())) continue;
    const bool has_whole = before.size() > 1 && before.back() == '.' &&
                           is_digit(before[before.size() - 2]) && is_digit(value.front());
    const bool has_fraction =
        after.size() > 1 && after[0] == '.' && is_digit(after[1]) && is_digit(value.back());
    if (has_whole == has_fraction) return true;  // neither, or a date
    // The other side of the one point: that of a number, or of one more in a date.
    const auto digits = [&](const auto& from, const auto& to) {
      return std::find_if_not(from, to, is_digit);
    };
    const auto left = digits(before.rbegin() + (has_whole ? 1 : 0), before.rend());
    const auto right = digits(after.begin() + (has_fraction ? 1 : 0), after.end());
    const bool is_date = has_whole ? left != before.rend() && *left == '.'
                                   : after.end() - right > 1 && *right == '.' && is_digit(right[1]);
    if (is_date) return true;
  }
  return false;
}

void keep_once(std::vector<std::size_t>& indices) {
  std::ranges::sort(indices);
  const auto [begin, end] = std::ranges::unique(indices);
  indices.erase(begin, end);
}

class Reader {
 public:
  explicit Reader(const std::string& path)
      : path_(path), folder_(std::filesystem::path(path).parent_path()) {}

  Result<std::vector<Recording>> read() {
    auto file = open_data(path_);
    if (!file) return std::unexpected(file.error());
    if (auto ok = read_times(); !ok) return std::unexpected(ok.error());
    std::vector<Json> lines;
    std::vector<std::size_t> numbers;  // of the lines in the file
    std::size_t number = 0;
    try {
      for (std::string text; std::getline(*file, text);) {
        ++number;
        if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
        lines.push_back(Json::parse(text));
        numbers.push_back(number);
        declares_ = declares_ || text.contains("\"deps_");
      }
      if (!lines.empty() && is_upstream_bfcl(lines.front())) {
        auto upstream = read_upstream_bfcl(path_, lines);
        if (!upstream) return std::unexpected(upstream.error());
        lines = std::move(upstream->lines);
        functions_ = std::move(upstream->classes);
      }
      std::vector<Recording> recordings;
      for (std::size_t i = 0; i < lines.size(); ++i) {
        number = numbers[i];
        auto recording = recording_from(lines[i]);
        if (!recording) return std::unexpected(recording.error());
        recordings.push_back(std::move(*recording));
      }
      return recordings;
    } catch (const std::exception& error) {
      return fail(ErrorCode::invalid_argument,
                  std::format("{}:{}: {}", path_, number, plain_message(error)));
    }
  }

 private:
  Result<void> read_times() {
    const auto path = folder_ / "function_times_ms.json";
    std::ifstream file(path);
    if (!file) return {};
    try {
      const Json times = Json::parse(file);
      for (const auto& [name, ms] : times.items()) times_.emplace(name, ms.get<double>());
    } catch (const std::exception& error) {
      return fail(ErrorCode::invalid_argument,
                  std::format("{}: {}", path.string(), plain_message(error)));
    }
    return {};
  }

  void add_tool(const Json& function, std::vector<ToolSpec>& tools) const {
    ToolSpec tool;
    const auto name = function.at("name").get<std::string>();
    tool.name = usable_name(name);
    if (std::ranges::contains(tools, tool.name, &ToolSpec::name)) return;
    tool.description = function.value("description", "");
    tool.parameters = function.at("parameters");
    const auto estimate = [](double ms) {
      return std::chrono::milliseconds(std::max(1L, std::lround(ms)));
    };
    if (function.contains("estimate_ms")) {
      const auto ms = function["estimate_ms"].get<double>();
      if (!(ms > 0 && ms < 1e9)) {
        throw std::out_of_range(std::format("'{}': a time of {} ms", name, ms));
      }
      tool.estimate = estimate(ms);
    } else if (const auto time = times_.find(name); time != times_.end()) {
      tool.estimate = estimate(time->second);
    }
    tools.push_back(std::move(tool));
  }

  Result<void> add_classes(const Json& names, std::vector<ToolSpec>& tools) {
    if (functions_.is_null()) {
      auto classes = open_data((folder_ / "multi_turn_functions.json").string());
      if (!classes) return std::unexpected(classes.error());
      functions_ = Json::parse(*classes);
    }
    for (const Json& name : names) {
      for (const Json& function : functions_.at(name.get<std::string>())) {
        add_tool(function, tools);
      }
    }
    return {};
  }

  Result<Recording> recording_from(const Json& line) {
    Recording recording;
    recording.id = line.at("id").get<std::string>();
    TaskSequence& sequence = recording.sequence;
    if (line.contains("turns")) {
      if (auto ok = add_classes(line.at("involved_classes"), sequence.tools); !ok) {
        return std::unexpected(ok.error());
      }
      for (const Json& turn : line.at("turns")) {
        Task& task = sequence.tasks.emplace_back();
        for (const Json& text : turn.at("user")) {
          task.user += (task.user.empty() ? "" : "\n") + text.get<std::string>();
        }
        add_calls(turn.at("calls"), sequence);
      }
    } else if (line.contains("subtasks")) {
      if (auto ok = add_classes(line.at("classes_called"), sequence.tools); !ok) {
        return std::unexpected(ok.error());
      }
      sequence.tasks.emplace_back().user = line.at("user").get<std::string>();
      for (const Json& task : line.at("subtasks")) {
        add_calls(task.at("calls"), sequence);
        recording.parts.push_back(
            {task.value("user", ""), task.at("calls").size(), task.value("sample", "")});
      }
    } else {
      for (const Json& function : line.at("functions")) add_tool(function, sequence.tools);
      Task& task = sequence.tasks.emplace_back();
      for (const Json& message : line.at("messages")) {
        if (message.at("role") != "user") continue;
        task.user += (task.user.empty() ? "" : "\n") + message.at("content").get<std::string>();
      }
      add_calls(line.at("calls"), sequence);
    }
    return recording;
  }

  // Appends calls that know each other to the last task.
  void add_calls(const Json& items, TaskSequence& sequence) const {
    Task& task = sequence.tasks.back();
    const std::size_t first = task.calls.size();
    std::string said;  // by the user, so far
    for (const Task& earlier : sequence.tasks) said += earlier.user + "\n";
    std::vector<std::vector<Leaf>> leaves;  // of the results, of each call before
    std::unordered_map<std::string, std::size_t> last_of_class;
    for (const Json& item : items) {
      TaskCall call;
      call.tool = usable_name(item.at("name").get<std::string>());
      const auto tool = std::ranges::find(sequence.tools, call.tool, &ToolSpec::name);
      if (tool == sequence.tools.end()) {
        throw std::invalid_argument(
            std::format("there is no function '{}', which a call is of", call.tool));
      }
      const Json arguments = in_order(tool->parameters, item.at("args"));
      for (const auto& [name, value] : arguments.items()) {
        if (value.is_null()) continue;  // left out
        call.arguments.push_back({.name = name, .value = value, .from = {}, .path = {}});
      }
      if (item.contains("accept")) call.accept = item["accept"];
      const bool has_failed = item.contains("error") && !item["error"].is_null();
      call.result = has_failed ? CallResult{Outcome::failed, item["error"].get<std::string>()}
                               : CallResult{Outcome::returned, item.value("result", "")};
      call.duration = Time(tool->estimate);
      for (const std::string_view key : {kStateFlow, kDataFlow}) {
        if (!item.contains(key)) continue;
        for (const Json& index : item[key]) {
          const auto before = index.get<std::size_t>();
          if (before >= leaves.size()) {
            throw std::out_of_range(std::format("{}: there is no earlier call {}", key, before));
          }
          (key == kDataFlow ? call.reads : call.after).push_back(first + before);
        }
      }
      if (item.contains("class")) {
        const auto name = item["class"].get<std::string>();
        const auto last = last_of_class.find(name);
        if (last != last_of_class.end() && !declares_) call.after.push_back(last->second);
        if (!has_failed) last_of_class[name] = task.calls.size();  // else it changed nothing
      }
      const auto failed = [&](std::size_t i) {
        return task.calls[i].result.outcome == Outcome::failed;
      };
      for (std::size_t i = first; i < task.calls.size(); ++i) {
        const TaskCall& earlier = task.calls[i];
        if (earlier.tool != call.tool || arguments_of(earlier) != arguments_of(call)) continue;
        call.retry_of = failed(i) ? std::optional(i) : std::nullopt;  // the latest says
      }
      // What was recorded did not need a call that failed.
      std::erase_if(call.after, failed);
      std::erase_if(call.reads, failed);
      link_data_flow(call, first, leaves, said);
      if (!declares_) link_what_is_read(call, first, task.calls, leaves, said);
      // What an argument is a future of need not be known.
      std::erase_if(call.reads, [&](std::size_t read) {
        return std::ranges::contains(call.arguments, std::optional(read), &TaskArgument::from);
      });
      keep_once(call.after);
      keep_once(call.reads);
      std::vector<Leaf> result;
      if (!has_failed) {
        const Json json = Json::parse(call.result.text, nullptr, /*allow_exceptions=*/false);
        collect_leaves(json.is_discarded() ? Json(call.result.text) : json, "", result);
      }
      leaves.push_back(std::move(result));
      task.calls.push_back(std::move(call));
    }
  }

  // Where an argument is a value of an earlier result, of the latest one that has it.
  static void link_data_flow(TaskCall& call, std::size_t first,
                             const std::vector<std::vector<Leaf>>& leaves,
                             const std::string& said) {
    for (TaskArgument& argument : call.arguments) {
      if (!argument.value.is_string() && !argument.value.is_number()) continue;
      const std::string text = as_text(argument.value);
      if (text.size() < kTelling || says(said, text)) continue;
      for (std::size_t i = leaves.size(); i > 0 && !argument.from; --i) {
        for (const Leaf& leaf : leaves[i - 1]) {
          if (leaf.value != argument.value) continue;
          argument.from = first + i - 1;
          argument.path = leaf.path;
          call.after.push_back(*argument.from);
          break;
        }
      }
    }
  }

  // Where an argument, or a part of it, is not such a value but stands in the text of an earlier
  // result, or has a value of one in its own text: the call cannot be written before that is known.
  // Each is taken from the latest result that has it.
  static void link_what_is_read(TaskCall& call, std::size_t first,
                                const std::vector<TaskCall>& calls,
                                const std::vector<std::vector<Leaf>>& leaves,
                                const std::string& said) {
    const auto is_new = [&](const std::string& text) {
      return text.size() >= kTelling && !says(said, text);
    };
    for (const TaskArgument& argument : call.arguments) {
      if (argument.from) continue;
      std::vector<Leaf> parts;
      collect_leaves(argument.value, "", parts);
      for (const Leaf& part : parts) {
        const std::string text = as_text(part.value);
        if (!is_new(text)) continue;
        std::set<std::string> found;
        for (std::size_t i = leaves.size(); i > 0; --i) {
          const CallResult& result = calls[first + i - 1].result;
          bool is_read = result.outcome == Outcome::returned && says(result.text, text) &&
                         found.insert(text).second;
          for (const Leaf& leaf : leaves[i - 1]) {
            const std::string value = as_text(leaf.value);
            if (is_new(value) && says(text, value) && found.insert(value).second) is_read = true;
          }
          if (is_read) call.reads.push_back(first + i - 1);
        }
      }
    }
  }

  static constexpr std::size_t kTelling = 2;  // one character is found anywhere
  std::string path_;
  std::filesystem::path folder_;
  std::unordered_map<std::string, double> times_;
  Json functions_;         // by class; read when the first line needs them
  bool declares_ = false;  // some call of the file says what it depends on
};

}  // namespace

Result<std::vector<Recording>> load_recordings(const std::string& path) {
  return Reader(path).read();
}

void keep_called_tools(TaskSequence& sequence) {
  std::erase_if(sequence.tools, [&](const ToolSpec& tool) {
    return std::ranges::none_of(sequence.tasks, [&](const Task& task) {
      return std::ranges::contains(task.calls, tool.name, &TaskCall::tool);
    });
  });
}

std::string refused_call(const TaskSequence& sequence) {
  std::unordered_map<std::string, Result<ArgumentValidator>> validators;
  for (const Task& task : sequence.tasks) {
    for (const TaskCall& call : task.calls) {
      auto known = validators.find(call.tool);
      if (known == validators.end()) {
        const auto tool = std::ranges::find(sequence.tools, call.tool, &ToolSpec::name);
        known = validators.emplace(call.tool, ArgumentValidator::compile(*tool)).first;
      }
      const Result<ArgumentValidator>& validator = known->second;
      if (!validator) return validator.error().message;
      const auto checked = validator->check({}, arguments_of(call));
      if (!checked) return call.tool + ": " + checked.error().message;
    }
  }
  return "";
}

Json arguments_of(const TaskCall& call) {
  Json arguments = Json::object();
  for (const TaskArgument& argument : call.arguments) arguments[argument.name] = argument.value;
  return arguments;
}

}  // namespace asynclm
