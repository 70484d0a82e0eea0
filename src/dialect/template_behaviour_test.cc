// SPDX-License-Identifier: Apache-2.0
// The behaviours of chat templates that break engines, one by one. Each template here shows its own
// alone, in a few lines.
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dialect/template_normalise.h"
#include "dialect/template_probe.h"
#include "dialect/test_templates.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;
using Messages = std::vector<ChatMessage>;

const std::string kTurns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}";
const std::string kPrompt = "{% if add_generation_prompt %}<assistant>{% endif %}";
const std::string kTools = "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}";
// The calls of the message `m`.
const std::string kCalls =
    "{% for c in m.tool_calls or [] %}<call>{\"name\": \"{{ c.function.name }}\", \"arguments\": "
    "{{ c.function.arguments | tojson }}}</call>{% endfor %}";
const std::string kCallTurns = kTools + "{% for m in messages %}<{{ m.role }}>{{ m.content }}" +
                               kCalls + "</>{% endfor %}" + kPrompt;

ChatCall look(const std::string& id, const std::string& at) {
  return {.id = id, .name = "look", .arguments = {{"at", at}}};
}
const Json kToolList =
    Json::array({{{"type", "function"},
                  {"function", {{"name", "look"}, {"parameters", {{"type", "object"}}}}}}});

TemplateDialect probed(const std::string& source) {
  auto dialect = probe_template(chat_template(source), kTemplateTime);
  EXPECT_TRUE(dialect) << dialect.error().message;
  return dialect.value_or(TemplateDialect{});
}

// The messages as they are sent, rendered by a template that was probed.
std::string sent(const std::string& source, Messages messages, const Json& tools = {},
                 bool prompt = false) {
  const TemplateDialect dialect = probed(source);
  RenderOptions options;
  options.generation_prompt = prompt;
  options.tools = tools;
  options.now = kTemplateTime;
  options.form = dialect.form;
  const auto text =
      chat_template(source).render(normalise(std::move(messages), dialect, tools), options);
  return text ? *text : "error: " + text.error().message;
}

TEST(TemplateBehaviourTest, B01RolesMustAlternate) {
  const std::string source =
      "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
      "{{ raise_exception('take turns') }}{% endif %}<{{ m.role }}>{{ m.content }}</>{% endfor %}";
  EXPECT_TRUE(probed(source).alternates);
  EXPECT_EQ(sent(source, {user_message("a"), user_message("b"), assistant_message("c"),
                          assistant_message("d"), user_message("e")}),
            "<user>a\n\nb</><assistant>c\n\nd</><user>e</>");
  EXPECT_FALSE(probed(kTurns).alternates);
  EXPECT_EQ(sent(kTurns, {user_message("a"), user_message("b")}), "<user>a</><user>b</>");
}

TEST(TemplateBehaviourTest, B02NoSystemRole) {
  const std::string raises =
      "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + kTurns;
  const std::string drops =
      "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}</>{% endfor %}";
  for (const std::string& source : {raises, drops}) {
    EXPECT_FALSE(probed(source).has_system);
    EXPECT_EQ(sent(source, {system_message("s"), user_message("a"), assistant_message("b")}),
              "<user>s\n\na</><assistant>b</>");
  }
}

TEST(TemplateBehaviourTest, B03SystemOnlyFirst) {
  const std::string source =
      "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
      "{{ raise_exception('only first') }}{% endif %}<{{ m.role }}>{{ m.content }}</>{% endfor %}";
  EXPECT_FALSE(probed(source).later_systems);
  EXPECT_EQ(sent(source,
                 {system_message("s"), user_message("a"), system_message("t"), user_message("b")}),
            "<system>s\n\nt</><user>a</><user>b</>");
  EXPECT_EQ(sent(kTurns,
                 {system_message("s"), user_message("a"), system_message("t"), user_message("b")}),
            "<system>s</><user>a</><system>t</><user>b</>");
}

TEST(TemplateBehaviourTest, B04AUserTurnIsRequired) {
  const std::string source =
      "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 0 %}"
      "{{ raise_exception('no user') }}{% endif %}" +
      kCallTurns;
  const TemplateDialect dialect = probed(source);
  EXPECT_EQ(dialect.call.source, CallForm::Source::printed);
  EXPECT_TRUE(dialect.has_system);
}

