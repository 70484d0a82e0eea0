// SPDX-License-Identifier: Apache-2.0
#include "dialect/jinja_text.h"

#include <algorithm>
#include <array>
#include <cstddef>

namespace asynclm {
namespace {

std::size_t character_size(std::string_view text) {
  const auto byte = static_cast<unsigned char>(text.front());
  const std::size_t size = byte < 0xC2   ? 1
                           : byte < 0xE0 ? 2
                           : byte < 0xF0 ? 3
                           : byte < 0xF5 ? 4
                                         : 1;
  if (size > text.size()) return 1;
  for (std::size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 1;
  }
  return size;
}

bool is_python_space(std::string_view character) {
  if (character.size() == 1) {
    const char c = character.front();
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= '\x1C' && c <= '\x1F');
  }
  if (character == "\u0085" || character == "\u00A0" || character == "\u1680") return true;
  if (character >= "\u2000" && character <= "\u200A") return true;
  static constexpr std::array<std::string_view, 5> kOthers = {"\u2028", "\u2029", "\u202F",
                                                              "\u205F", "\u3000"};
  return std::ranges::contains(kOthers, character);
}

}  // namespace

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    out.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return out;
}

std::string_view strip_left(std::string_view text) {
  while (!text.empty()) {
    const std::size_t size = character_size(text);
    if (!is_python_space(text.substr(0, size))) break;
    text.remove_prefix(size);
  }
  return text;
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    std::size_t size = 1;
    while (size < 4 && size < text.size() &&
           (static_cast<unsigned char>(text[text.size() - size]) & 0xC0) == 0x80) {
      ++size;
    }
    if (!is_python_space(text.substr(text.size() - size))) break;
    text.remove_suffix(size);
  }
  return text;
}

}  // namespace asynclm
