// SPDX-License-Identifier: Apache-2.0
// Where texts that a template wrote agree and differ, without cutting tags and tokens in two.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace asynclm {

// Bytes that both begin with (end with), up to a border of tags: `<a><b` and `<a><c` share `<a>`.
[[nodiscard]] std::size_t common_front(std::string_view a, std::string_view b);
[[nodiscard]] std::size_t common_back(std::string_view a, std::string_view b);

// A number that counts: the texts agree but for a digit of `first` where `second` has the following
// one. Its place.
[[nodiscard]] std::optional<std::size_t> counter_front(std::string_view first,
                                                       std::string_view second);
// The same from their ends back, as far as they agree. Its distance from the end.
[[nodiscard]] std::optional<std::size_t> counter_back(std::string_view first,
                                                      std::string_view second);

// The text between two others, the first `before` in it and the first `after` behind that.
[[nodiscard]] std::optional<std::string> between(std::string_view text, std::string_view before,
                                                 std::string_view after);

// What is left behind `from`, which must lie within the text.
[[nodiscard]] inline std::string behind(std::string_view text, std::size_t from) {
  return std::string(text.substr(from));
}

}  // namespace asynclm
