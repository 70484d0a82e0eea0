// SPDX-License-Identifier: Apache-2.0
// What is appended is what the template writes there.
#include "dialect/template_increment.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dialect/template_call_probe.h"
#include "dialect/template_normalise.h"
#include "dialect/test_templates.h"

namespace asynclm {
namespace {

const ChatCall kSkyCall = {.id = "abcdefgh1", .name = "look", .arguments = {{"at", "sky"}}};
const ChatCall kPauseCall = {.id = "abcdefgh2", .name = "wait", .arguments = {{"sure", true}}};

class TemplateIncrementTest : public ::testing::TestWithParam<std::string> {
 protected:
  TemplateIncrementTest() {
    options_.now = kTemplateTime;
    options_.form = dialect_.form;
    for (const char* end : {"<|im_end|>", "<|eot_id|>", "</s>", "<end_of_turn>", "<|end_of_text|>",
                            "<|END_OF_TURN_TOKEN|>", "<|end|>", "<|call|>"}) {
      vocabulary_.ends.push_back(vocabulary_.control(end));
    }
  }
  std::string rendered(std::vector<ChatMessage> messages, bool prompt) {
    options_.generation_prompt = prompt;
    const auto text = chat_.render(normalise(std::move(messages), dialect_), options_);
    EXPECT_TRUE(text) << text.error().message;
    return text.value_or("");
  }
  std::string spelled(const std::vector<Span>& spans) { return spelled_spans(vocabulary_, spans); }
  ChatCall named(ChatCall call, std::size_t index) const {
    if (dialect_.ids == IdForm::functions) {
      call.id = "functions." + call.name + ":" + std::to_string(index);
    }
    return call;
  }

  ChatTemplate chat_ = family_template(GetParam());
  TemplateDialect dialect_ = family_dialect(GetParam());
  ControlVocabulary vocabulary_{{"<|im_start|>", "<|im_end|>", "<|eot_id|>", "</s>",
                                 "<end_of_turn>", "<|end_of_text|>", "<|END_OF_TURN_TOKEN|>",
                                 "<|end|>", "<|call|>", "<|start_header_id|>"}};
  ControlSpellings controls_{vocabulary_};
  RenderOptions options_;
};

TEST_P(TemplateIncrementTest, ANewTurn) {
  const ChatMessage user = {.role = ChatRole::user, .content = "a"};
  const ChatMessage answer = {.role = ChatRole::assistant, .content = "answered"};
  const ChatMessage next = {.role = ChatRole::user, .content = "b </s>"};
  options_.generation_prompt = true;
  const auto spans =
      next_turn(chat_, dialect_, vocabulary_, controls_, {next}, options_, TurnState::open);
  ASSERT_TRUE(spans) << spans.error().message;
  const std::string whole = rendered({user, answer, next}, true);
  const std::string expected = whole.substr(whole.find("answered") + 8);
  EXPECT_EQ(spelled(*spans), expected);
  // The model has written the token that ends its turn.
  const auto ended =
      next_turn(chat_, dialect_, vocabulary_, controls_, {next}, options_, TurnState::ended);
  ASSERT_TRUE(ended);
  EXPECT_TRUE(expected.ends_with(spelled(*ended)));
  const std::string end = expected.substr(0, expected.size() - spelled(*ended).size());
  const bool ends = std::ranges::any_of(vocabulary_.ends, [&](Token token) {
    return token != kNoToken && end.ends_with(vocabulary_.spelling(token));
  });
  EXPECT_TRUE(end.empty() || ends) << end;
}

TEST_P(TemplateIncrementTest, ResultsOfCalls) {
  std::vector<ChatMessage> messages = {
      {.role = ChatRole::user, .content = "a"},
      {.role = ChatRole::assistant, .calls = {kSkyCall}},
      {.role = ChatRole::tool, .content = "grey \"sky\" <|im_end|>", .call_id = kSkyCall.id}};
  std::vector<TemplateResult> results = {
      {.call = named(kSkyCall, 0), .index = 0, .content = "grey \"sky\" <|im_end|>"}};
  if (dialect_.call.several) {
    messages[1].calls.push_back(kPauseCall);
    messages.push_back({.role = ChatRole::tool, .content = "waited", .call_id = kPauseCall.id});
    results.push_back({.call = named(kPauseCall, 1), .index = 1, .content = "waited"});
  }
  std::vector<ChatCall> calls;
  for (const TemplateResult& result : results) calls.push_back(result.call);
  const auto spans = result_turn(dialect_, vocabulary_, controls_, results,
                                 ResultPlace::after_calls, TurnState::open);
  const std::string whole = rendered(messages, true);
  const std::string written = written_calls(dialect_.call, calls);
  const auto at = whole.find(written);
  ASSERT_NE(at, std::string::npos) << whole << "\n" << written;
  EXPECT_EQ(spelled(spans), whole.substr(at + written.size()));
  for (const Span& span : spans) {
    const auto* text = std::get_if<TextSpan>(&span);
    if (text == nullptr || !text->bytes.contains("grey")) continue;
    EXPECT_EQ(text->origin, Origin::tool_result);
    EXPECT_TRUE(text->bytes.ends_with("<|im_end|>"));
  }
}

INSTANTIATE_TEST_SUITE_P(All, TemplateIncrementTest,
                         ::testing::Values("hermes", "qwen3", "qwen3_coder", "llama3", "pythonic",
                                           "mistral_list", "mistral_args", "gemma3", "gemma2",
                                           "functiongemma", "smollm2", "smollm3", "granite4",
                                           "phi4_mini", "deepseek", "command_r", "harmony",
                                           "kimi_k2", "glm", "same_turn", "qwen35"),
                         [](const auto& one) { return one.param; });

TEST(TemplateIncrementLateTest, AResultWhileTheAssistantWrites) {
  const TemplateDialect d = family_dialect("hermes");
  const ControlVocabulary vocabulary({"<|im_start|>", "<|im_end|>"});
  const ControlSpellings controls(vocabulary);
  const auto spans = result_turn(d, vocabulary, controls, {{.call = kSkyCall, .content = "grey"}},
                                 ResultPlace::after_text, TurnState::open);
  EXPECT_EQ(spelled_spans(vocabulary, spans),
            "<|im_end|>\n<|im_start|>user\n<tool_response>\ngrey\n</tool_response><|im_end|>\n"
            "<|im_start|>assistant\n");
}

}  // namespace
}  // namespace asynclm
