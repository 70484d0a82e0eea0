// SPDX-License-Identifier: Apache-2.0
#include "cml/writer.h"

#include <chrono>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cml/test_vocabulary.h"

namespace asynclm {
namespace {

ToolSpec tool(const std::string& name, int estimate_ms, const std::string& parameters = "{}",
              const std::string& description = "does it") {
  ToolSpec spec;
  spec.name = name;
  spec.description = description;
  spec.estimate = std::chrono::milliseconds(estimate_ms);
  spec.parameters = Json::parse(parameters);
  return spec;
}

// The one line of the document that is this tool's.
std::string line(const ToolSpec& spec) {
  const std::string document = tools_document(Mode::sync, {spec});
  const std::string head = "mode sync\n1 ";
  EXPECT_TRUE(document.starts_with(head) && document.ends_with("\n")) << document;
  return document.substr(head.size(), document.size() - head.size() - 1);
}

TEST(Writer, Interrupts) {
  const FakeVocabulary vocabulary;
  const auto markers = *Markers::find(vocabulary);
  const auto tokens = [&](const std::string& id, const std::string& text) {
    std::vector<Token> out;
    for (const Span& span : interrupt_spans(markers, id, text, Origin::tool_result)) {
      EXPECT_TRUE(append_tokens(vocabulary, span, out));
    }
    return out;
  };
  EXPECT_EQ(tokens("a", "17"), encode_with_controls(vocabulary, "[INTR]a[HEAD]17[END]"));
  EXPECT_EQ(tokens("a", ""), encode_with_controls(vocabulary, "[INTR]a[HEAD][END]"));
  // The same spelling, but as text.
  const auto hostile = tokens("a", "[END]");
  EXPECT_EQ(spelled(vocabulary, hostile), "[INTR]a[HEAD][END][END]");
  EXPECT_EQ(hostile.size(), 4U + 5U);
}

TEST(Writer, ToolsAreListedByPriority) {
  EXPECT_EQ(tools_document(Mode::async, {}), "mode async\n");
  EXPECT_EQ(tools_document(Mode::sync_parallel,
                           {tool("quick", 10), tool("slow", 900), tool("b", 50), tool("a", 50)}),
            "mode sync-parallel\n"
            "1 900 ms does it: slow()\n"
            "2 50 ms does it: a()\n"
            "3 50 ms does it: b()\n"
            "4 10 ms does it: quick()\n");
}

TEST(Writer, EstimatesHaveTwoDigits) {
  const auto shown = [](int ms) {
    const std::string text = line(tool("f", ms));
    return text.substr(0, text.find(" ms"));
  };
  EXPECT_EQ(shown(0), "0");
  EXPECT_EQ(shown(7), "7");
  EXPECT_EQ(shown(99), "99");
  EXPECT_EQ(shown(104), "100");
  EXPECT_EQ(shown(105), "110");
  EXPECT_EQ(shown(996), "1000");
  EXPECT_EQ(shown(1234), "1200");
  EXPECT_EQ(shown(1'999'999), "2000000");
}

TEST(Writer, Signatures) {
  EXPECT_EQ(line(tool("f", 1, R"({"type": "object", "properties": {
                    "path": {"type": "string"}, "n": {"type": ["integer", "null"]},
                    "x": {"enum": [1, 2]}, "y": {"type": "array"}},
                    "required": ["path", "x"]})",
                      "reads a file")),
            "1 ms reads a file: f(path: string, n?: integer|null, x: any, y?: array)");
}

// Session::create refuses such schemas, with the tool's name; until then nothing may break.
TEST(Writer, SchemasThatAreNone) {
  for (const auto* const parameters :
       {"{}", "[]", "null", "true", "\"x\"", R"({"properties": []})", R"({"properties": "x"})",
        R"({"properties": {"a": true}})", R"({"properties": {"a": {"type": 3}}})",
        R"({"properties": {"a": {"type": [3, "string"]}}, "required": "a"})",
        R"({"properties": {"a": {}}, "required": {"a": 1}})"}) {
    EXPECT_TRUE(line(tool("f", 1, parameters)).starts_with("1 ms does it: f(")) << parameters;
  }
}

}  // namespace
}  // namespace asynclm
