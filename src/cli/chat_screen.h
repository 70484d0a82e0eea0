// SPDX-License-Identifier: Apache-2.0
// A conversation on a terminal. What was said scrolls by; below it stand what the model is writing,
// the calls that run, its state and the line that is typed.
#pragma once

#include <functional>
#include <iosfwd>
#include <string>
#include <vector>

#include "cli/line_editor.h"
#include "cli/live_region.h"
#include "cli/terminal.h"
#include "cli/timeline.h"

namespace asynclm {

class ChatScreen {
 public:
  ChatScreen(std::ostream& out, bool colour, std::function<TerminalSize()> size = terminal_size);

  // In the order in which it is to be read.
  void event(const RunEvent& event, const Timeline& timeline);  // the timeline knows it already
  void said(const std::string& text, const std::string& how);   // by the person
  void notice(const std::string& text);                         // of the program; may have lines

  void draw(const Timeline& timeline, Time now, const std::string& state, const LineEditor& line);
  void leave();  // the live part goes, the rest stays

 private:
  enum class Look { plain, person, event, bad };
  void add(const std::string& text, Look look);
  void flush_text(bool all);
  [[nodiscard]] FrameLine styled(const std::string& text, Look look) const;

  LiveRegion region_;
  bool colour_;
  std::function<TerminalSize()> size_;
  int columns_ = 80;  // at the last look
  std::string text_;  // of the model, not yet in a whole line
  std::vector<FrameLine> above_;
};

// Calls that have not ended, and how long they have run: at most `rows` lines.
[[nodiscard]] std::vector<std::string> open_call_lines(const Timeline& timeline, Time now,
                                                       std::size_t rows);
// All calls, a line each.
[[nodiscard]] std::string calls_text(const Timeline& timeline, Time now);

// The line with its prompt, shifted so that the cursor is within so many columns. `cursor` gets its
// column.
[[nodiscard]] std::string input_line(const LineEditor& line, int columns, int& cursor);

}  // namespace asynclm
