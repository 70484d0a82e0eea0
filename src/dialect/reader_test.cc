// SPDX-License-Identifier: Apache-2.0
#include "dialect/reader.h"

#include <algorithm>
#include <format>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/test_sanitized.h"
#include "cml/schema.h"
#include "dialect/reader_value.h"

namespace asynclm::dialect {
namespace {

using Template = ReaderOptions::Template;

class ReaderTest : public testing::Test {
 protected:
  ReaderTest() {
    add("lamp", R"({"room": {"type": "string"}, "level": {"type": "integer"}})", R"(["room"])");
    add("ping", "{}", "[]");
    add("save", R"({"path": {"type": "string"}, "body": {"type": "string"}})",
        R"(["path", "body"])");
    add("mix", R"({"parts": {"type": "array", "items": {"type": "string"}},
                   "ratio": {"type": "number"}, "hot": {"type": "boolean"}, "any": {},
                   "slot": {"type": ["integer", "null"]},
                   "kind": {"enum": ["sweet", "sour"]}, "grams": {"type": "integer"}})",
        "[]");
    add("ns.tool/do-it", R"({"x": {"type": "string"}})", "[]");
  }

  void add(std::string name, const std::string& properties, const std::string& required) {
    ToolSpec spec;
    spec.name = std::move(name);
    spec.parameters = Json{{"type", "object"},
                           {"properties", Json::parse(properties)},
                           {"required", Json::parse(required)}};
    validators_.push_back(*ArgumentValidator::compile(spec));
    tools_.push_back(std::move(spec));
  }

  CallReader reader() {
    return CallReader(
        tools_,
        [this](std::size_t tool, const Json& arguments) {
          return validators_[tool].check({}, arguments).has_value();
        },
        options_);
  }

  // Calls in order as "name {…}" lines, then "| text" without space around it.
  struct Reading {
    std::vector<std::pair<std::size_t, std::string>> calls;
    std::string text, reasoning;
    [[nodiscard]] std::string shown() const {
      std::string out;
      for (const auto& [at, call] : calls) out += call + "\n";
      const std::size_t begin = text.find_first_not_of(" \n\t\r");
      if (begin == std::string::npos) return out;
      return out + "| " + text.substr(begin, text.find_last_not_of(" \n\t\r") - begin + 1);
    }
    bool operator==(const Reading&) const = default;
  };

  static void take(CallReader& reader, Reading& out) {
    for (const ReaderEvent& event : reader.take()) {
      if (const auto* text = std::get_if<TextRead>(&event)) out.text += text->bytes;
      if (const auto* text = std::get_if<ReasoningRead>(&event)) out.reasoning += text->bytes;
      if (const auto* call = std::get_if<CallRead>(&event))
        out.calls.emplace_back(call->begin, call->name + " " + call->arguments_text);
    }
    std::ranges::stable_sort(out.calls, {}, &std::pair<std::size_t, std::string>::first);
  }

  Reading reading(std::string_view answer, Random* cuts = nullptr) {
    CallReader reader = this->reader();
    Reading out;
    while (!answer.empty()) {
      const std::size_t most =
          cuts == nullptr ? answer.size() : std::min<std::size_t>(9, answer.size());
      const std::size_t size = cuts == nullptr ? most : 1 + cuts->below(most);
      reader.feed(answer.substr(0, size));
      take(reader, out);
      answer.remove_prefix(size);
    }
    reader.finish(ending_);
    take(reader, out);
    return out;
  }

  // Read whole and, checked to be the same, cut anywhere.
  std::string read(std::string_view answer) {
    const Reading whole = reading(answer);
    for (int i = 0; i < 3; ++i) {
      Random cuts(static_cast<std::uint64_t>(i) + 1);
      EXPECT_EQ(whole, reading(answer, &cuts)) << answer;
    }
    return whole.shown();
  }

  // The bytes of the answer that were fed when its first call was reported; 0: at its end.
  std::size_t reported_after(std::string_view answer) {
    CallReader reader = this->reader();
    for (std::size_t i = 0; i < answer.size(); ++i) {
      reader.feed(answer.substr(i, 1));
      for (const ReaderEvent& event : reader.take()) {
        if (std::holds_alternative<CallRead>(event)) return i + 1;
      }
    }
    return 0;
  }

  std::vector<ToolSpec> tools_;
  std::vector<ArgumentValidator> validators_;
  ReaderOptions options_;
  Ending ending_ = Ending::unknown;
};

