// SPDX-License-Identifier: Apache-2.0
// What a line that is typed into asynclm chat means.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <asynclm/error.h>

namespace asynclm {

struct ChatLine {
  enum class Kind : std::uint8_t {
    nothing,  // an empty line
    say,      // text
    later,    // text, when the model is idle
    note,     // text, without waking the model
    cancel,   // text = the id of a call
    calls,
    save,  // text = file
    load,  // text = file
    wait,
    help,
    quit,
  };
  Kind kind = Kind::nothing;
  std::string text;
};

// A line that begins with '/' is a command, with two of them text with one. The error says what
// there is.
[[nodiscard]] Result<ChatLine> parse_chat_line(std::string_view line);

// One line for each command.
[[nodiscard]] std::string_view chat_help();

}  // namespace asynclm
