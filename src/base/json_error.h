// SPDX-License-Identifier: Apache-2.0
// What the JSON library says, for people.
#pragma once

#include <exception>
#include <string>
#include <string_view>

namespace asynclm {

// "[json.exception.parse_error.101] parse error at …" without what is in brackets.
[[nodiscard]] inline std::string plain_message(const std::exception& error) {
  const std::string_view what = error.what();
  const std::size_t tag = what.starts_with("[json.") ? what.find("] ") : std::string_view::npos;
  return std::string(tag == std::string_view::npos ? what : what.substr(tag + 2));
}

}  // namespace asynclm