TEST(TemplateBehaviourTest, B05AClock) {
  const std::string source = "{{ strftime_now('%Y-%m-%d %H:%M') }}" + kTurns;
  EXPECT_EQ(sent(source, {user_message("a")}), "2026-07-30 12:34<user>a</>");
}

TEST(TemplateBehaviourTest, B06ArgumentsAsAnObject) {
  const std::string raises = kTools +
                             "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
                             "{% for c in m.tool_calls or [] %}<call={{ c.function.name }}>"
                             "{% for k, v in c.function.arguments | items %}<p={{ k }}>{{ v }}</p>"
                             "{% endfor %}</call>{% endfor %}</>{% endfor %}";
  EXPECT_EQ(probed(raises).form.arguments, MessageForm::Arguments::object);
  const std::string text = sent(raises, {user_message("a"), calling_message({look("1", "sky")})});
  EXPECT_TRUE(text.ends_with("<call=look><p=at>sky</p></call></>")) << text;
  // A string would be encoded twice, without an error.
  EXPECT_EQ(probed(kCallTurns).form.arguments, MessageForm::Arguments::object);
  EXPECT_TRUE(sent(kCallTurns, {user_message("a"), calling_message({look("1", "sky")})})
                  .contains("\"arguments\": {\"at\": \"sky\"}}"));
}

TEST(TemplateBehaviourTest, B07ArgumentsAsAString) {
  const std::string source =
      kTools +
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
      "{% for c in m.tool_calls or [] %}{{ '<call>' + c.function.name + '\n' + "
      "c.function.arguments + '</call>' }}{% endfor %}</>{% endfor %}";
  EXPECT_EQ(probed(source).form.arguments, MessageForm::Arguments::text);
  EXPECT_TRUE(sent(source, {user_message("a"), calling_message({look("1", "sky")})})
                  .contains("<call>look\n{\"at\": \"sky\"}</call>"));
}

TEST(TemplateBehaviourTest, B08ContentNullEmptyOrAbsent) {
  const auto with = [](const std::string& head) {
    return kTools + "{% for m in messages %}<{{ m.role }}>" + head + kCalls + "</>{% endfor %}";
  };
  // "" drops the calls; absence is an error.
  const std::string needs_null =
      kTools + "{% for m in messages %}<{{ m.role }}>{% if m.content is none %}" + kCalls +
      "{% else %}{{ m.content + '' }}{% endif %}</>{% endfor %}";
  EXPECT_EQ(probed(needs_null).form.empty, MessageForm::Empty::null);
  // None is printed; "" is a text that makes the template forget the calls.
  const std::string needs_absence = kTools +
                                    "{% for m in messages %}<{{ m.role }}>{% if m.content is "
                                    "defined %}{{ m.content }}{% else %}" +
                                    kCalls + "{% endif %}</>{% endfor %}";
  EXPECT_EQ(probed(needs_absence).form.empty, MessageForm::Empty::absent);
  EXPECT_EQ(probed(with("{{ m.content + '' }}")).form.empty, MessageForm::Empty::text);
  for (const std::string& source : {needs_null, needs_absence}) {
    EXPECT_TRUE(sent(source, {user_message("a"), calling_message({look("1", "sky")})})
                    .ends_with("<assistant><call>{\"name\": \"look\", \"arguments\": {\"at\": "
                               "\"sky\"}}</call></>"));
  }
}

TEST(TemplateBehaviourTest, B09OneCallATurn) {
  const std::string source =
      "{% for m in messages %}<{{ m.role }}>{% if 'tool_calls' in m %}"
      "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call') }}{% endif %}" +
      kCalls + "{% else %}{{ m.content }}{% endif %}</>{% endfor %}";
  EXPECT_FALSE(probed(source).call.several);
  EXPECT_EQ(
      sent(source, {user_message("a"), calling_message({look("1", "x"), look("2", "y")}),
                    tool_message("2", "Y"), tool_message("1", "X"), calling_message({})}),
      "<user>a</><assistant><call>{\"name\": \"look\", \"arguments\": {\"at\": \"x\"}}</call></>"
      "<tool>X</><assistant><call>{\"name\": \"look\", \"arguments\": {\"at\": \"y\"}}</call></>"
      "<tool>Y</><assistant></>");
}

