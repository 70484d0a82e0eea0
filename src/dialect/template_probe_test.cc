// SPDX-License-Identifier: Apache-2.0
// What is found in each family's template (tests/data/templates).
#include "dialect/template_probe.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dialect/template_call_probe.h"
#include "dialect/test_templates.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;

const ChatCall kLookCall = {
    .id = "abcdefgh1", .name = "look", .arguments = {{"at", "the \"sky\""}, {"days", 3}}};
const ChatCall kWaitCall = {.id = "abcdefgh2", .name = "wait", .arguments = {{"sure", true}}};

std::string written_by(const std::string& family, bool two = false) {
  const TemplateDialect d = family_dialect(family);
  std::vector<ChatCall> all = {kLookCall};
  if (two) all.push_back(kWaitCall);
  return written_calls(d.call, all) + d.call.turn_end;
}
std::string result_of(const std::string& family) {
  const ResultForm r = family_dialect(family).result;
  return shown(r.first) + shown(r.last) + "|" + r.prompt;
}
CallForm::Source source_of(const std::string& family) { return family_dialect(family).call.source; }

TEST(TemplateProbeTest, Hermes) {
  const TemplateDialect d = family_dialect("hermes");
  EXPECT_EQ(d.family, "hermes");
  EXPECT_EQ(d.tools.place, ToolsForm::Place::system);
  EXPECT_EQ(
      written_by("hermes", true),
      "<tool_call>\n{\"name\": \"look\", \"arguments\": {\"at\": \"the \\\"sky\\\"\", \"days\": "
      "3}}\n</tool_call>\n<tool_call>\n{\"name\": \"wait\", \"arguments\": {\"sure\": "
      "true}}\n</tool_call><|im_end|>\n");
  EXPECT_EQ(d.assistant_open, "<|im_start|>assistant\n");
  EXPECT_EQ(d.text_turn_end, "<|im_end|>\n");
  EXPECT_EQ(d.call.after_text, "\n");
  EXPECT_EQ(d.default_system, "You are a helpful assistant.");
  EXPECT_EQ(
      result_of("hermes"),
      "<|im_end|>\n<|im_start|>user\n<tool_response>\n‹content›\n</tool_response><|im_end|>\n|"
      "<|im_start|>assistant\n");
  EXPECT_EQ(shown(d.result.between), "\n</tool_response>\n<tool_response>\n‹content›");
  EXPECT_TRUE(d.result.by_position);
  EXPECT_FALSE(d.result.same_turn);
  EXPECT_TRUE(d.notes.empty()) << d.notes.front();
  EXPECT_TRUE(d.example.contains("{\"city\": \"Oslo\", \"days\": 3}")) << d.example;
}

TEST(TemplateProbeTest, Qwen3) {
  const TemplateDialect d = family_dialect("qwen3");
  EXPECT_EQ(d.family, "hermes");
  EXPECT_EQ(d.call.section_open + shown(d.call.call),
            "<tool_call>\n{\"name\": \"‹name›\", \"arguments\": ‹arguments›}\n</tool_call>");
  EXPECT_EQ(d.call.between, "\n");
  EXPECT_EQ(d.reasoning.open, "<think>\n");
  EXPECT_EQ(d.reasoning.close, "\n</think>\n\n");
  EXPECT_FALSE(d.reasoning.prompt_opens);
  EXPECT_EQ(d.reasoning.off_variable, "enable_thinking");
  EXPECT_EQ(d.reasoning.off_prompt, "<|im_start|>assistant\n<think>\n\n</think>\n\n");
  EXPECT_TRUE(d.reasoning.dropped_from_past);
  EXPECT_TRUE(d.reasoning.kept_with_calls);
}

TEST(TemplateProbeTest, Qwen35) {
  const TemplateDialect d = family_dialect("qwen35");
  EXPECT_EQ(d.assistant_open, "<|im_start|>assistant\n");
  EXPECT_TRUE(d.reasoning.prompt_opens);
  EXPECT_FALSE(d.later_systems);
  EXPECT_EQ(d.reasoning.off_prompt, "<|im_start|>assistant\n<think>\n\n</think>\n\n");
  EXPECT_EQ(shown(d.call.call),
            "<tool_call>\n<function=‹name›>\n‹arguments›</function>\n</tool_call>");
}

