// SPDX-License-Identifier: Apache-2.0
#include "cli/rows.h"

#include <string_view>
#include <utility>

#include <ftxui/dom/node.hpp>
#include <ftxui/screen/screen.hpp>
#include <ftxui/screen/string.hpp>

namespace asynclm {
namespace {

// Blanks at the end would wrap when the terminal gets narrower. Escape sequences after and between
// them stay.
std::string without_trailing_blanks(std::string_view line) {
  std::string escapes;
  while (!line.empty()) {
    if (line.ends_with(' ') || line.ends_with('\r')) {
      line.remove_suffix(1);
      continue;
    }
    const std::size_t escape = line.rfind('\x1b');
    if (escape == std::string_view::npos || line.find('m', escape) != line.size() - 1) break;
    escapes.insert(0, line.substr(escape));
    line = line.substr(0, escape);
  }
  return std::string(line) + escapes;
}

}  // namespace

std::vector<FrameLine> draw_rows(ftxui::Elements rows, int columns) {
  const int count = static_cast<int>(rows.size());
  return draw_element(ftxui::vbox(std::move(rows)), columns, count);
}

std::vector<FrameLine> draw_element(const ftxui::Element& element, int columns, int rows) {
  ftxui::Screen screen(columns, rows);
  ftxui::Render(screen, element);

  std::vector<FrameLine> lines;
  const std::string all = screen.ToString();
  std::string_view rest = all;
  for (int y = 0; y < rows; ++y) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    int last = columns;
    const auto glyph = [&](int column) { return screen.PixelAt(column, y).character; };
    while (last > 0 && (glyph(last - 1).empty() || glyph(last - 1) == " ")) --last;
    // The cell after a full-width character is empty too.
    if (last > 0 && ftxui::string_width(glyph(last - 1)) == 2) ++last;
    lines.push_back({without_trailing_blanks(line), last});
  }
  return lines;
}

}  // namespace asynclm