TEST(TemplateBehaviourTest, B10IdsOfNineLetters) {
  const std::string ids =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] %}"
      "{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
      "[CALL]{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ c.function.arguments | tojson "
      "}}, \"id\": \"{{ c.id }}\"}{% endfor %}{{ m.tool_call_id }}</>{% endfor %}";
  EXPECT_EQ(probed(ids).ids, IdForm::nine);
  EXPECT_TRUE(has(probed(ids).call.call, TemplatePiece::Kind::id));
  const std::string text =
      sent(ids, {user_message("a"),
                 calling_message({look("call_4711_of_a_client", "x"), look("abcdefgh1", "y")}),
                 tool_message("call_4711_of_a_client", "X"), tool_message("abcdefgh1", "Y")});
  EXPECT_TRUE(text.contains("\"id\": \"call00000\"}") && text.contains("\"id\": \"abcdefgh1\"}"))
      << text;
  EXPECT_TRUE(text.ends_with("<tool>Xcall00000</><tool>Yabcdefgh1</>")) << text;
}

TEST(TemplateBehaviourTest, B11TheIdCarriesTheName) {
  const std::string source =
      kTools +
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] "
      "%}<call>{{ c.id }}<args>{{ c.function.arguments | tojson }}</call>{% endfor %}"
      "{% if m.tool_call_id %}of {{ m.tool_call_id }}{% endif %}</>{% endfor %}";
  const TemplateDialect dialect = probed(source);
  EXPECT_EQ(dialect.ids, IdForm::functions);
  EXPECT_TRUE(shown(dialect.call.call).contains("<call>functions.‹name›:‹index›<args>"));
  const std::string text = sent(
      source, {user_message("a"), calling_message({look("x", "1")}), tool_message("x", "X"),
               assistant_message("b"), calling_message({look("y", "2")}), tool_message("y", "Y")});
  EXPECT_TRUE(text.contains("<call>functions.look:0<args>")) << text;
  EXPECT_TRUE(text.ends_with("<tool>Yof functions.look:1</>")) << text;
}

TEST(TemplateBehaviourTest, B12ThePromptEndsInsideReasoning) {
  const std::string history =
      "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}"
      "{{ '<think>\n' ~ m.reasoning_content ~ '\n</think>\n' }}{% endif %}{{ m.content }}</>"
      "{% endfor %}{% if add_generation_prompt %}<assistant>";
  for (const std::string end : {"<think>\n", "<think>"}) {
    const TemplateDialect dialect = probed(history + end + "{% endif %}");
    EXPECT_TRUE(dialect.reasoning.prompt_opens) << end;
    EXPECT_FALSE(dialect.reasoning.prompt_closes);
    EXPECT_EQ(dialect.assistant_open, "<assistant>");
    EXPECT_EQ(dialect.prompt, "<assistant>" + end);
    EXPECT_EQ(dialect.reasoning.close, "\n</think>\n");
  }
  // Nothing of it in the history.
  EXPECT_TRUE(probed(kTurns + "{% if add_generation_prompt %}<assistant><think>\n{% endif %}")
                  .reasoning.prompt_opens);
}

TEST(TemplateBehaviourTest, B13AnEmptyBlockInThePromptOnly) {
  const std::string source =
      kTurns +
      "{% if add_generation_prompt %}<assistant>{% if enable_thinking is defined and not "
      "enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}";
  const TemplateDialect dialect = probed(source);
  EXPECT_EQ(dialect.reasoning.off_variable, "enable_thinking");
  EXPECT_EQ(dialect.reasoning.off_prompt, "<assistant><think>\n\n</think>\n\n");
  EXPECT_EQ(dialect.prompt, "<assistant>");
  const TemplateDialect always = probed(
      kTurns + "{% if add_generation_prompt %}<assistant><think>\n\n</think>\n\n{% endif %}");
  EXPECT_TRUE(always.reasoning.prompt_closes);
  EXPECT_FALSE(always.reasoning.prompt_opens);
}

