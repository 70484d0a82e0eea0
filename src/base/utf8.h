// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace asynclm {

// Offset of the first byte that is not part of a valid UTF-8 character; text.size() if there is
// none.
[[nodiscard]] std::size_t find_invalid_utf8(std::string_view text);

// Length of the longest prefix of `text`, not shorter than `from`, that does not end inside a UTF-8
// character. Bytes that cannot begin or continue a character count as complete.
[[nodiscard]] std::size_t complete_utf8_prefix(std::string_view text, std::size_t from);

[[nodiscard]] bool is_unicode(std::uint32_t code_point);  // not a surrogate, not above U+10FFFF
void append_utf8(std::uint32_t code_point, std::string& out);  // is_unicode(code_point)

}  // namespace asynclm
