// SPDX-License-Identifier: Apache-2.0
#include "cli/live_region.h"

#include <algorithm>
#include <format>
#include <ostream>
#include <string>
#include <string_view>
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

LiveRegion::~LiveRegion() { leave(); }

void LiveRegion::draw(const std::vector<FrameLine>& above, std::vector<FrameLine> live,
                      int columns) {
  std::string out;
  if (!std::exchange(cursor_hidden_, true)) out += kHideCursor;
  if (!drawn_.empty()) out += std::format("\r\x1b[{}A", rows_on_terminal(drawn_, columns));
  for (const auto* lines : {&above, static_cast<const std::vector<FrameLine>*>(&live)}) {
    for (const FrameLine& line : *lines) {
      out += line.text;
      out += kClearLineEnd;
      out += '\n';
    }
  }
  out += kClearBelow;
  out_ << out << std::flush;
  drawn_ = std::move(live);
}

void LiveRegion::leave() {
  drawn_.clear();
  if (std::exchange(cursor_hidden_, false)) out_ << kShowCursor << std::flush;
}

}  // namespace asynclm
