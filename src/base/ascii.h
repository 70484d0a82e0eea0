// SPDX-License-Identifier: Apache-2.0
// Classes of ASCII characters, whatever the locale. Other values are of no class: bytes of longer
// UTF-8 sequences, and the -1 that stands for an end.
#pragma once

namespace asynclm::ascii {

[[nodiscard]] constexpr bool is_digit(int c) { return c >= '0' && c <= '9'; }
// What a name in a program begins with.
[[nodiscard]] constexpr bool is_name_start(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
// White space as JSON has it.
[[nodiscard]] constexpr bool is_space(int c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}
// White space as Python has it: vertical tab and form feed too.
[[nodiscard]] constexpr bool is_python_space(int c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace asynclm::ascii
