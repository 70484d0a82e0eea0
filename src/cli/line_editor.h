// SPDX-License-Identifier: Apache-2.0
// One line of input on a terminal in raw mode: bytes in, an edited line out. Knows nothing of the
// screen.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace asynclm {

class LineEditor {
 public:
  enum class Key : std::uint8_t { none, enter, interrupt, end_of_input };

  // Takes one byte. enter: take_line() has the line. interrupt: Ctrl-C. end_of_input: Ctrl-D on an
  // empty line.
  [[nodiscard]] Key feed(char byte);

  [[nodiscard]] std::string take_line();
  void clear();

  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] std::size_t cursor() const { return cursor_; }  // bytes before it

 private:
  enum class Escape : std::uint8_t { none, begun, sequence };
  void act_on_sequence(char last);
  [[nodiscard]] std::size_t before(std::size_t at) const;  // where the character before it begins
  [[nodiscard]] std::size_t behind(std::size_t at) const;
  void erase(std::size_t from, std::size_t to);
  void recall(std::size_t line);

  std::string text_;
  std::size_t cursor_ = 0;
  Escape escape_ = Escape::none;
  std::string sequence_;  // bytes of an escape sequence behind "ESC [" or "ESC O"
  std::vector<std::string> history_;
  std::size_t recalled_ = 0;  // index in history_; its size: the line that is being written
  std::string written_;       // that line, while another one is shown
};

}  // namespace asynclm
