// SPDX-License-Identifier: Apache-2.0
// A conversation as the world sends it, and as a template wants it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace asynclm {

enum class ChatRole : std::uint8_t { system, developer, user, assistant, tool };
[[nodiscard]] std::string_view to_string(ChatRole role);

struct ChatCall {
  std::string id;
  std::string name;
  nlohmann::ordered_json arguments = nlohmann::ordered_json::object();  // an object
};

struct ChatMessage {
  ChatRole role = ChatRole::user;
  std::string content = {};
  std::string reasoning = {};        // assistant
  std::vector<ChatCall> calls = {};  // assistant
  std::string call_id = {};          // tool: the call that this is the result of
  std::string name = {};             // tool: the name of the tool
  bool failed = false;               // tool: the content is an error's message
};

// What templates disagree about: how one message is handed to them.
struct MessageForm {
  enum class Arguments : std::uint8_t { object, text };
  enum class Empty : std::uint8_t { text, absent, null };  // the content of a message without any
  enum class Tools : std::uint8_t { variable, system_message, none };

  Arguments arguments = Arguments::object;
  Empty empty = Empty::text;
  Tools tools = Tools::variable;
  std::string tools_variable = "tools";
  bool flat_calls = false;  // name and arguments beside `function`, not in it alone
};

// In the form that chat templates read. `tools`: where the form says so, they go with the first
// system message.
[[nodiscard]] nlohmann::ordered_json template_messages(const std::vector<ChatMessage>& messages,
                                                       const MessageForm& form,
                                                       const nlohmann::ordered_json& tools = {});

}  // namespace asynclm
