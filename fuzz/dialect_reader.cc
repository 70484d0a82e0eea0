// SPDX-License-Identifier: Apache-2.0
// The reader of what models write: however an answer is cut the same calls and text come out, and
// whatever it holds, a call fits its tool. The first byte chooses the template and the ending.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cml/schema.h"
#include "dialect/reader.h"
#include "dialect/reader_value.h"
#include "target.h"

namespace {

using namespace asynclm;
using namespace asynclm::dialect;

const std::vector<ToolSpec>& tools() {
  static const std::vector<ToolSpec> all = [] {
    const auto tool = [](std::string name, const char* parameters) {
      ToolSpec spec;
      spec.name = std::move(name);
      spec.parameters = Json::parse(parameters);
      return spec;
    };
    return std::vector<ToolSpec>{
        tool("shell", R"({"type":"object","properties":{"line":{"type":"string"},)"
                      R"("seconds":{"type":"integer"}},"required":["line"]})"),
        tool("ship_clock", R"({"type":"object","properties":{}})"),
        tool("mcp.log/add-entry",
             R"({"type":"object","properties":{"tags":{"type":"array","items":{"type":"string"}},)"
             R"("weight":{"type":"number"},"loud":{"type":["boolean","null"]},"more":{}}})")};
  }();
  return all;
}

bool fits(std::size_t tool, const Json& arguments) {
  static const std::vector<ArgumentValidator> validators = [] {
    std::vector<ArgumentValidator> out;
    for (const ToolSpec& spec : tools()) out.push_back(*ArgumentValidator::compile(spec));
    return out;
  }();
  return validators[tool].check({}, arguments).has_value();
}

struct Reading {
  std::string text, reasoning;
  std::vector<CallRead> calls;
};

void add(std::vector<ReaderEvent> events, Reading& out) {
  for (ReaderEvent& event : events) {
    if (auto* text = std::get_if<TextRead>(&event)) out.text += text->bytes;
    if (auto* text = std::get_if<ReasoningRead>(&event)) out.reasoning += text->bytes;
    if (auto* call = std::get_if<CallRead>(&event)) out.calls.push_back(std::move(*call));
  }
}

// Fed in pieces of 1 to `longest` bytes; 0: at once.
Reading read(std::string_view answer, unsigned char options_byte, std::size_t longest) {
  ReaderOptions options;
  options.own = static_cast<ReaderOptions::Template>(options_byte % 4);
  options.reasoning_open = (options_byte & 4) != 0;
  if ((options_byte & 8) != 0) options.max_call_bytes = 64;
  CallReader reader(tools(), fits, options);
  Reading out;
  for (std::size_t at = 0, piece = 1; at < answer.size(); at += piece) {
    piece = longest == 0 ? answer.size() : 1 + (at * 7 + piece) % longest;
    reader.feed(answer.substr(at, piece));
    add(reader.take(), out);
  }
  reader.finish(static_cast<Ending>((options_byte >> 4) % 3));
  add(reader.take(), out);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input = fuzz::text_of(data, size);
  if (input.empty()) return 0;
  const auto options = static_cast<unsigned char>(input[0]);
  const std::string_view answer = input.substr(1);
  const Reading whole = read(answer, options, 0);
  for (const std::size_t longest : {std::size_t{1}, std::size_t{5}}) {
    const Reading cut = read(answer, options, longest);
    fuzz::require(cut.text == whole.text, "the same text however it is cut");
    fuzz::require(cut.reasoning == whole.reasoning, "the same reasoning however it is cut");
    const auto same = [](const CallRead& a, const CallRead& b) {
      return a.name == b.name && a.arguments_text == b.arguments_text && a.begin == b.begin &&
             a.end == b.end && a.form == b.form;
    };
    fuzz::require(std::ranges::equal(whole.calls, cut.calls, same),
                  "the same calls however it is cut");
  }
  fuzz::require(whole.text.size() + whole.reasoning.size() <= answer.size(),
                "text is the answer's own");
  for (const CallRead& call : whole.calls) {
    fuzz::require(call.begin < call.end && call.end <= answer.size(), "a call stands somewhere");
    fuzz::require(call.name == tools()[call.tool].name, "a call names its tool");
    const auto arguments = read_value(call.arguments_text);
    fuzz::require(arguments.has_value(), "arguments are JSON: " + call.arguments_text);
    fuzz::require(fits(call.tool, to_checkable_json(*arguments)),
                  "arguments fit: " + call.arguments_text);
  }
  return 0;
}
