// SPDX-License-Identifier: Apache-2.0
// asynclm-lab dialect-check: reads outputs of models and says whether the reader finds the calls
// and the text in them that somebody wrote down, whole and cut at every byte.
#include <algorithm>
#include <cstddef>
#include <format>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/json_report.h"
#include "cml/schema.h"
#include "commands/commands.h"
#include "dialect/json_text.h"
#include "dialect/reader.h"
#include "dialect/reader_value.h"

namespace asynclm {
namespace {

using dialect::JsonText;

struct ExpectedCall {
  std::string name;
  JsonText arguments;
};

struct DialectCase {
  std::string id, family, output;
  std::vector<ToolSpec> tools;
  bool reasoning_open = false;
  std::vector<ExpectedCall> calls;
  std::optional<std::string> text;
};

struct Reading {
  std::vector<dialect::CallRead> calls;  // in the order in which they stand
  std::string text;
  bool operator==(const Reading& other) const {
    const auto same = [](const dialect::CallRead& a, const dialect::CallRead& b) {
      return a.name == b.name && a.arguments_text == b.arguments_text && a.begin == b.begin &&
             a.end == b.end;
    };
    return text == other.text && std::ranges::equal(calls, other.calls, same);
  }
};

// Text without space around it, each run of spaces as one.
std::string plain(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool space = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (!space) {
      out += c;
    } else if (!out.empty() && out.back() != ' ') {
      out += ' ';
    }
  }
  while (out.ends_with(' ')) out.pop_back();
  return out;
}

dialect::ReaderOptions options_for(const DialectCase& test) {
  using Template = dialect::ReaderOptions::Template;
  dialect::ReaderOptions options;
  options.reasoning_open = test.reasoning_open;
  if (test.family.starts_with("Llama")) options.own = Template::no_mark;
  if (test.family.starts_with("Command")) options.own = Template::action;
  if (test.family.starts_with("gpt-oss")) options.own = Template::recipients;
  return options;
}

// A reader for the case's tools.
class CaseReader {
 public:
  explicit CaseReader(const DialectCase& test) : test_(&test) {
    for (const ToolSpec& tool : test.tools) validators_.push_back(ArgumentValidator::compile(tool));
  }

  // Fed in pieces of so many bytes.
  [[nodiscard]] Reading read(std::size_t piece) const {
    dialect::CallReader reader(test_->tools, fits(), options_for(*test_));
    Reading out;
    const auto take = [&] {
      for (dialect::ReaderEvent& event : reader.take()) {
        if (auto* text = std::get_if<dialect::TextRead>(&event)) out.text += text->bytes;
        if (auto* call = std::get_if<dialect::CallRead>(&event))
          out.calls.push_back(std::move(*call));
      }
    };
    for (std::size_t at = 0; at < test_->output.size(); at += piece) {
      reader.feed(std::string_view(test_->output).substr(at, piece));
      take();
    }
    reader.finish();
    take();
    std::ranges::stable_sort(out.calls, {}, &dialect::CallRead::begin);
    return out;
  }

 private:
  [[nodiscard]] dialect::FitsSchema fits() const {
    return [this](std::size_t tool, const Json& arguments) {
      const auto& validator = validators_[tool];
      return validator && validator->check({}, arguments).has_value();
    };
  }

  const DialectCase* test_;
  std::vector<Result<ArgumentValidator>> validators_;
};

std::string wrong_calls(const DialectCase& test, const Reading& reading) {
  const bool same = std::ranges::equal(
      test.calls, reading.calls, [](const ExpectedCall& expected, const dialect::CallRead& call) {
        const auto arguments = dialect::read_value(call.arguments_text);
        return expected.name == call.name && arguments &&
               dialect::same_value(expected.arguments, *arguments);
      });
  if (same) return {};
  std::string out = "calls:";
  for (const dialect::CallRead& call : reading.calls)
    out += " " + call.name + " " + call.arguments_text;
  return out + (reading.calls.empty() ? " none" : "");
}

std::string wrong_text(const DialectCase& test, const Reading& reading) {
  if (!test.text || plain(*test.text) == plain(reading.text)) return {};
  return "text: " + plain(reading.text);
}

const JsonText& member(const JsonText& object, std::string_view name) {
  static const JsonText kNull;
  const JsonText* found = object.find(name);
  return found == nullptr ? kNull : *found;
}

Result<DialectCase> read_case(std::string_view line) {
  const auto read = dialect::read_value(line);
  if (!read || !read->is(JsonText::Kind::object))
    return fail(ErrorCode::invalid_argument, "not a JSON object");
  DialectCase out;
  out.id = member(*read, "id").text;
  out.family = member(*read, "family").text;
  out.output = member(*read, "output").text;
  out.reasoning_open = member(*read, "reasoning_open").truth;
  if (out.id.empty() || !member(*read, "output").is(JsonText::Kind::string))
    return fail(ErrorCode::invalid_argument, "no \"id\" or no \"output\"");
  for (const JsonText& tool : member(*read, "tools").items) {
    const JsonText* function = tool.find("function");
    const JsonText& spec = function == nullptr ? tool : *function;
    ToolSpec named;
    named.name = member(spec, "name").text;
    named.description = member(spec, "description").text;
    if (const JsonText* parameters = spec.find("parameters"))
      named.parameters = dialect::to_json(*parameters);
    out.tools.push_back(std::move(named));
  }
  for (const JsonText& call : member(*read, "calls").items)
    out.calls.push_back({member(call, "name").text, member(call, "arguments")});
  if (const JsonText* text = read->find("text")) out.text = text->text;
  return out;
}

struct DialectCheckCommand {
  std::string data;
  bool json = false;