std::string tagged(std::string_view json) {
  return std::format("<tool_call>\n{}\n</tool_call>", json);
}
std::string lamp(std::string_view room) {
  return std::format(R"({{"name": "lamp", "arguments": {{"room": "{}"}}}})", room);
}
const std::string kPing = R"({"name": "ping", "arguments": {}})";

// --- The rules, in their order
// -----------------------------------------------------------------------

TEST_F(ReaderTest, Names) {
  EXPECT_EQ(read(tagged(R"({"name": "functions.ping", "arguments": {}})")), "ping {}\n");
  EXPECT_EQ(read(tagged(R"({"name": "ns.tool/do-it", "arguments": {"x": "1"}})")),
            "ns.tool/do-it {\"x\":\"1\"}\n");
  EXPECT_EQ(read("<tool_call>\n<function=ns.tool/do-it>\n</function>\n</tool_call>"),
            "ns.tool/do-it {}\n");
  EXPECT_EQ(read("<|tool_call_start|>[ns.tool/do-it(x='1')]<|tool_call_end|>"),
            "ns.tool/do-it {\"x\":\"1\"}\n");
  for (const char* other : {"Ping", "pingping", "pin", "api.ping", "functions.functions.ping"}) {
    const std::string block = tagged(std::format(R"({{"name": "{}", "arguments": {{}}}})", other));
    EXPECT_EQ(read(block), "| " + block);
  }
}

TEST_F(ReaderTest, NamesOfKimiAndHarmony) {
  const auto kimi = [&](std::string_view id) {
    return read(
        std::format("<|tool_calls_section_begin|><|tool_call_begin|>{}"
                    "<|tool_call_argument_begin|>{{}}<|tool_call_end|>"
                    "<|tool_calls_section_end|>",
                    id));
  };
  for (const char* id :
       {"functions.ping:0", "functions_ping_12", "functionsping3", "ping:4", "ping"})
    EXPECT_EQ(kimi(id), "ping {}\n") << id;
  add("ping1", "{}", "[]");
  EXPECT_EQ(kimi("functions.ping1:0"), "ping1 {}\n");
  EXPECT_EQ(kimi("ping1"), "ping1 {}\n");               // declared
  EXPECT_EQ(kimi("functionsping1").substr(0, 1), "|");  // two readings
  options_.own = Template::recipients;
  EXPECT_EQ(read("<|channel|>commentary to=functions.pingjson<|message|>{}<|call|>"), "ping {}\n");
  add("pingjson", "{}", "[]");
  EXPECT_EQ(read("<|channel|>commentary to=functions.pingjson<|message|>{}<|call|>"),
            "pingjson {}\n");
}

TEST_F(ReaderTest, Arguments) {
  EXPECT_EQ(read(tagged(R"({"parameters": {"room": "hall"}, "tool_name": "lamp"})")),
            "lamp {\"room\":\"hall\"}\n");
  EXPECT_EQ(read(tagged(R"({"name": "lamp", "arguments": "{\"room\": \"hall\"}"})")),
            "lamp {\"room\":\"hall\"}\n");
  EXPECT_EQ(read(tagged(R"({"name": "ping"})")), "ping {}\n");
  EXPECT_EQ(read(tagged(R"({"name": "ping", "arguments": null})")), "ping {}\n");
  for (const char* refused : {
           R"({"name": "lamp"})",
           R"({"name": "lamp", "arguments": {"room": 3}})",
           R"({"name": "lamp", "arguments": {"room": "hall", "colour": "red"}})",
           R"({"name": "lamp", "arguments": {"room": "a"}, "parameters": {"room": "b"}})",
           R"({"name": "lamp", "arguments": "{\"room\": \"a\"}{\"room\": \"b\"}"})",
           R"({"name": "lamp", "arguments": "\"{\\\"room\\\": 1}\""})",
           R"({"name": "lamp", "arguments": ["hall"]})",
           R"({"name": "ping", "room": "hall"})",
           R"({"name": "mix", "arguments": {"kind": "bitter"}})",
       }) {
    EXPECT_EQ(read(tagged(refused)), "| " + tagged(refused));
  }
}

TEST_F(ReaderTest, DigitsStay) {
  EXPECT_EQ(read(tagged(R"({"name": "mix", "arguments": {"grams": 123456789012345678901,
                                                           "ratio": 0.10}})")),
            "mix {\"grams\":123456789012345678901,\"ratio\":0.10}\n");
  EXPECT_EQ(read(tagged(R"({"name": "mix", "arguments": {"grams": 3.0}})")), "mix {\"grams\":3}\n");
}