TEST(TemplateProbeTest, Qwen3Coder) {
  const TemplateDialect d = family_dialect("qwen3_coder");
  EXPECT_EQ(d.family, "qwen3-coder");
  EXPECT_EQ(written_by("qwen3_coder", true),
            "<tool_call>\n<function=look>\n<parameter=at>\nthe \"sky\"\n</parameter>\n"
            "<parameter=days>\n3\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n"
            "<function=wait>\n<parameter=sure>\nTrue\n</parameter>\n</function>\n</tool_call>"
            "<|im_end|>\n");
  EXPECT_EQ(d.call.arguments.before_key, "<parameter=");
  EXPECT_EQ(d.call.arguments.after_key, ">\n");
  EXPECT_EQ(d.call.arguments.after_value, "\n</parameter>\n");
  EXPECT_EQ(d.form.arguments, MessageForm::Arguments::object);
}

TEST(TemplateProbeTest, Llama) {
  const TemplateDialect d = family_dialect("llama3");
  EXPECT_EQ(d.family, "llama");
  EXPECT_EQ(d.tools.place, ToolsForm::Place::first_user);
  EXPECT_FALSE(d.call.several);
  EXPECT_EQ(written_by("llama3"),
            "{\"name\": \"look\", \"parameters\": {\"at\": \"the \\\"sky\\\"\", \"days\": 3}}"
            "<|eot_id|>");
  EXPECT_TRUE(d.result.json);
  EXPECT_EQ(result_of("llama3"),
            "<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n\"‹content›\"<|eot_id|>|"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

TEST(TemplateProbeTest, LlamaPythonic) {
  const TemplateDialect d = family_dialect("pythonic");
  EXPECT_EQ(d.family, "pythonic");
  EXPECT_EQ(written_by("pythonic", true),
            "[look(at=\"the \"sky\"\", days=3), wait(sure=True)]<|eot_id|>");
  EXPECT_EQ(d.call.arguments.values, ArgumentsForm::Values::python);
  EXPECT_EQ(d.call.arguments.between, ", ");
}

TEST(TemplateProbeTest, MistralList) {
  const TemplateDialect d = family_dialect("mistral_list");
  EXPECT_EQ(d.family, "mistral");
  EXPECT_EQ(d.tools.place, ToolsForm::Place::last_user);
  EXPECT_EQ(d.ids, IdForm::nine);
  EXPECT_TRUE(d.alternates);
  EXPECT_TRUE(d.rewrites_past);
  EXPECT_EQ(written_by("mistral_list", true),
            "[TOOL_CALLS] [{\"name\": \"look\", \"arguments\": {\"at\": \"the \\\"sky\\\"\", "
            "\"days\": 3}, \"id\": \"abcdefgh1\"}, {\"name\": \"wait\", \"arguments\": {\"sure\": "
            "true}, \"id\": \"abcdefgh2\"}]</s>");
  EXPECT_EQ(
      result_of("mistral_list"),
      "</s>[TOOL_RESULTS] {\"content\": \"‹content›\", \"call_id\": \"‹id›\"}[/TOOL_RESULTS]|");
  EXPECT_FALSE(d.result.by_position);
}

TEST(TemplateProbeTest, MistralArgs) {
  const TemplateDialect d = family_dialect("mistral_args");
  EXPECT_EQ(d.family, "mistral");
  EXPECT_EQ(shown(d.call.call), "[TOOL_CALLS]‹name›[ARGS]‹arguments›");
  EXPECT_EQ(d.call.between, "");
  EXPECT_EQ(d.call.turn_end, "</s>");
  EXPECT_EQ(d.ids, IdForm::any);
  EXPECT_EQ(result_of("mistral_args"), "</s>[TOOL_RESULTS]‹content›[/TOOL_RESULTS]|");
}

TEST(TemplateProbeTest, TemplatesWithoutTools) {
  for (const std::string family : {"gemma2", "gemma3", "smollm2"}) {
    const TemplateDialect d = family_dialect(family);
    EXPECT_EQ(d.family, "generic") << family;
    EXPECT_EQ(d.tools.place, ToolsForm::Place::nowhere);
    EXPECT_EQ(source_of(family), CallForm::Source::generic);
  }
  EXPECT_FALSE(family_dialect("gemma2").has_system);
  EXPECT_TRUE(family_dialect("gemma3").has_system);
  EXPECT_TRUE(family_dialect("gemma3").alternates);
  EXPECT_EQ(result_of("gemma3"),
            "<end_of_turn>\n<start_of_turn>user\n<tool_response>\n‹content›\n</tool_response>"
            "<end_of_turn>\n|<start_of_turn>model\n");
  EXPECT_TRUE(family_dialect("smollm2").result.native);
}

TEST(TemplateProbeTest, FunctionGemma) {
  const TemplateDialect d = family_dialect("functiongemma");
  EXPECT_EQ(d.family, "functiongemma");
  EXPECT_EQ(written_by("functiongemma", true),
            "<start_function_call>call:look{at:<escape>the \"sky\"<escape>,days:3}"
            "<end_function_call><start_function_call>call:wait{sure:true}<end_function_call>");
  EXPECT_TRUE(d.call.arguments.sorted);
  EXPECT_TRUE(d.result.same_turn);
  EXPECT_EQ(shown(d.result.first),
            "<start_function_response>response:‹name›{value:<escape>‹content›");
}

TEST(TemplateProbeTest, CallsThatAreToldAndNotPrinted) {
  const TemplateDialect phi = family_dialect("phi4_mini");
  EXPECT_EQ(phi.family, "phi");
  EXPECT_TRUE(phi.tools.system_message);
  EXPECT_EQ(phi.call.source, CallForm::Source::told);
  EXPECT_TRUE(written_by("phi4_mini").starts_with("<|tool_call|>[{\"name\": \"look\""));
  EXPECT_EQ(phi.text_turn_end, "<|end|>");
  EXPECT_EQ(result_of("phi4_mini"), "<|end|><|tool|>‹content›<|end|>|<|assistant|>");
  const TemplateDialect smol = family_dialect("smollm3");
  EXPECT_EQ(smol.call.source, CallForm::Source::told);
  EXPECT_EQ(smol.form.tools_variable, "xml_tools");
  EXPECT_EQ(smol.reasoning.off_variable, "enable_thinking");
}

TEST(TemplateProbeTest, Granite) {
  const TemplateDialect d = family_dialect("granite4");
  EXPECT_EQ(d.call.turn_end, "<|end_of_text|>\n");
  EXPECT_EQ(result_of("granite4"),
            "<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>\n<tool_response>\n‹content›\n"
            "</tool_response><|end_of_text|>\n|<|start_of_role|>assistant<|end_of_role|>");
}

TEST(TemplateProbeTest, DeepSeek) {
  const TemplateDialect d = family_dialect("deepseek");
  EXPECT_EQ(d.family, "deepseek");
  EXPECT_EQ(d.form.arguments, MessageForm::Arguments::text);
  EXPECT_EQ(d.call.section_open, "<｜tool▁calls▁begin｜>");
  EXPECT_EQ(d.call.section_close, "<｜tool▁calls▁end｜>");
  EXPECT_EQ(shown(d.call.call),
            "<｜tool▁call▁begin｜>function<｜tool▁sep｜>‹name›\n```json\n‹arguments›\n"
            "```<｜tool▁call▁end｜>");
  EXPECT_EQ(d.call.between, "\n");
  EXPECT_EQ(d.call.turn_end, "</s>");
  EXPECT_TRUE(d.result.same_turn);
}

TEST(TemplateProbeTest, CommandR) {
  const TemplateDialect d = family_dialect("command_r");
  EXPECT_EQ(d.family, "command-r");
  EXPECT_EQ(written_by("command_r", true),
            "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": \"look\", "
            "\"parameters\": {\"at\": \"the \\\"sky\\\"\", \"days\": 3}},\n    {\"tool_call_id\": "
            "\"1\", \"tool_name\": \"wait\", \"parameters\": {\"sure\": true}}\n]<|END_ACTION|>"
            "<|END_OF_TURN_TOKEN|>");
  EXPECT_TRUE(d.call.counts_on);
  EXPECT_TRUE(has(d.result.first, TemplatePiece::Kind::index));
}

TEST(TemplateProbeTest, Harmony) {
  const TemplateDialect d = family_dialect("harmony");
  EXPECT_EQ(d.family, "harmony");
  EXPECT_EQ(d.assistant_open, "<|start|>assistant");
  EXPECT_EQ(shown(d.call.call),
            " to=functions.‹name›<|channel|>commentary json<|message|>‹arguments›");
  EXPECT_EQ(d.call.turn_end, "<|call|>");
  EXPECT_FALSE(d.call.several);
  EXPECT_TRUE(d.reasoning.excludes_text);
  EXPECT_EQ(d.reasoning.open, "<|channel|>analysis<|message|>");
  EXPECT_EQ(result_of("harmony"),
            "<|call|><|start|>functions.‹name› to=assistant<|channel|>commentary<|message|>"
            "\"‹content›\"<|end|>|<|start|>assistant");
}

TEST(TemplateProbeTest, Kimi) {
  const TemplateDialect d = family_dialect("kimi_k2");
  EXPECT_EQ(d.family, "kimi");
  EXPECT_EQ(d.ids, IdForm::functions);
  EXPECT_EQ(written_by("kimi_k2", true),
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.look:0"
            "<|tool_call_argument_begin|>{\"at\": \"the \\\"sky\\\"\", \"days\": 3}"
            "<|tool_call_end|><|tool_call_begin|>functions.wait:1<|tool_call_argument_begin|>"
            "{\"sure\": true}<|tool_call_end|><|tool_calls_section_end|><|im_end|>");
  EXPECT_TRUE(shown(d.result.first).ends_with("## Return of ‹id›\n‹content›"));
}

TEST(TemplateProbeTest, Glm) {
  const TemplateDialect d = family_dialect("glm");
  EXPECT_EQ(d.family, "glm");
  EXPECT_EQ(written_by("glm"),
            "<tool_call>look\n<arg_key>at</arg_key>\n<arg_value>the \"sky\"</arg_value>\n"
            "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>");
  EXPECT_EQ(d.call.turn_end, "");
  EXPECT_EQ(result_of("glm"),
            "<|observation|>\n<tool_response>\n‹content›\n</tool_response>|<|assistant|>");
}

TEST(TemplateProbeTest, AModelsOwnTurnMayGoOnBehindAResult) {
  const TemplateDialect d = family_dialect("same_turn");
  EXPECT_EQ(d.call.turn_end, "");
  EXPECT_TRUE(d.result.same_turn);
  EXPECT_EQ(result_of("same_turn"), "<|tool_response>response:‹name›{‹content›}<tool_response|>|");
}

TEST(TemplateProbeTest, ADescription) {
  const TemplateDialect d = family_dialect("hermes");
  const Json json = to_json(d);
  EXPECT_EQ(json["call"]["source"], "printed by the template");
  EXPECT_EQ(json["call"]["turn_end"], "<|im_end|>\n");
  const std::string text = to_string(d);
  EXPECT_TRUE(text.contains("hermes") && text.contains("<tool_call>")) << text;
}

TEST(TemplateProbeTest, SeveralTemplatesInOneFile) {
  const TemplateSources sources = {.standard = "a", .others = {{"rag", "b"}, {"tool_use", "c"}}};
  EXPECT_EQ(chosen_source(sources, true), "c");
  EXPECT_EQ(chosen_source(sources, false), "a");
  EXPECT_EQ(chosen_source({.standard = "a"}, true), "a");
}

TEST(TemplateProbeTest, WhatCannotBeRendered) {
  const auto broken = ChatTemplate::parse("{% for m in messages %}", "", "");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().code, ErrorCode::unsupported);
  const auto refused = probe_template(chat_template("{{ raise_exception('never') }}"), {});
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().message.contains("never"));
  // What drops the assistant's words still has a prompt.
  const auto odd = probe_template(
      chat_template("{% for m in messages if m.role == 'user' %}{{ m.content }}:{% endfor %}"), {});
  ASSERT_TRUE(odd);
  EXPECT_FALSE(odd->notes.empty());
}

