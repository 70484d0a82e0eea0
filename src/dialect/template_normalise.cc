// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_normalise.h"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <format>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "dialect/template_call_probe.h"

namespace asynclm {
namespace {

using Messages = std::vector<ChatMessage>;

// The message that made the call, before `at`; by its id, else the first open one of that name.
struct Owner {
  std::size_t message;
  std::size_t call;
};
std::optional<Owner> owner_of(const Messages& messages, std::size_t at,
                              const std::set<std::pair<std::size_t, std::size_t>>& answered) {
  const ChatMessage& result = messages[at];
  for (const bool by_id : {true, false}) {
    if (by_id && result.call_id.empty()) continue;
    for (std::size_t m = at; m-- > 0;) {
      for (std::size_t c = 0; c < messages[m].calls.size(); ++c) {
        const ChatCall& call = messages[m].calls[c];
        if (answered.contains({m, c})) continue;
        const bool fits =
            by_id ? call.id == result.call_id
                  : result.call_id.empty() && (result.name.empty() || result.name == call.name);
        if (fits) return Owner{m, c};
      }
    }
  }
  return std::nullopt;
}

// Each result behind the turn of its call, in the calls' order. Late ones stay where they are if
// the template admits that.
Messages with_results_in_place(const Messages& messages, bool late_stay) {
  struct Placed {
    std::size_t call;
    ChatMessage result;
  };
  std::map<std::size_t, std::vector<Placed>> placed;
  std::set<std::pair<std::size_t, std::size_t>> answered;
  std::set<std::size_t> moved;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].role != ChatRole::tool) continue;
    const auto owner = owner_of(messages, i, answered);
    if (!owner) continue;
    answered.insert({owner->message, owner->call});
    ChatMessage result = messages[i];
    const ChatCall& call = messages[owner->message].calls[owner->call];
    result.call_id = call.id;
    result.name = call.name;
    const bool next_to_it =
        std::ranges::all_of(messages.begin() + static_cast<std::ptrdiff_t>(owner->message) + 1,
                            messages.begin() + static_cast<std::ptrdiff_t>(i),
                            [](const ChatMessage& m) { return m.role == ChatRole::tool; });
    if (!next_to_it && late_stay) continue;
    moved.insert(i);
    placed[owner->message].push_back({owner->call, std::move(result)});
  }
  Messages out;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!moved.contains(i)) out.push_back(messages[i]);
    if (!placed.contains(i)) continue;
    std::ranges::stable_sort(placed[i], {}, &Placed::call);
    for (Placed& one : placed[i]) out.push_back(std::move(one.result));
  }
  return out;
}

bool is_nine(std::string_view id) {
  return id.size() == 9 && std::ranges::all_of(id, [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0;
         });
}

// Ids in the dialect's form, the same in calls and results.
void rename_ids(Messages& messages, IdForm form) {
  std::set<std::string> taken;
  for (const ChatMessage& message : messages) {
    for (const ChatCall& call : message.calls) taken.insert(call.id);
  }
  std::size_t index = 0;
  std::size_t fresh = 0;
  std::map<std::string, std::string> renamed;
  for (ChatMessage& message : messages) {
    for (ChatCall& call : message.calls) {
      std::string id = call.id;
      if (form == IdForm::functions) {
        id = std::format("functions.{}:{}", call.name, index);
      } else if (!is_nine(id)) {
        do {
          id = std::format("call{:05}", fresh++);
        } while (taken.contains(id));
      }
      ++index;
      renamed[call.id] = id;
      call.id = std::move(id);
    }
    if (message.role != ChatRole::tool) continue;
    if (const auto found = renamed.find(message.call_id); found != renamed.end()) {
      message.call_id = found->second;
    }
  }
}

// One call a turn, each followed by its result.
Messages split_calls(Messages messages) {
  Messages out;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    ChatMessage& message = messages[i];
    if (message.calls.size() < 2) {
      out.push_back(std::move(message));
      continue;
    }
    std::vector<ChatCall> calls = std::exchange(message.calls, {});
    std::size_t next = i + 1;
    while (next < messages.size() && messages[next].role == ChatRole::tool) ++next;
    for (std::size_t c = 0; c < calls.size(); ++c) {
      ChatMessage turn = c == 0 ? message : ChatMessage{.role = ChatRole::assistant};
      const std::string id = calls[c].id;
      turn.calls = {std::move(calls[c])};
      out.push_back(std::move(turn));
      for (std::size_t r = i + 1; r < next; ++r) {
        if (messages[r].call_id == id) out.push_back(messages[r]);
      }
    }
    i = next - 1;
  }
  return out;
}

