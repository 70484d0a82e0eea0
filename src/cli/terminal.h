// SPDX-License-Identifier: Apache-2.0
// What the terminal is and can show, and making text safe and short enough for it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/types.h>

namespace asynclm {

// Standard output is a terminal on which lines can be redrawn (TERM is not "dumb").
[[nodiscard]] bool stdout_is_live_terminal();

// NO_COLOR is not set (no-color.org).
[[nodiscard]] bool colour_wanted();

struct TerminalSize {
  int columns = 80;
  int rows = 24;
};
[[nodiscard]] TerminalSize terminal_size();

// The same of standard error.
[[nodiscard]] bool stderr_is_live_terminal();
[[nodiscard]] int stderr_columns();

enum class LineBreaks : std::uint8_t { keep, escape };

// What models and tools write, made harmless: control characters (also those above 127, and those
// that reorder text) become \xNN or \u{NNNN}, tabs become blanks, what is not UTF-8 becomes U+FFFD.
[[nodiscard]] std::string printable(std::string_view text, LineBreaks breaks);

// Cut to so many columns, the last one '…' if something was cut. The text must be printable.
[[nodiscard]] std::string cut_to_columns(const std::string& text, int columns);

// Wrapped at blanks where possible; no line is wider than `columns`.
[[nodiscard]] std::vector<std::string> wrap(const std::string& text, int columns);

// "12.3 ms", "123 ms", "1.23 s", "2 min 3 s"; at most 9 columns.
[[nodiscard]] std::string duration_text(Time time);

}  // namespace asynclm
