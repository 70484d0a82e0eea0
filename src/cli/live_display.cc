// SPDX-License-Identifier: Apache-2.0
#include "cli/live_display.h"

#include <algorithm>
#include <format>
#include <ostream>
#include <utility>

namespace asynclm {
namespace {

constexpr std::string_view kHideCursor = "\x1b[?25l";
constexpr std::string_view kShowCursor = "\x1b[?25h";
constexpr std::string_view kClearLineEnd = "\x1b[K";
constexpr std::string_view kClearBelow = "\x1b[J";

// Rows that the lines take on a terminal of so many columns: most terminals wrap again what no
// longer fits when they get narrower.
int rows_on_terminal(const std::vector<FrameLine>& lines, int columns) {
  int rows = 0;
  for (const FrameLine& line : lines) rows += std::max(1, (line.columns + columns - 1) / columns);
  return rows;
}

}  // namespace

LiveDisplay::LiveDisplay(std::ostream& out, bool colour, std::function<TerminalSize()> size)
    : out_(out), colour_(colour), size_(std::move(size)) {}

LiveDisplay::~LiveDisplay() {
  if (cursor_hidden_) out_ << kShowCursor << std::flush;
}

void LiveDisplay::begin(const RunHeader& header) {
  timeline_ = Timeline{};
  timeline_.header = header;
  drawn_.clear();
  out_ << kHideCursor;
  cursor_hidden_ = true;
  draw(Time{}, false);
}

void LiveDisplay::tick(Time now) { draw(now, false); }

void LiveDisplay::end(const RunReport& report) {
  timeline_.latest = std::max(timeline_.latest, report.wall);
  draw(timeline_.latest, true);
  drawn_.clear();
  out_ << kShowCursor << std::flush;
  cursor_hidden_ = false;
}

void LiveDisplay::draw(Time now, bool final) {
  const TerminalSize size = size_();
  // The last column stays free: terminals differ in where the cursor is after it.
  std::vector<FrameLine> lines =
      render_frame(timeline_, now,
                   {.columns = size.columns - 1,
                    .max_rows = std::max(4, size.rows - 1),  // what scrolled away cannot be redrawn
                    .colour = colour_,
                    .final = final});
  std::string out;
  if (!drawn_.empty()) out += std::format("\r\x1b[{}A", rows_on_terminal(drawn_, size.columns));
  for (const FrameLine& line : lines) {
    out += line.text;
    out += kClearLineEnd;
    out += '\n';
  }
  out += kClearBelow;
  out_ << out << std::flush;
  drawn_ = std::move(lines);
}

}  // namespace asynclm
