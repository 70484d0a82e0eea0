// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <format>

#include <ftxui/screen/string.hpp>

namespace asynclm {
namespace {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;  // 0: not UTF-8
};

CodePoint decode_utf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 0;
  if (length == 0 || lead > 0xF4 || text.size() < length) return {};
  char32_t value = lead & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0U) != 0x80U) return {};
    value = value << 6U | (byte(i) & 0x3FU);
  }
  constexpr char32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (value < kSmallest[length] || value > 0x10FFFF || surrogate) return {};
  return {value, length};
}

// Moves, colours or reorders what is around it instead of being seen.
bool is_hidden_control(char32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF;
}

bool is_live_terminal(int fd) {
  const char* term = std::getenv("TERM");
  return isatty(fd) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

TerminalSize size_of_terminal(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return {};
  return {.columns = size.ws_col, .rows = size.ws_row > 0 ? size.ws_row : TerminalSize{}.rows};
}

}  // namespace

bool stdout_is_live_terminal() { return is_live_terminal(STDOUT_FILENO); }
bool stderr_is_live_terminal() { return is_live_terminal(STDERR_FILENO); }

bool colour_wanted() {
  const char* no_color = std::getenv("NO_COLOR");
  return no_color == nullptr || *no_color == '\0';
}

TerminalSize terminal_size() { return size_of_terminal(STDOUT_FILENO); }
int stderr_columns() { return size_of_terminal(STDERR_FILENO).columns; }

std::string printable(std::string_view text, LineBreaks breaks) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const CodePoint c = decode_utf8(text);
    if (c.bytes == 0) {
      out += "\uFFFD";
      text.remove_prefix(1);
      continue;
    }
    if (c.value == '\n') {
      out += breaks == LineBreaks::keep ? "\n" : "\\n";
    } else if (c.value == '\t') {
      out += ' ';
    } else if (!is_hidden_control(c.value)) {
      out += text.substr(0, c.bytes);
    } else if (c.value < 0x80) {
      out += std::format("\\x{:02x}", static_cast<unsigned>(c.value));
    } else {
      out += std::format("\\u{{{:x}}}", static_cast<unsigned>(c.value));
    }
    text.remove_prefix(c.bytes);
  }
  return out;
}

std::string cut_to_columns(const std::string& text, int columns) {
  if (columns <= 0) return {};
  if (ftxui::string_width(text) <= columns) return text;
  std::string out;
  int width = 0;
  for (const std::string& glyph : ftxui::Utf8ToGlyphs(text)) {
    const int glyph_width = ftxui::string_width(glyph);
    if (width + glyph_width > columns - 1) break;
    out += glyph;
    width += glyph_width;
  }
  return out + "…";
}

std::vector<std::string> wrap(const std::string& text, int columns) {
  std::vector<std::string> lines(1);
  if (columns < 2) columns = 2;  // a full-width character must fit
  int width = 0;                 // of the last line
  std::string word;              // not yet placed
  int word_width = 0;
  int blanks = 0;  // between the last line and the word
  const auto place_word = [&] {
    if (word.empty()) return;
    if (width > 0 && width + blanks + word_width > columns) {
      lines.emplace_back();
      width = blanks = 0;
    }
    lines.back().append(static_cast<std::size_t>(blanks), ' ');
    lines.back() += word;
    width += blanks + word_width;
    word.clear();
    word_width = blanks = 0;
  };
  for (const std::string& glyph : ftxui::Utf8ToGlyphs(text)) {
    if (glyph.empty()) continue;  // the second cell of a full-width character
    if (glyph == "\n") {
      place_word();
      lines.emplace_back();
      width = blanks = 0;
    } else if (glyph == " ") {
      place_word();
      ++blanks;
    } else {
      const int glyph_width = ftxui::string_width(glyph);
      if (word_width + glyph_width > columns) place_word();
      if (blanks >= columns) blanks = 0;
      word += glyph;
      word_width += glyph_width;
    }
  }
  place_word();
  return lines;
}

std::string duration_text(Time time) {
  const double ms = to_ms(time);
  if (ms < 100) return std::format("{:.1f} ms", ms);
  if (ms < 999.5) return std::format("{:.0f} ms", ms);
  if (ms < 99'995) return std::format("{:.2f} s", ms / 1000);
  const auto seconds = static_cast<long>(std::lround(ms / 1000));
  return std::format("{} min {} s", seconds / 60, seconds % 60);
}

}  // namespace asynclm
