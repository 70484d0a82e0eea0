// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_normalise.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dialect/test_templates.h"

namespace asynclm {
namespace {

using Messages = std::vector<ChatMessage>;

const ChatCall kLook = {.id = "one", .name = "look"};
const ChatCall kWait = {.id = "two", .name = "wait"};

// "user:a assistant:b[look#id] tool:c@id/look": one word for each message.
std::string shown_messages(const Messages& messages) {
  std::string out;
  for (const ChatMessage& m : messages) {
    out += (out.empty() ? "" : " ") + std::string(to_string(m.role)) + ":" + m.content;
    for (const ChatCall& call : m.calls) out += "[" + call.name + "#" + call.id + "]";
    if (m.role == ChatRole::tool) out += "@" + m.call_id + "/" + m.name;
  }
  return out;
}
std::string normal(const std::string& family, Messages messages) {
  return shown_messages(normalise(std::move(messages), family_dialect(family)));
}

TEST(TemplateNormaliseTest, ResultsFollowTheirCalls) {
  EXPECT_EQ(normal("hermes", {user_message("a"), calling_message({kLook, kWait}),
                              tool_message("two", "2"), tool_message("one", "1")}),
            "user:a assistant:[look#call00000][wait#call00001] tool:1@call00000/look "
            "tool:2@call00001/wait");
  // Without ids: by the name, else in order.
  EXPECT_EQ(normal("hermes", {user_message("a"), calling_message({kLook, kWait}),
                              tool_message("", "2", "wait"), tool_message("", "1")}),
            "user:a assistant:[look#call00000][wait#call00001] tool:1@call00000/look "
            "tool:2@call00001/wait");
}

TEST(TemplateNormaliseTest, CallsMayStillBeOpen) {
  EXPECT_EQ(normal("hermes",
                   {user_message("a"), calling_message({kLook, kWait}), tool_message("two", "2")}),
            "user:a assistant:[look#call00000][wait#call00001] tool:2@call00001/wait");
  EXPECT_EQ(normal("llama3",
                   {user_message("a"), calling_message({kLook, kWait}), tool_message("two", "2")}),
            "user:a assistant:[look#call00000] assistant:[wait#call00001] tool:2@call00001/wait");
}

TEST(TemplateNormaliseTest, LateResults) {
  const Messages late = {user_message("a"), calling_message({kLook, kWait}),
                         tool_message("one", "1"), assistant_message("so far"),
                         tool_message("two", "2")};
  EXPECT_EQ(normal("hermes", late),
            "user:a assistant:[look#call00000][wait#call00001] tool:1@call00000/look "
            "assistant:so far tool:2@call00001/");
  TemplateDialect strict = family_dialect("hermes");
  strict.tool_after_text = false;
  EXPECT_EQ(shown_messages(normalise(late, strict)),
            "user:a assistant:[look#call00000][wait#call00001] tool:1@call00000/look "
            "tool:2@call00001/wait assistant:so far");
}

TEST(TemplateNormaliseTest, AResultOfNoCallStays) {
  EXPECT_EQ(normal("hermes", {user_message("a"), tool_message("zero", "0")}),
            "user:a tool:0@zero/");
}

TEST(TemplateNormaliseTest, DevelopersSpeakAsSystems) {
  EXPECT_EQ(normal("qwen35", {{.role = ChatRole::developer, .content = "d"}, user_message("a")}),
            "system:d user:a");
  EXPECT_EQ(normal("harmony", {{.role = ChatRole::developer, .content = "d"}, user_message("a")}),
            "developer:d user:a");
}

TEST(TemplateNormaliseTest, NoUserYet) {
  EXPECT_EQ(normal("gemma2", {{.role = ChatRole::system, .content = "s"}}), "user:s");
}

TEST(TemplateNormaliseTest, ResultsAsTextShareATurn) {
  EXPECT_EQ(
      normal("gemma3", {user_message("a"), calling_message({kLook, kWait}),
                        tool_message("one", "1"), tool_message("two", "2"), user_message("b")}),
      "user:a assistant:<tool_call>\n{\"name\": \"look\", \"arguments\": {}}\n</tool_call>\n"
      "<tool_call>\n{\"name\": \"wait\", \"arguments\": {}}\n</tool_call> "
      "user:<tool_response>\n1\n</tool_response>\n<tool_response>\n2\n</tool_response>\n\nb");
}

}  // namespace
}  // namespace asynclm
