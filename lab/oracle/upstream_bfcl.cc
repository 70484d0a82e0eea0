// SPDX-License-Identifier: Apache-2.0
#include "oracle/upstream_bfcl.h"

#include <algorithm>
#include <array>
#include <exception>
#include <filesystem>
#include <format>
#include <fstream>
#include <map>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "base/json_error.h"
#include "cml/call_syntax.h"

namespace asynclm {
namespace {

// Which file of multi_turn_func_doc/ has a class's functions.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kClassFiles = {{
    {"GorillaFileSystem", "gorilla_file_system.json"},
    {"MathAPI", "math_api.json"},
    {"MessageAPI", "message_api.json"},
    {"TwitterAPI", "posting_api.json"},
    {"TicketAPI", "ticket_api.json"},
    {"TradingBot", "trading_bot.json"},
    {"TravelAPI", "travel_booking.json"},
    {"VehicleControlAPI", "vehicle_control.json"},
}};

Result<std::vector<Json>> read_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    return fail(ErrorCode::not_found,
                std::format("cannot read '{}', which belongs to these questions: keep the files of "
                            "bfcl_eval/data of the upstream repository together",
                            path.string()));
  }
  std::vector<Json> lines;
  for (std::string text; std::getline(file, text);) {
    if (text.empty()) continue;
    Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (line.is_discarded()) {
      return fail(ErrorCode::invalid_argument,
                  std::format("{}:{}: no JSON", path.string(), lines.size() + 1));
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

// Upstream's names of types to JSON Schema's.
Json as_schema(const Json& upstream) {
  if (!upstream.is_object()) return upstream;
  Json schema = upstream;
  if (const auto type = schema.find("type"); type != schema.end() && type->is_string()) {
    if (*type == "dict") *type = "object";
    if (*type == "float") *type = "number";
    if (*type == "tuple") *type = "array";
    if (*type == "any") schema.erase("type");
  }
  if (schema.contains("properties")) {
    for (Json& property : schema["properties"]) property = as_schema(property);
  }
  if (schema.contains("items")) schema["items"] = as_schema(schema["items"]);
  return schema;
}

Json as_function(const Json& upstream) {
  return {{"name", upstream.at("name")},
          {"description", upstream.value("description", "")},
          {"parameters", as_schema(upstream.at("parameters"))}};
}

Json first_right(const Json& accept);

// The value of a parameter: in objects each member has a list of right values again.
Json right_value(const Json& value) {
  if (value.is_object()) return first_right(value);
  if (!value.is_array()) return value;
  Json out = Json::array();
  for (const Json& item : value) out.push_back(right_value(item));
  return out;
}

Json first_right(const Json& accept) {
  Json out = Json::object();
  for (const auto& [name, values] : accept.items()) {
    const bool may_be_left_out = std::ranges::contains(values, Json(""));
    if (!may_be_left_out) out[name] = right_value(values.at(0));
  }
  return out;
}

Json one_turn(const Json& question, const Json& answer) {
  Json functions = Json::array();
  for (const Json& function : question.at("function")) functions.push_back(as_function(function));
  Json calls = Json::array();
  for (const Json& truth : answer.at("ground_truth")) {
    for (const auto& [name, accept] : truth.items()) {
      calls.push_back({{"name", name}, {"args", first_right(accept)}, {"accept", accept}});
    }
  }
  return {{"id", question.at("id")},
          {"messages", question.at("question").at(0)},
          {"functions", std::move(functions)},
          {"calls", std::move(calls)}};
}

// Of the classes that are involved, the one that has the function, and the function.
std::pair<std::string, Json> find_function(const Json& classes, const Json& involved,
                                           const std::string& name) {
  for (const Json& one : involved) {
    const auto class_name = one.get<std::string>();
    for (const Json& function : classes.at(class_name)) {
      if (function.at("name") == name) return {class_name, function};
    }
  }
  throw std::invalid_argument(std::format("no class of it has the function {}", name));
}

Json several_turns(const Json& question, const Json& answer, const Json& classes) {
  const Json& involved = question.at("involved_classes");
  const Json& truth = answer.at("ground_truth");
  Json turns = Json::array();
  for (const Json& messages : question.at("question")) {
    Json user = Json::array();
    for (const Json& message : messages) user.push_back(message.at("content"));
    Json calls = Json::array();
    for (const Json& code : truth.at(turns.size())) {
      auto call = parse_call(code.get<std::string>());
      if (!call) throw std::invalid_argument(call.error().message);
      const auto [class_name, function] = find_function(classes, involved, call->name);
      Json arguments = Json::object();
      const Json& properties = function.at("parameters").at("properties");
      if (call->positional.size() > properties.size()) {
        throw std::invalid_argument(std::format("too many arguments in {}", code.dump()));
      }
      auto parameter = properties.begin();
      for (const Json& value : call->positional) arguments[(parameter++).key()] = value;
      for (const auto& [name, value] : call->named.items()) arguments[name] = value;
      calls.push_back(
          {{"name", call->name}, {"class", class_name}, {"args", std::move(arguments)}});
    }
    turns.push_back({{"user", std::move(user)}, {"calls", std::move(calls)}});
  }
  return {{"id", question.at("id")}, {"involved_classes", involved}, {"turns", std::move(turns)}};
}

Result<void> add_class(const std::string& name, const std::filesystem::path& folder,
                       Json& classes) {
  if (classes.contains(name)) return {};
  const auto file =
      std::ranges::find(kClassFiles, name, [](const auto& entry) { return entry.first; });
  if (file == kClassFiles.end()) {
    return fail(ErrorCode::unsupported, std::format("nothing is known of the class {}", name));
  }
  const auto lines = read_lines(folder / "multi_turn_func_doc" / file->second);
  if (!lines) return std::unexpected(lines.error());
  Json functions = Json::array();
  for (const Json& line : *lines) functions.push_back(as_function(line));
  classes[name] = std::move(functions);
  return {};
}

}  // namespace

bool is_upstream_bfcl(const Json& line) { return line.is_object() && line.contains("question"); }

Result<UpstreamBfcl> read_upstream_bfcl(const std::string& path,
                                        const std::vector<Json>& questions) {
  const std::filesystem::path file(path);
  const auto folder = file.parent_path();
  const auto answers = read_lines(folder / "possible_answer" / file.filename());
  if (!answers) return std::unexpected(answers.error());
  UpstreamBfcl out;
  out.classes = Json::object();
  std::string sample;
  try {
    std::map<std::string, const Json*> answer_of;
    for (const Json& answer : *answers)
      answer_of.emplace(answer.at("id").get<std::string>(), &answer);
    for (const Json& question : questions) {
      sample = question.at("id").get<std::string>();
      const Json& answer = *answer_of.at(sample);
      if (!question.contains("involved_classes")) {
        out.lines.push_back(one_turn(question, answer));
        continue;
      }
      for (const Json& name : question["involved_classes"]) {
        auto added = add_class(name.get<std::string>(), folder, out.classes);
        if (!added) return fail(added.error().code, sample + ": " + added.error().message);
      }
      out.lines.push_back(several_turns(question, answer, out.classes));
    }
  } catch (const std::exception& error) {
    return fail(ErrorCode::invalid_argument, std::format("{}: sample '{}' or its answer: {}", path,
                                                         sample, plain_message(error)));
  }
  return out;
}

}  // namespace asynclm
