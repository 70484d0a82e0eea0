// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl.h"

#include <algorithm>
#include <cctype>
#include <exception>
#include <format>
#include <fstream>

#include "cml/call_syntax.h"

namespace asynclm::bench {
namespace {

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

ToolSpec tool_from(const Json& function) {
  ToolSpec tool;
  tool.name = usable_name(function.at("name").get<std::string>());
  tool.description = function.value("description", "");
  tool.parameters = function.at("parameters");
  return tool;
}

Call call_from(const Json& item, const std::vector<ToolSpec>& tools) {
  Call call;
  call.tool = usable_name(item.at("name").get<std::string>());
  const auto tool = std::ranges::find(tools, call.tool, &ToolSpec::name);
  call.arguments =
      tool == tools.end() ? item.at("args") : in_order(tool->parameters, item.at("args"));
  call.result = item.value("result", "");
  return call;
}

Sample single_turn(const Json& line) {
  Sample sample;
  for (const Json& message : line.at("messages")) {
    if (message.at("role") == "user") sample.user = message.at("content").get<std::string>();
  }
  for (const Json& function : line.at("functions")) sample.tools.push_back(tool_from(function));
  for (const Json& item : line.at("calls")) sample.calls.push_back(call_from(item, sample.tools));
  return sample;
}

Sample multi_step(const Json& line, const Json& functions) {
  Sample sample;
  sample.user = line.at("user").get<std::string>();
  for (const Json& name : line.at("classes_called")) {
    for (const Json& function : functions.at(name.get<std::string>())) {
      sample.tools.push_back(tool_from(function));
    }
  }
  for (const Json& task : line.at("subtasks")) {
    for (const Json& item : task.at("calls")) sample.calls.push_back(call_from(item, sample.tools));
  }
  return sample;
}

Result<std::ifstream> open_data(const std::string& path) {
  std::ifstream file(path);
  if (file) return file;
  return fail(ErrorCode::not_found,
              std::format("cannot read '{}': --data must name a folder with the benchmark's sets "
                          "as JSON lines (derived from the Berkeley Function Calling Leaderboard, "
                          "ShishirPatil/gorilla)",
                          path));
}

}  // namespace

Result<std::vector<Sample>> load_samples(const std::string& folder, const std::string& set) {
  const std::string path = folder + "/" + set + ".jsonl";
  auto file = open_data(path);
  if (!file) return std::unexpected(file.error());
  std::vector<Sample> samples;
  Json functions;  // of the multi-step sets; read when the first sample needs them
  std::size_t number = 0;
  for (std::string text; std::getline(*file, text);) {
    ++number;
    try {
      const Json line = Json::parse(text);
      const bool steps = line.contains("subtasks");
      if (steps && functions.is_null()) {
        auto classes = open_data(folder + "/multi_turn_functions.json");
        if (!classes) return std::unexpected(classes.error());
        functions = Json::parse(*classes);
      }
      samples.push_back(steps ? multi_step(line, functions) : single_turn(line));
      samples.back().id = line.at("id").get<std::string>();
    } catch (const std::exception& error) {
      return fail(ErrorCode::invalid_argument,
                  std::format("{}:{}: {}", path, number, error.what()));
    }
  }
  return samples;
}

}  // namespace asynclm::bench
