// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

namespace asynclm {

// Length of the longest prefix of `text`, not shorter than `from`, that does not end inside a UTF-8
// character. Bytes that cannot begin or continue a character count as complete.
[[nodiscard]] inline std::size_t complete_utf8_prefix(std::string_view text, std::size_t from) {
  // Only the last three bytes can belong to a character that is not complete.
  for (std::size_t back = 1; back <= 3 && text.size() >= from + back; ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0) == 0x80) continue;
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace asynclm