TEST(TemplateBehaviourTest, B14ReasoningOfEarlierTurnsIsDropped) {
  const std::string source =
      "{% for m in messages %}<{{ m.role }}>{% if m.reasoning_content and loop.last %}"
      "{{ '<think>' + m.reasoning_content + '</think>' }}{% endif %}{{ m.content }}</>{% endfor "
      "%}" +
      kPrompt;
  EXPECT_TRUE(probed(source).reasoning.dropped_from_past);
  EXPECT_TRUE(probed("{{ messages | length }}" + kTurns).rewrites_past);
  EXPECT_FALSE(probed(kTurns).rewrites_past);
}

TEST(TemplateBehaviourTest, B15ReasoningHasTwoNamesAndLimits) {
  const TemplateDialect dialect = family_dialect("harmony");
  EXPECT_TRUE(dialect.reasoning.excludes_text);
  ChatMessage both = calling_message({look("1", "sky")});
  both.content = "I look.";
  both.reasoning = "hm";
  const Messages messages = normalise({user_message("a"), both}, dialect);
  EXPECT_TRUE(messages[1].reasoning.empty());
  RenderOptions options;
  options.now = kTemplateTime;
  EXPECT_TRUE(family_template("harmony").render(messages, options));
  // One that demands it.
  const std::string demands =
      "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}<think>"
      "{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}</>{% endfor %}";
  EXPECT_EQ(probed(demands).reasoning.open, "<think>");
  const std::string thinking =
      "{% for m in messages %}<{{ m.role }}>{% if m.thinking %}<T>{{ m.thinking }}</T>{% endif %}"
      "{{ m.content }}</>{% endfor %}";
  EXPECT_EQ(probed(thinking).reasoning.close, "</T>");
}

TEST(TemplateBehaviourTest, B16ToolsComeFromTheSystemMessage) {
  const TemplateDialect dialect = family_dialect("phi4_mini");
  EXPECT_TRUE(dialect.tools.system_message);
  RenderOptions options;
  options.tools = kToolList;
  options.form = dialect.form;
  // Without one of its own there is one for them.
  const auto text = family_template("phi4_mini")
                        .render(normalise({user_message("a")}, dialect, kToolList), options);
  ASSERT_TRUE(text);
  EXPECT_TRUE(text->starts_with("<|system|><|tool|>[{\"type\": \"function\"")) << *text;
}

TEST(TemplateBehaviourTest, B17CallsAreNotPrinted) {
  const TemplateDialect told = family_dialect("phi4_mini");
  const Messages messages =
      normalise({user_message("a"), calling_message({look("1", "x"), look("2", "y")}),
                 tool_message("2", "Y"), tool_message("1", "X")},
                told);
  ASSERT_EQ(messages.size(), 4U);
  EXPECT_EQ(messages[1].content,
            "<|tool_call|>[{\"name\": \"look\", \"arguments\": {\"at\": \"x\"}}, "
            "{\"name\": \"look\", \"arguments\": {\"at\": \"y\"}}]<|/tool_call|>");
  EXPECT_EQ(messages[2].content, "X");
  // Nothing is said of calls: the generic form, and words that say so.
  const std::string text =
      sent(kTurns, {system_message("s"), user_message("a"), calling_message({look("1", "x")})},
           kToolList);
  EXPECT_TRUE(text.starts_with("<system>You can call functions.")) << text;
  EXPECT_TRUE(text.contains("in <tool_response>.\n\ns</>")) << text;
  EXPECT_TRUE(
      text.ends_with("<assistant><tool_call>\n{\"name\": \"look\", \"arguments\": "
                     "{\"at\": \"x\"}}\n</tool_call></>"))
      << text;
}

TEST(TemplateBehaviourTest, B18ToolsInAUserTurn) {
  EXPECT_EQ(family_dialect("llama3").tools.place, ToolsForm::Place::first_user);
  EXPECT_EQ(family_dialect("mistral_list").tools.place, ToolsForm::Place::last_user);
  EXPECT_TRUE(family_dialect("mistral_list").rewrites_past);
}

TEST(TemplateBehaviourTest, B19ResultsInAnotherRolesTurn) {
  EXPECT_TRUE(shown(family_dialect("granite4").result.first).contains("user<|end_of_role|>"));
  EXPECT_TRUE(family_dialect("same_turn").result.same_turn);
  EXPECT_FALSE(family_dialect("granite4").result.same_turn);
}