std::string parameters(std::string_view name, std::string_view inside) {
  return std::format("<tool_call>\n<function={}>\n{}</function>\n</tool_call>", name, inside);
}
std::string parameter(std::string_view name, std::string_view value) {
  return std::format("<parameter={}>\n{}\n</parameter>\n", name, value);
}

TEST_F(ReaderTest, TypedValues) {
  EXPECT_EQ(read(parameters("save", parameter("path", "007") + parameter("body", " {\"a\": 1}\n"))),
            "save {\"path\":\"007\",\"body\":\" {\\\"a\\\": 1}\\n\"}\n");
  EXPECT_EQ(read(parameters("mix", parameter("parts", "['a', \"b\"]") + parameter("ratio", "1.50") +
                                       parameter("hot", "True") + parameter("slot", "None") +
                                       parameter("grams", "230.0") + parameter("kind", "sour"))),
            "mix {\"parts\":[\"a\",\"b\"],\"ratio\":1.50,\"hot\":true,\"slot\":null,\"grams\":230,"
            "\"kind\":\"sour\"}\n");
  // Without a declared type: what reads as JSON, else the text.
  EXPECT_EQ(read(parameters("mix", parameter("any", "[1]"))), "mix {\"any\":[1]}\n");
  EXPECT_EQ(read(parameters("mix", parameter("any", "one"))), "mix {\"any\":\"one\"}\n");
  for (const char* value : {"two", "2.5", "\"2\"", ""}) {
    const std::string block = parameters("mix", parameter("grams", value));
    EXPECT_EQ(read(block).substr(0, 1), "|") << value;
  }
  EXPECT_EQ(read("<tool_call>lamp\n<arg_key>room</arg_key>\n<arg_value>true</arg_value>\n"
                 "<arg_key>level</arg_key>\n<arg_value>2</arg_value>\n</tool_call>"),
            "lamp {\"room\":\"true\",\"level\":2}\n");
}

TEST_F(ReaderTest, MarkedCallsStandAnywhere) {
  EXPECT_EQ(read("On.\n" + tagged(lamp("hall")) + "\nWait."),
            "lamp {\"room\":\"hall\"}\n| On.\n\nWait.");
  EXPECT_EQ(read("Yes. " + tagged(kPing) + tagged(kPing)), "ping {}\nping {}\n| Yes.");
  // A bad one does not cost its neighbour.
  EXPECT_EQ(read("<TOOLCALL>[{\"name\": \"open\", \"arguments\": {}}, " + kPing + "]</TOOLCALL>"),
            "ping {}\n");
  EXPECT_EQ(
      read("<tool_call>{\"name\": \"lamp\", \"arguments\": {\"room\": \"a\"b\"}}</tool_call>\n" +
           tagged(kPing)),
      "ping {}\n| <tool_call>{\"name\": \"lamp\", \"arguments\": {\"room\": \"a\"b\"}}");
  EXPECT_EQ(read("So:\n```tool_code\n# first\nprint(lamp(room='a'))\nping(); ping()\n```\nGood."),
            "lamp {\"room\":\"a\"}\nping {}\nping {}\n| So:\n\nGood.");
}

TEST_F(ReaderTest, MissingMarks) {
  EXPECT_EQ(read("<tool_call>" + kPing), "ping {}\n");
  EXPECT_EQ(read("<tool_call>" + kPing + "\n<tool_call>\n" + lamp("a") + "\n<tool_call>"),
            "ping {}\nlamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("<tool_call>\n<tool_call>\n" + kPing + "\n</tool_call>\n</tool_call>"),
            "ping {}\n");
  EXPECT_EQ(read("Now.\n" + kPing + "\n</tool_call>\nBye."), "ping {}\n| Now.\n\nBye.");
  EXPECT_EQ(read("Now.\n<function=lamp>\n" + parameter("room", "a") + "</function>"),
            "lamp {\"room\":\"a\"}\n| Now.");
  EXPECT_EQ(read("ping[ARGS]{}"), "ping {}\n");
  EXPECT_EQ(read("Wait.ping[ARGS]{}"), "ping {}\n| Wait.");
  EXPECT_EQ(read("I could write ping[ARGS]{} here."), "| I could write ping[ARGS]{} here.");
  EXPECT_EQ(read("<|tool_calls_section_begin|>functions.ping:2<|tool_call_argument_begin|>{}"
                 "<|tool_call_end|>"),
            "ping {}\n");
  EXPECT_EQ(read("lamp\n<arg_key>room</arg_key>\n<arg_value>a</arg_value>\n</tool_call>"),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("<invoke name=\"lamp\"><parameter name=\"room\">a</parameter></invoke>"),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("call:lamp{room:<escape>a<escape>}<end_function_call>"),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("Noon.\n<tool_call>\n</tool_call>\n<|im_end|>"), "| Noon.");
  EXPECT_EQ(read("<tool_call>[]</tool_call>"), "");
  EXPECT_EQ(read("<tool_call>" + kPing + "</tool_ca"), "ping {}\n");
  EXPECT_EQ(read("Noon.</tool_ca"), "| Noon.");
  EXPECT_EQ(read("1 < 2, </b"), "| 1 < 2, </b");
}

