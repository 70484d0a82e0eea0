// SPDX-License-Identifier: Apache-2.0
// What a Toolbox holds: for each tool its description and how it is run.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>

#include <asynclm/tool.h>

namespace asynclm {

inline constexpr std::chrono::milliseconds kMaxToolTime{24 * 60 * 60 * 1000};

struct Toolbox::Impl {
  struct Program {
    ProcessCommand command;
    std::string shown;  // argv[0] as its author wrote it: messages show no other paths of the host
  };
  struct Entry {
    ToolSpec spec;
    std::variant<ToolFunction, Program> run;
  };
  std::deque<Entry> entries;  // a deque: find() hands out pointers

  [[nodiscard]] const Entry* find(std::string_view name) const;

  // Errors begin with `tool "NAME": `.
  [[nodiscard]] static Result<void> check(const Entry& entry);
  [[nodiscard]] Result<void> add(Entry entry);
};

}  // namespace asynclm
