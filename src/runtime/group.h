// SPDX-License-Identifier: Apache-2.0
// Sessions that write to each other: who they are, what is on its way, what may still be sent. Of
// the decode thread, once it is started.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/runtime.h>

namespace asynclm {

inline constexpr std::string_view kSendTool = "send";

class Group {
 public:
  explicit Group(const GroupOptions& options) : options_(options) {}

  void add(std::string name, RunId run) { members_.push_back({std::move(name), run}); }

  // The tool by which a member writes to the others.
  [[nodiscard]] ToolSpec send_tool(std::string_view sender) const;

  // A message of `sender`: the run that is to get it, or why it cannot be sent, in words for the
  // model. It counts as on its way until delivered() or lost().
  [[nodiscard]] Result<RunId> send(RunId sender, std::string_view to);
  void delivered(RunId to);
  void left(RunId run);  // it has ended; what was on its way to it is gone

  [[nodiscard]] std::string_view name(RunId run) const;
  [[nodiscard]] bool messages_on_their_way() const;
  [[nodiscard]] std::vector<RunId> runs() const;  // that have not left

 private:
  struct Member {
    std::string name;
    RunId run;
    std::int32_t undelivered = 0;
    bool left = false;
  };
  [[nodiscard]] Member* find(RunId run);

  GroupOptions options_;
  std::vector<Member> members_;
  std::int32_t sent_ = 0;
};

}  // namespace asynclm
