// SPDX-License-Identifier: Apache-2.0
#include "runtime/group.h"

#include <algorithm>
#include <format>

namespace asynclm {

ToolSpec Group::send_tool(std::string_view sender) const {
  std::string names;
  Json others = Json::array();
  for (const Member& member : members_) {
    if (member.name == sender) continue;
    names += (names.empty() ? "" : ", ") + member.name;
    others.push_back(member.name);
  }
  ToolSpec tool;
  tool.name = kSendTool;
  tool.description = std::format("send a message to one of {}; you are {}", names, sender);
  tool.parameters = {
      {"type", "object"},
      {"properties",
       {{"to", {{"type", "string"}, {"enum", others}}}, {"text", {{"type", "string"}}}}},
      {"required", {"to", "text"}}};
  tool.estimate = std::chrono::milliseconds(0);
  tool.delivery = Delivery::silent;  // that it was sent is no news; that it was not is
  return tool;
}

Group::Member* Group::find(RunId run) {
  const auto found = std::ranges::find(members_, run, &Member::run);
  return found == members_.end() ? nullptr : &*found;
}

Result<RunId> Group::send(RunId sender, std::string_view to) {
  const auto found = std::ranges::find(members_, to, &Member::name);
  if (found == members_.end() || found->run == sender) {
    return fail(ErrorCode::not_found, std::format("there is no other member '{}'", to));
  }
  if (found->left) return fail(ErrorCode::not_found, std::format("{} has left", to));
  if (sent_ >= options_.max_messages) {
    return fail(ErrorCode::limit_exceeded,
                std::format("not sent: the group has sent its {} messages", options_.max_messages));
  }
  if (found->undelivered >= options_.mailbox) {
    return fail(ErrorCode::limit_exceeded,
                std::format("not sent: {} has {} messages that it has not read yet", to,
                            found->undelivered));
  }
  ++sent_;
  ++found->undelivered;
  return found->run;
}

void Group::delivered(RunId to) {
  Member* const member = find(to);
  // People may speak as agents too: those messages were never on their way.
  if (member != nullptr && member->undelivered > 0) --member->undelivered;
}

void Group::left(RunId run) {
  Member* const member = find(run);
  if (member == nullptr) return;
  member->left = true;
  member->undelivered = 0;
}

std::string_view Group::name(RunId run) const {
  const auto found = std::ranges::find(members_, run, &Member::run);
  return found == members_.end() ? std::string_view() : found->name;
}

bool Group::messages_on_their_way() const {
  return std::ranges::any_of(members_, [](const Member& m) { return m.undelivered > 0; });
}

std::vector<RunId> Group::runs() const {
  std::vector<RunId> out;
  for (const Member& member : members_) {
    if (!member.left) out.push_back(member.run);
  }
  return out;
}

}  // namespace asynclm