TEST_F(ReaderTest, UnmarkedCallsAreAllOfTheAnswer) {
  EXPECT_EQ(read(kPing), "ping {}\n");
  EXPECT_EQ(read("[" + kPing + ", " + lamp("a") + "]<|im_end|>"),
            "ping {}\nlamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("```json\n" + kPing + "\n```\n\n```\n" + kPing + "\n```"), "ping {}\nping {}\n");
  EXPECT_EQ(read("```xml\n" + parameters("lamp", parameter("room", "a")) + "\n```"),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("lamp(room='a')\nping()"), "lamp {\"room\":\"a\"}\nping {}\n");
  EXPECT_EQ(read("[lamp(room='a'), ping()]"), "lamp {\"room\":\"a\"}\nping {}\n");
  EXPECT_EQ(read("[Calling tool: lamp({\"room\": \"a\"})]"), "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("<think>Hm.</think>\n" + kPing), "ping {}\n");
  EXPECT_EQ(read("{{\"name\": \"lamp\", \"arguments\": {{\"room\": \"a\"}}}}"),
            "lamp {\"room\":\"a\"}\n");
  for (const std::string& text : {
           kPing + "\n{\"name\": \"open\", \"arguments\": {}}",
           kPing + " asks for a ping.",
           "```json\n" + kPing + "\n```\nThat is it.",
           "Such as:\n```json\n" + kPing + "\n```",
           "```json\n" + kPing + "\n{\"a\": 1}\n```",
           std::string("```python\nping()\n```"),
           std::string("[lamp(room='a'), open()]"),
           std::string("ping() answers at once."),
           std::string(R"({"name": "ping", "arguments": {}, "result": 1})"),
           std::string(R"({"name": "ping"})"),
           std::string(R"({"type": "function", "function": {"name": "ping", "arguments": {}}})"),
           std::string(R"({"name": "lamp", "parameters": {"type": "object", "properties": {}}})"),
       }) {
    EXPECT_EQ(read(text), "| " + text);
  }
  ending_ = Ending::limit;
  EXPECT_EQ(read(kPing), "| " + kPing);
}

TEST_F(ReaderTest, LeadIn) {
  EXPECT_EQ(read("On it.\n" + kPing + "\n" + kPing), "ping {}\nping {}\n| On it.");
  EXPECT_EQ(read("It runs\n```sh\nls\n```\nas told:\n[" + kPing + "]"),
            "ping {}\n| It runs\n```sh\nls\n```\nas told:");
  for (const std::string& text : {
           "Like " + kPing + " here.\n" + kPing,
           "Soft:\n" + kPing + "\nHard:\n" + lamp("a"),
           "Soon:\n" + kPing + "\nDone.",
           "Now: " + kPing,
           std::string("Now:\nping()"),
           "Now:\n```json\n" + kPing + "\n```",
       }) {
    EXPECT_EQ(read(text), "| " + text);
  }
}

TEST_F(ReaderTest, TemplatesWithoutMark) {
  const std::string answer = kPing + "\n\nShall I go on?";
  EXPECT_EQ(read(answer), "| " + answer);
  options_.own = Template::no_mark;
  EXPECT_EQ(read(answer), "ping {}\n| Shall I go on?");
  EXPECT_EQ(read(kPing + "; " + lamp("a")), "ping {}\nlamp {\"room\":\"a\"}\n");
  const std::string half = kPing + "; {\"name\": \"open\", \"parameters\": {}}";
  EXPECT_EQ(read(half), "| " + half);
  EXPECT_EQ(read("<|python_tag|>lamp(room='a'); ping()<|eom_id|>"),
            "lamp {\"room\":\"a\"}\nping {}\n");
  EXPECT_EQ(read("<|python_tag|>open(x={\"name\": \"ping\", \"parameters\": {}}").substr(0, 1),
            "|");
}

TEST_F(ReaderTest, TemplatesWithRecipients) {
  options_.own = Template::recipients;
  EXPECT_EQ(read("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary "
                 "to=functions.lamp <|constrain|>json<|message|>{\"room\": \"<|call|>\"}<|call|>"),
            "lamp {\"room\":\"<|call|>\"}\n");
  EXPECT_EQ(read(" to=functions.ping<|channel|>analysis code<|message|>{}<|call|>"), "ping {}\n");
  EXPECT_EQ(read("<|channel|>commentary to=functions.ping<|message|>{}<|call|><|start|>assistant"
                 "<|channel|>final<|message|>Done.<|return|>"),
            "ping {}\n| Done.");
  EXPECT_EQ(read("<|channel|>commentary to=functions.lamp<|message|>{\"room\": \"a\"<|call|>"),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("<|channel|>commentary to=functions.lamp<|message|>{\"room\": \"a\""), "");
  EXPECT_EQ(read("<|channel|>final<|message|>" + kPing + "<|return|>"), "| " + kPing);
  EXPECT_EQ(read(kPing), "| " + kPing);
  EXPECT_EQ(read("<|channel|>analysis to=python code<|message|>1+1<|call|>"), "");
}

TEST_F(ReaderTest, Reasoning) {
  options_.reasoning_open = true;
  EXPECT_EQ(read("Hm.\n" + tagged(kPing)), "ping {}\n");
  EXPECT_EQ(read("Hm.\n" + tagged(kPing) + "\n" + tagged(lamp("a")) + "\n</think>\n<|im_end|>"),
            "ping {}\nlamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("Hm.\n" + tagged(kPing) + "\n</think>\nNo."), "| No.");
  EXPECT_EQ(read("Hm.\n" + tagged(kPing) + "\nOr not.\n" + tagged(lamp("a"))),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("Hm.\n" + tagged(kPing) + "\n</think>\n" + tagged(lamp("a"))),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("Hm.\n" + kPing), "");
  EXPECT_EQ(read("It ends with `</think>`.\n```\nopen\n</think>\nHi."), "| Hi.");
  EXPECT_EQ(read("One <tool_call> and\n</think>\n" + tagged(kPing)), "ping {}\n");
  // What is rehearsed stays in the reasoning.
  EXPECT_EQ(reading("A\n" + tagged(kPing) + "\nB</think>C").reasoning,
            "A\n" + tagged(kPing) + "\nB");
  ending_ = Ending::limit;
  EXPECT_EQ(read("Hm.\n" + tagged(kPing)), "");
}

TEST_F(ReaderTest, Quotations) {
  const std::string block = "<tool_call>" + kPing + "</tool_call>";
  for (const std::string& text : {
           "Write `" + block + "` so.",
           "Write ``" + block + "`` so.",
           "`" + tagged(kPing) + "`, of three lines.",
           "He said:\n> <tool_call>\n> " + kPing + "\n> </tool_call>",
           "Thus:\n\n~~~\n" + tagged(kPing) + "\n~~~",
           "Thus:\n\n```\n" + tagged(kPing) + "\n\nis not closed",
           "The form " + block + " is one.",
           "**" + block + "**",
           "1. ```xml\n" + tagged(kPing) + "\n```\n2. Else nothing.",
           "Such as: ```\n" + tagged(kPing) + "\n```",
           std::string("The token <|channel|> names a channel, [THINK] and <think> open thoughts."),
           std::string("The mark <tool_call> opens it and </tool_call> closes it."),
           std::string("[TOOL_CALLS] stands first, <|im_end|> last."),
           std::string("Use functools[0] or <function=ping> for it."),
           std::string(R"({"note": "<tool_call>ping</tool_call>"})"),
       }) {
    EXPECT_EQ(read(text), "| " + text);
    EXPECT_EQ(read(text + "\n\n" + tagged(kPing)).substr(0, 8),
              text.contains("not closed") ? "| Thus:\n" : "ping {}\n")
        << text;
  }
  EXPECT_EQ(read("One ` more.\n" + block), "ping {}\n| One ` more.");
}

TEST_F(ReaderTest, Repairs) {
  const std::string object = lamp("a");
  for (const std::size_t missing : {1, 2})
    EXPECT_EQ(read(tagged(object.substr(0, object.size() - missing))), "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read(object.substr(0, object.size() - 1) + "<|im_end|>"), "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("<tool_call>" + object.substr(0, object.size() - 1)).substr(0, 1), "|");
  EXPECT_EQ(read(tagged(object + "}")), "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read(tagged("{'name': 'mix', 'arguments': {'hot': False, 'any': None}}")),
            "mix {\"hot\":false,\"any\":null}\n");
  EXPECT_EQ(read("<|tool_call_start|>[mix(hot=true any=null)]<|tool_call_end|>"),
            "mix {\"hot\":true,\"any\":null}\n");
  EXPECT_EQ(read("[TOOL_CALLS] [" + object + "\n" + kPing + "]"),
            "lamp {\"room\":\"a\"}\nping {}\n");
  EXPECT_EQ(read(parameters("save", "<parameter=path>\na\n<parameter=body>\nb\n")),
            "save {\"path\":\"a\",\"body\":\"b\"}\n");
  EXPECT_EQ(read(parameters("lamp",
                            "<parameter=room>\n<parameter=room>\na\n</parameter>\n"
                            "</parameter>\n")),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("<tool_call>lamproom</arg_key><arg_value>a</arg_value></tool_call>"),
            "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(read("<tool_call>lamp<arg_key>room</arg_key>a</arg_value></tool_call>"),
            "lamp {\"room\":\"a\"}\n");
}

TEST_F(ReaderTest, Refusals) {
  // JSON's white space is four characters.
  EXPECT_EQ(read("<tool_call>\n{\"name\":\"ping\"}</tool_call>"), "ping {}\n");
  EXPECT_EQ(read("<tool_call>\v{\"name\":\"ping\"}</tool_call>"),
            "| <tool_call>\v{\"name\":\"ping\"}");
  for (const std::string& text : {
           tagged(R"({"name": "lamp", "arguments": {"room": "the "big" one"}})"),
           tagged(R"({"name": "lamp", "name": "ping", "arguments": {}})"),
           tagged(R"({"name": "lamp", "arguments": {"room": "a", "room": "b"}})"),
           std::string("<|tool_call_start|>[lamp('a')]<|tool_call_end|>"),
           std::string("<|tool_call_start|>[lamp(room='a' + 'b')]<|tool_call_end|>"),
           std::string("<|tool_call_start|>[lamp(room=x)]<|tool_call_end|>"),
           std::string("<|tool_call>call:lamp{room:<|\"|>hal"),
           std::string("<tool_call>\n<function=lamp>\n<parameter=room>\nhal"),
           std::string("<tool_call>\n<function=lamp>\n<parameter=room>\na\n</parameter>\n"),
           parameters("lamp", parameter("room", "a") + parameter("room", "b")),
           parameters("lamp", parameter("room", "a") + parameter("colour", "b")),
           std::string("```tool_code\nfor r in rooms:\n  lamp(room=r)\n```"),
           std::string("```tool_code\nx = ping()\n```"),
       }) {
    EXPECT_EQ(read(text).substr(0, 2), "| ") << text;
  }
}

TEST_F(ReaderTest, TagsInValues) {
  const auto saved = [&](std::string_view body) {
    return read(parameters("save", parameter("path", "a") + parameter("body", body)));
  };
  for (const char* body : {
           "ends with </parameter> here",
           "ends with </parameter></function></tool_call> here",
           "one </function> and </tool_call> more",
           "<parameter=x>1</parameter>",
           "<parameter=x>\n1\n</parameter>\n<parameter=y>\n2\n</parameter>\nend",
           "in a line <parameter=path> is data",
           "a\n</parameter>\nb",
           "<div>\n  </div>",
       }) {
    EXPECT_EQ(saved(body), "save " +
                               write_json(*read_value(R"({"path": "a", "body": )" +
                                                      write_json(json_string(body)) + "}")) +
                               "\n");
  }
  EXPECT_EQ(read("<tool_call>save<arg_key>path</arg_key><arg_value>a</arg_value><arg_key>body"
                 "</arg_key><arg_value>x </arg_value> y </tool_call> z</arg_value></tool_call>"),
            "save {\"path\":\"a\",\"body\":\"x </arg_value> y </tool_call> z\"}\n");
  EXPECT_EQ(read(tagged(R"({"name": "lamp", "arguments": {"room": "</tool_call><|im_end|>"}})")),
            "lamp {\"room\":\"</tool_call><|im_end|>\"}\n");
}

// --- Streaming
// ---------------------------------------------------------------------------------------

TEST_F(ReaderTest, ReportedWithTheirLastByte) {
  for (const std::string& answer : {
           tagged(lamp("a")),
           "Yes.\n" + tagged(lamp("a")),
           std::string("<function=lamp>\n<parameter=room>\na\n</parameter>\n</function>"),
           std::string(
               "<tool_call>lamp\n<arg_key>room</arg_key>\n<arg_value>a</arg_value>\n</tool_call>"),
           std::string("<|tool_call>call:lamp{room:<|\"|>a<|\"|>}<tool_call|>"),
           std::string("<|tool_call_start|>[lamp(room='a')]<|tool_call_end|>"),
           std::string("<|tool_call_begin|>functions.ping:0<|tool_call_argument_begin|>{}<|tool_"
                       "call_end|>"),
           std::string("<|channel|>commentary to=functions.ping<|message|>{}<|call|>"),
           std::string(
               "<|START_ACTION|>[{\"tool_name\": \"ping\", \"parameters\": {}}]<|END_ACTION|>"),
           std::string("```tool_code\nping()\n```"),
       }) {
    EXPECT_EQ(reported_after(answer + "\nMore."), answer.size()) << answer;
  }
  // Without a closing mark, with the byte behind it.
  const std::string open = "[TOOL_CALLS]ping[ARGS]{}";
  EXPECT_EQ(reported_after(open + "[TOOL_CALLS]"), open.size() + 12);
  EXPECT_EQ(reported_after(kPing), 0U);
}

TEST_F(ReaderTest, SaysWhereSomethingBegan) {
  CallReader reader = this->reader();
  reader.feed("Yes.\n<tool_call>\n{\"name\": \"lamp\", \"arg");
  std::string text;
  std::size_t began = 0;
  std::size_t named = 0;
  for (const ReaderEvent& event : reader.take()) {
    if (const auto* bytes = std::get_if<TextRead>(&event)) text += bytes->bytes;
    if (const auto* at = std::get_if<CallBegan>(&event)) began = at->offset;
    if (const auto* at = std::get_if<CallNamed>(&event)) {
      named = at->offset;
      EXPECT_EQ(at->tool, 0U);
      EXPECT_EQ(at->mark, "<tool_call>");
      EXPECT_EQ(at->form, CallForm::object);
    }
  }
  EXPECT_EQ(text, "Yes.\n");
  EXPECT_EQ(began, 5U);
  EXPECT_EQ(named, 5U);
}

TEST_F(ReaderTest, TakesBack) {
  CallReader reader = this->reader();
  Reading out;
  reader.feed("<think>Hm.</think>\n```json\n{\"name\": \"lamp\"");
  take(reader, out);
  EXPECT_FALSE(reader.take_back(3));
  EXPECT_TRUE(reader.take_back(19));
  EXPECT_FALSE(reader.take_back(19));
  reader.feed(tagged(lamp("a")));
  take(reader, out);
  EXPECT_EQ(out.shown(), "lamp {\"room\":\"a\"}\n");
  EXPECT_EQ(out.reasoning, "Hm.");
  // Another form of its own, where the answer has just begun.
  CallReader second = this->reader();
  second.feed("{\"tool_name\": \"ping\"");
  EXPECT_TRUE(second.take_back(0));
  second.feed(kPing);
  second.finish();
  Reading again;
  take(second, again);
  EXPECT_EQ(again.shown(), "ping {}\n");
}

TEST_F(ReaderTest, RefusedOnesAreNamed) {
  CallReader reader = this->reader();
  reader.feed(tagged(R"({"name": "open", "arguments": {}})") + tagged(R"({"name": "lamp"})"));
  std::vector<std::pair<std::string, CallRefused::Reason>> refused;
  for (const ReaderEvent& event : reader.take()) {
    if (const auto* one = std::get_if<CallRefused>(&event))
      refused.emplace_back(one->name, one->reason);
  }
  using enum CallRefused::Reason;
  EXPECT_EQ(refused, (std::vector<std::pair<std::string, CallRefused::Reason>>{
                         {"open", unknown_tool}, {"lamp", bad_arguments}}));
}

TEST_F(ReaderTest, StrictTakesTheTemplatesFormOnly) {
  options_.habits = false;
  options_.own_marks = {"<tool_call>"};
  EXPECT_EQ(read(tagged(kPing)), "ping {}\n");
  for (const std::string& text :
       {kPing, "```json\n" + kPing + "\n```", "<TOOLCALL>[" + kPing + "]</TOOLCALL>",
        std::string("ping()"), std::string("```tool_code\nping()\n```"), "Now:\n" + kPing}) {
    EXPECT_EQ(read(text).substr(0, 1), "|") << text;
  }
  options_.reasoning_open = true;
  EXPECT_EQ(read("Hm.\n" + tagged(kPing)), "");
  options_.reasoning_open = false;
  options_.own = Template::no_mark;
  EXPECT_EQ(read(kPing + "\nYes?"), "ping {}\n| Yes?");
}

TEST_F(ReaderTest, NoToolsNoCalls) {
  tools_.clear();
  validators_.clear();
  EXPECT_EQ(read(tagged(kPing)), "| " + tagged(kPing));
  EXPECT_EQ(read(kPing), "| " + kPing);
}

TEST_F(ReaderTest, LongOnesAreGivenUp) {
  options_.max_call_bytes = 100;
  const std::string block = tagged(lamp(std::string(200, 'x')));
  EXPECT_EQ(read(block + "\n" + tagged(kPing)),
            "ping {}\n| <tool_call>\n" + lamp(std::string(200, 'x')));
}

// --- Anything at all
// ---------------------------------------------------------------------------------

TEST_F(ReaderTest, MutatedAnswers) {
  const std::vector<std::string> seeds = {
      "Yes.\n" + tagged(lamp("a")),
      parameters("save", parameter("path", "a") + parameter("body", "</parameter> b")),
      "<tool_call>lamp\n<arg_key>room</arg_key>\n<arg_value>a</arg_value>\n</tool_call>",
      "<|channel|>analysis<|message|>x<|end|><|start|>assistant<|channel|>commentary "
      "to=functions.ping<|message|>{}<|call|>",
      "[TOOL_CALLS]ping[ARGS]{}[TOOL_CALLS] [" + kPing + "]",
      "<think>\n" + tagged(kPing) + "</think>\n`x` ```json\n" + kPing + "\n```",
      "```tool_code\nprint(lamp(room='a', level=2))\n```",
      "<|tool_call>call:mix{parts:[<|\"|>a<|\"|>],ratio:1.5}<tool_call|>",
      "{\"name\": \"lamp\", \"parameters\": {\"room\": \"\\u00e9\"}}; " + kPing,
      "]<]minimax[>[<tool_call>]<]minimax[>[<invoke name=\"lamp\">]<]minimax[>[<room>a]<]minimax[>["
      "</room>]<]minimax[>[</invoke>",
      "<｜tool▁call▁begin｜>function<｜tool▁sep｜>ping\n```json\n{}\n```<｜tool▁call▁end｜>"};
  Random random(7);
  const int rounds = kSanitized ? 300 : 4000;
  for (int i = 0; i < rounds; ++i) {
    std::string text = random.pick(seeds);
    for (int changes = random.between(0, 4); changes > 0; --changes) {
      const std::size_t at = random.below(text.size() + 1);
      const std::size_t length = std::min<std::size_t>(text.size() - at, random.below(12));
      const std::string& other = random.pick(seeds);
      switch (random.below(3)) {
        case 0:
          text.insert(at, 1, static_cast<char>(random.below(256)));
          break;
        case 1:
          text.erase(at, length);
          break;
        default:
          text.insert(at, other.substr(random.below(other.size()), 20));
      }
    }
    options_.own = static_cast<Template>(random.below(4));
    options_.reasoning_open = random.below(4) == 0;
    ending_ = static_cast<Ending>(random.below(3));
    Reading whole = reading(text);
    ASSERT_EQ(whole, reading(text, &random)) << text;
    for (const auto& [at, call] : whole.calls) {
      const std::size_t space = call.find(" {");
      const auto tool = std::ranges::find(tools_, call.substr(0, space), &ToolSpec::name);
      ASSERT_NE(tool, tools_.end()) << call;
      const auto arguments = read_value(call.substr(space + 1));
      ASSERT_TRUE(arguments) << call;
      const auto& validator = validators_[static_cast<std::size_t>(tool - tools_.begin())];
      ASSERT_TRUE(validator.check({}, to_checkable_json(*arguments))) << call;
    }
  }
}

TEST_F(ReaderTest, LinearInWhatRepeats) {
  // Each is a shape of which a reader that starts again at every byte or mark needs quadratic time;
  // the test's time limit is what fails then.
  constexpr std::size_t kBytes = kSanitized ? 20'000 : 300'000;
  for (const char* part :
       {"<tool_call>", "<tool_call>{\"name\":\"", "<tool_call>[\"a\",'", "[[", "{\"a\":\n",
        "<function=lamp>\n<parameter=room>\n", "</function>", "</parameter> x", "` `` ``` ",
        "<tool_call>lamp\n<arg_key>room</arg_key><arg_value>", "ping\n", "<", "lamp(room='",
        "<|channel|>commentary to=functions.ping<|message|>{", "\n>", "```\n", "]<]minimax[>[<"}) {
    std::string text;
    while (text.size() < kBytes) text += part;
    Random cuts(1);
    EXPECT_EQ(reading(text, &cuts), reading(text)) << part;
  }
}

}  // namespace
}  // namespace asynclm::dialect
