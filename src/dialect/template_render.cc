// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_render.h"

#include <array>
#include <optional>
#include <string_view>
#include <utility>

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;

Origin origin_of(const ChatMessage& message) {
  switch (message.role) {
    case ChatRole::system:
    case ChatRole::developer:
      return Origin::system;
    case ChatRole::user:
      return Origin::user;
    case ChatRole::assistant:
      return Origin::assistant;
    case ChatRole::tool:
      return message.failed ? Origin::tool_error : Origin::tool_result;
  }
  std::unreachable();
}

// How much is marked. The first that leaves the text as it is without marks is taken.
struct Marking {
  bool assistant;  // the spellings of control tokens in an assistant's text too
  bool ends;       // where contents begin and end
};
constexpr std::array<Marking, 4> kMarkings = {{
    {.assistant = true, .ends = true},
    // A template takes an assistant's text apart (`</think>`).
    {.assistant = false, .ends = true},
    // It looks at the first character of a content.
    {.assistant = true, .ends = false},
    {.assistant = false, .ends = false},
}};

ChatMessage marked(const Marks& marks, const ChatMessage& message, const Marking& marking) {
  const Origin origin = origin_of(message);
  const auto ends = marking.ends ? std::optional(origin) : std::nullopt;
  ChatMessage out = message;
  if (message.role != ChatRole::assistant || marking.assistant) {
    out.content = marks.marked(message.content, ends);
    out.reasoning = marks.marked(message.reasoning, ends);
  }
  out.call_id = marks.marked(message.call_id, std::nullopt);
  out.name = marks.marked(message.name, std::nullopt);
  for (ChatCall& call : out.calls) {
    call.id = marks.marked(call.id, std::nullopt);
    call.name = marks.marked(call.name, std::nullopt);
    call.arguments = marks.marked_json(call.arguments, ends);
  }
  return out;
}

}  // namespace

ChatTemplate::ChatTemplate(JinjaTemplate jinja, std::string bos, std::string eos)
    : jinja_(std::move(jinja)), bos_(std::move(bos)), eos_(std::move(eos)) {}

Result<ChatTemplate> ChatTemplate::parse(const std::string& source, std::string bos,
                                         std::string eos) {
  auto jinja = JinjaTemplate::parse(source);
  if (!jinja) return std::unexpected(jinja.error());
  return ChatTemplate(*std::move(jinja), std::move(bos), std::move(eos));
}

Result<std::string> ChatTemplate::render(const Json& messages, const RenderOptions& options) const {
  Json variables = options.variables.is_object() ? options.variables : Json::object();
  variables["messages"] = messages;
  // Transformers defines both, as None where there are none.
  const bool told = options.form.tools == MessageForm::Tools::variable && !options.tools.empty();
  variables["tools"] = Json();
  if (told) variables[options.form.tools_variable] = options.tools;
  variables["documents"] = Json();
  variables["add_generation_prompt"] = options.generation_prompt;
  variables["bos_token"] = bos_;
  variables["eos_token"] = eos_;
  return jinja_.render(variables, options.now);
}

Result<std::string> ChatTemplate::render(const std::vector<ChatMessage>& messages,
                                         const RenderOptions& options) const {
  return render(template_messages(messages, options.form, options.tools), options);
}

Result<std::vector<Span>> ChatTemplate::render_spans(const ControlSpellings& controls,
                                                     const std::vector<ChatMessage>& messages,
                                                     const RenderOptions& options) const {
  const auto plain = render(messages, options);
  if (!plain) return std::unexpected(plain.error());
  std::string inputs =
      source() + *plain + options.tools.dump(-1, ' ', false, Json::error_handler_t::replace);
  for (const ChatMessage& message : messages) inputs += message.content + message.reasoning;
  inputs += template_messages(messages, options.form)
                .dump(-1, ' ', false, Json::error_handler_t::replace);
  const Marks marks(controls, inputs);
  RenderOptions marked_options = options;
  marked_options.tools = marks.marked_json(options.tools, std::nullopt);
  std::optional<std::string> safe;
  for (const Marking& marking : kMarkings) {
    std::vector<ChatMessage> marked_messages;
    for (const ChatMessage& message : messages) {
      marked_messages.push_back(marked(marks, message, marking));
    }
    auto rendered = render(marked_messages, marked_options);
    if (!rendered) continue;
    if (marks.unmarked(*rendered) == *plain) return marks.spans(*rendered);
    if (marking.assistant && !marking.ends) safe = *std::move(rendered);
  }
  if (safe) return marks.spans(*safe);
  return fail(ErrorCode::unsupported,
              "the chat template fails on a message that spells control tokens");
}

std::string spelled_spans(const Vocabulary& vocabulary, const std::vector<Span>& spans) {
  std::string out;
  for (const Span& span : spans) {
    if (const auto* control = std::get_if<ControlSpan>(&span)) {
      out += vocabulary.spelling(control->token);
    } else {
      out += std::get<TextSpan>(span).bytes;
    }
  }
  return out;
}

}  // namespace asynclm
