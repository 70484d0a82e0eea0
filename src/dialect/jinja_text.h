// SPDX-License-Identifier: Apache-2.0
// Texts as Python sees them.
#pragma once

#include <string_view>
#include <vector>

namespace asynclm {

// The characters of a text, which may be no valid UTF-8: then a byte is a character.
[[nodiscard]] std::vector<std::string_view> characters(std::string_view text);

// Without Python's white space at one end.
[[nodiscard]] std::string_view strip_left(std::string_view text);
[[nodiscard]] std::string_view strip_right(std::string_view text);

}  // namespace asynclm