// Calls with other values come out as the template writes them, too.
TEST(TemplateProbeTest, WhatWasFoundWritesWhatTheTemplateWrites) {
  const ChatCall odd = {
      .id = "abcdefgh1",
      .name = "look",
      .arguments = {{"b", "line\n\"two\" </tool_call>"}, {"a", -1.5}, {"n", 9007199254740993}}};
  for (const std::string family :
       {"hermes", "qwen3", "qwen3_coder", "llama3", "mistral_list", "mistral_args", "functiongemma",
        "granite4", "deepseek", "command_r", "harmony", "glm", "pythonic", "same_turn"}) {
    SCOPED_TRACE(family);
    const TemplateDialect d = family_dialect(family);
    RenderOptions options;
    options.generation_prompt = false;
    options.now = kTemplateTime;
    options.form = d.form;
    std::vector<ChatCall> all = {odd};
    if (d.call.several) all.push_back(kWaitCall);
    const auto text = family_template(family).render(
        {{.role = ChatRole::user, .content = "x"}, {.role = ChatRole::assistant, .calls = all}},
        options);
    ASSERT_TRUE(text) << text.error().message;
    EXPECT_TRUE(text->ends_with(written_calls(d.call, all) + d.call.turn_end))
        << *text << "\n"
        << written_calls(d.call, all) + d.call.turn_end;
  }
}

}  // namespace
}  // namespace asynclm