// Calls and results in the generic form, as text of the assistant and the user.
Messages as_text(Messages messages, const TemplateDialect& dialect) {
  Messages out;
  bool after_result = false;
  for (ChatMessage& message : messages) {
    if (message.role == ChatRole::tool && !dialect.result.native) {
      const std::string text = generic_result(message.content);
      if (after_result) {
        out.back().content += "\n" + text;
      } else {
        out.push_back({.role = ChatRole::user, .content = text});
      }
      after_result = true;
      continue;
    }
    after_result = false;
    const std::string calls = written_calls(dialect.call, message.calls);
    if (!calls.empty() && !message.content.empty()) message.content += dialect.call.after_text;
    message.content += calls;
    message.calls.clear();
    out.push_back(std::move(message));
  }
  return out;
}

void prepend(std::string& text, const std::string& front) {
  text = text.empty() ? front : front + "\n\n" + text;
}

// System texts where the template takes them: the first one has all that cannot stand later.
Messages with_systems_in_place(Messages messages, const TemplateDialect& dialect) {
  Messages out;
  std::string text;
  bool begun = false;
  for (ChatMessage& message : messages) {
    if (message.role == ChatRole::developer && !dialect.has_developer) {
      message.role = ChatRole::system;
    }
    const bool moves = message.role == ChatRole::system &&
                       (!begun || !dialect.has_system || !dialect.later_systems);
    if (moves) {
      if (!text.empty()) text += "\n\n";
      text += message.content;
      continue;
    }
    begun = true;
    out.push_back(std::move(message));
  }
  if (text.empty()) return out;
  if (dialect.has_system) {
    out.insert(out.begin(), {.role = ChatRole::system, .content = text});
    return out;
  }
  const auto user = std::ranges::find(out, ChatRole::user, &ChatMessage::role);
  if (user == out.end()) {
    out.insert(out.begin(), {.role = ChatRole::user, .content = text});
  } else {
    prepend(user->content, text);
  }
  return out;
}

Messages merged(Messages messages) {
  Messages out;
  for (ChatMessage& message : messages) {
    ChatMessage* last = out.empty() ? nullptr : &out.back();
    const bool joins = last != nullptr && last->role == message.role &&
                       message.role != ChatRole::tool && last->calls.empty();
    if (!joins) {
      out.push_back(std::move(message));
      continue;
    }
    if (!last->content.empty() && !message.content.empty()) last->content += "\n\n";
    last->content += message.content;
    if (!last->reasoning.empty() && !message.reasoning.empty()) last->reasoning += "\n";
    last->reasoning += message.reasoning;
    last->calls = std::move(message.calls);
  }
  return out;
}

}  // namespace

Messages normalise(Messages messages, const TemplateDialect& dialect,
                   const nlohmann::ordered_json& tools) {
  messages = with_results_in_place(messages, dialect.tool_after_text);
  rename_ids(messages, dialect.ids);
  if (dialect.call.source != CallForm::Source::printed) {
    messages = as_text(std::move(messages), dialect);
  } else if (!dialect.call.several) {
    messages = split_calls(std::move(messages));
  }
  for (ChatMessage& message : messages) {
    const bool refused = dialect.reasoning.excludes_text && !message.calls.empty();
    if (refused && !message.content.empty()) message.reasoning.clear();
  }
  const bool tell_form = dialect.call.source == CallForm::Source::generic;
  if (!tools.empty() && dialect.tools.place == ToolsForm::Place::nowhere) {
    messages.insert(messages.begin(),
                    {.role = ChatRole::system, .content = generic_instructions(tools)});
  } else if (!tools.empty() && tell_form) {
    messages.insert(messages.begin(),
                    {.role = ChatRole::system, .content = generic_call_instructions()});
  }
  messages = with_systems_in_place(std::move(messages), dialect);
  const bool has_system = !messages.empty() && messages.front().role == ChatRole::system;
  if (!tools.empty() && dialect.tools.system_message && !has_system) {
    messages.insert(messages.begin(), {.role = ChatRole::system});
  }
  return dialect.alternates ? merged(std::move(messages)) : messages;
}

}  // namespace asynclm
