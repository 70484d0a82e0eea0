// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_message.h"

#include <utility>

#include "dialect/jinja.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;

Json call_json(const ChatCall& call, const MessageForm& form) {
  const Json arguments = form.arguments == MessageForm::Arguments::object
                             ? call.arguments
                             : Json(json_as_python(call.arguments));
  const Json function = {{"name", call.name}, {"arguments", arguments}};
  Json out = {{"type", "function"}, {"function", function}};
  if (!call.id.empty()) out["id"] = call.id;
  if (form.flat_calls) out.update(function);
  return out;
}

void set_content(const ChatMessage& message, const MessageForm& form, Json& out) {
  if (!message.content.empty() || message.calls.empty() || form.empty == MessageForm::Empty::text) {
    out["content"] = message.content;
  } else if (form.empty == MessageForm::Empty::null) {
    out["content"] = nullptr;
  }
}

}  // namespace

std::string_view to_string(ChatRole role) {
  switch (role) {
    case ChatRole::system:
      return "system";
    case ChatRole::developer:
      return "developer";
    case ChatRole::user:
      return "user";
    case ChatRole::assistant:
      return "assistant";
    case ChatRole::tool:
      return "tool";
  }
  std::unreachable();
}

Json template_messages(const std::vector<ChatMessage>& messages, const MessageForm& form,
                       const Json& tools) {
  Json out = Json::array();
  bool told = form.tools != MessageForm::Tools::system_message || tools.empty();
  for (const ChatMessage& message : messages) {
    Json one = {{"role", to_string(message.role)}};
    set_content(message, form, one);
    if (!message.reasoning.empty()) {
      // Two names are in use; a template reads one of them.
      one["reasoning_content"] = message.reasoning;
      one["thinking"] = message.reasoning;
    }
    // An empty list counts as a list of calls in some templates.
    for (const ChatCall& call : message.calls) one["tool_calls"].push_back(call_json(call, form));
    if (!message.call_id.empty()) one["tool_call_id"] = message.call_id;
    if (!message.name.empty()) one["name"] = message.name;
    if (!told && message.role == ChatRole::system) {
      one["tools"] = json_as_python(tools);
      told = true;
    }
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace asynclm