  [[nodiscard]] int run() const;
};

struct FamilyCount {
  std::string family;
  int cases = 0, right = 0, wrong_calls = 0, wrong_text = 0, wrong_streamed = 0;
};

int DialectCheckCommand::run() const {
  std::ifstream file(data);
  if (!file) {
    std::cerr << "asynclm-lab dialect-check: cannot read " << data << '\n';
    return kExitUsage;
  }
  std::vector<FamilyCount> families;
  FamilyCount all{.family = "all"};
  Json failed = Json::array();
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.empty()) continue;
    const auto test = read_case(line);
    if (!test) {
      std::cerr << std::format("asynclm-lab dialect-check: {}:{}: {}\n", data, number,
                               test.error().message);
      return kExitUsage;
    }
    auto family = std::ranges::find(families, test->family, &FamilyCount::family);
    if (family == families.end()) {
      families.push_back({.family = test->family});
      family = families.end() - 1;
    }
    const CaseReader reader(*test);
    const Reading whole = reader.read(std::max<std::size_t>(test->output.size(), 1));
    const std::string calls = wrong_calls(*test, whole);
    const std::string text = wrong_text(*test, whole);
    const bool streamed = reader.read(1) == whole;
    for (FamilyCount* count : {&all, &*family}) {
      ++count->cases;
      count->right += calls.empty() && text.empty() && streamed ? 1 : 0;
      count->wrong_calls += calls.empty() ? 0 : 1;
      count->wrong_text += text.empty() ? 0 : 1;
      count->wrong_streamed += streamed ? 0 : 1;
    }
    if (calls.empty() && text.empty() && streamed) continue;
    Json why = Json::array();
    if (!calls.empty()) why.push_back(calls);
    if (!text.empty()) why.push_back(text);
    if (!streamed) why.push_back("streamed: not as whole");
    failed.push_back({{"id", test->id}, {"wrong", std::move(why)}});
  }
  families.push_back(all);
  if (json) {
    Json table = Json::array();
    for (const FamilyCount& count : families) {
      table.push_back({{"family", count.family},
                       {"cases", count.cases},
                       {"right", count.right},
                       {"wrong_calls", count.wrong_calls},
                       {"wrong_text", count.wrong_text},
                       {"wrong_streamed", count.wrong_streamed}});
    }
    std::cout << dump_json({{"families", std::move(table)}, {"failed", failed}}, 2) << '\n';
  } else {
    std::cout << std::format("{:<20}{:>6}{:>7}{:>7}{:>7}{:>10}\n", "family", "cases", "right",
                             "calls", "text", "streamed");
    for (const FamilyCount& count : families) {
      std::cout << std::format("{:<20}{:>6}{:>7}{:>7}{:>7}{:>10}\n", count.family, count.cases,
                               count.right, count.wrong_calls, count.wrong_text,
                               count.wrong_streamed);
    }
    for (const Json& one : failed) {
      std::cout << one["id"].get<std::string>() << '\n';
      for (const Json& why : one["wrong"]) std::cout << "  " << why.get<std::string>() << '\n';
    }
  }
  return failed.empty() ? kExitOk : kExitFailed;
}

}  // namespace

void add_dialect_check_command(CLI::App& app, int& exit_code) {
  CLI::App* sub = app.add_subcommand(
      "dialect-check", "Whether the calls in outputs of models are found, whole and streamed");
  const auto command = std::make_shared<DialectCheckCommand>();
  sub->add_option("--data", command->data,
                  "Cases, one JSON object a line: id, family, tools, reasoning_open, output, "
                  "calls, text")
      ->required();
  sub->add_flag("--json", command->json, "Print one JSON object");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