TEST(TemplateBehaviourTest, B20ResultsMustBeText) {
  const std::string source =
      "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}"
      "{{ m.content }}{% endif %}" +
      kCalls + "</>{% endfor %}";
  EXPECT_TRUE(sent(source, {user_message("a"), calling_message({look("1", "x")}),
                            tool_message("1", "[{\"text\": 1}]")})
                  .ends_with("<tool>[{\"text\": 1}]</>"));
}

TEST(TemplateBehaviourTest, B21AResultThatIsJson) {
  const std::string source =
      "{% for m in messages %}<{{ m.role }}>{% if m.content is mapping %}{{ content }}{% else %}"
      "{{ m.content }}{% endif %}" +
      kCalls + "</>{% endfor %}";
  EXPECT_TRUE(sent(source, {user_message("a"), calling_message({look("1", "x")}),
                            tool_message("1", "{\"t\": 20}")})
                  .ends_with("<tool>{\"t\": 20}</>"));
}

TEST(TemplateBehaviourTest, B22ResultsAreMatchedByPosition) {
  EXPECT_TRUE(probed(kCallTurns).result.by_position);
  EXPECT_TRUE(
      sent(kCallTurns, {user_message("a"), calling_message({look("1", "x"), look("2", "y")}),
                        tool_message("2", "Y"), tool_message("1", "X")})
          .ends_with("<tool>X</><tool>Y</>"));
  EXPECT_FALSE(family_dialect("mistral_list").result.by_position);
}

TEST(TemplateBehaviourTest, B23SeveralTemplatesInOneFile) {
  const TemplateSources sources = {.standard = kTurns, .others = {{"tool_use", kCallTurns}}};
  EXPECT_EQ(probed(chosen_source(sources, false)).call.source, CallForm::Source::generic);
  EXPECT_EQ(probed(chosen_source(sources, true)).call.source, CallForm::Source::printed);
  // One that fails without tools.
  EXPECT_EQ(probed("{% for t in tools %}{{ t | tojson }}{% endfor %}" + kCallTurns).call.source,
            CallForm::Source::printed);
}

TEST(TemplateBehaviourTest, B24JinjaBeyondTheBasics) {
  const std::string source =
      "{% for m in messages[::-1] %}{{ m.content }}{% endfor %}"
      "{% for x in undefined_list %}{{ x }}{% endfor %}{{ {'ü<': [1, {'a': 'b'}]} | "
      "tojson(ensure_ascii=False, indent=1, separators=(',', ':')) }}{% for k, v in "
      "{'a': 1}.items() %}{{ k ~ v }}{% endfor %}";
  const auto text = chat_template(source).render({user_message("a"), user_message("b")}, {});
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, "ba{\n \"ü<\":[\n  1,\n  {\n   \"a\":\"b\"\n  }\n ]\n}a1");
  const auto broken = ChatTemplate::parse("{{ a }}\n{% if %}{% endif %}", "", "");
  ASSERT_FALSE(broken);
  EXPECT_TRUE(broken.error().message.contains("line 2")) << broken.error().message;
}

TEST(TemplateBehaviourTest, B25NamesBesideTheFunctionAndProbesOfSeveralTools) {
  const std::string source =
      kTools +
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% for c in m.tool_calls or [] "
      "%}<call>{\"name\": \"{{ c.name }}\", \"arguments\": {{ c.arguments | tojson }}}"
      "</call>{% endfor %}</>{% endfor %}";
  const TemplateDialect dialect = probed(source);
  EXPECT_TRUE(dialect.form.flat_calls);
  EXPECT_TRUE(sent(source, {user_message("a"), calling_message({look("1", "x")})})
                  .contains("{\"name\": \"look\", \"arguments\": {\"at\": \"x\"}}"));
  EXPECT_EQ(shown(dialect.call.call),
            "<call>{\"name\": \"‹name›\", \"arguments\": ‹arguments›}</call>");
  // A name that the template writes for every tool is no name of a call.
  EXPECT_FALSE(probed(kCallTurns).form.flat_calls);
}

}  // namespace
}  // namespace asynclm
