// SPDX-License-Identifier: Apache-2.0
// What stands between [HEAD] and [END]: one call, as a literal Python call or as JSON. Arguments
// are data: only literals are understood, nothing is evaluated.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

#include "base/ascii.h"

namespace asynclm {

struct CallSyntax {
  std::string name;
  std::vector<Json> positional;
  Json named = Json::object();  // in the order written
};

// `name(1, 'two', key=[3.5, None, {"a": True}])` or `{"name": "f", "arguments": {…}}`; a text that
// begins with a brace is JSON. invalid_argument names the column (from 1, in bytes) and what was
// expected. Nesting is limited to 64 levels.
//
// async_plus: a value may be a future ($id.path, cml/future.h), and cancel(id) takes a bare name.
[[nodiscard]] Result<CallSyntax> parse_call(std::string_view code, bool async_plus = false);

// The built-in function of async+ by which the model withdraws a call.
inline constexpr std::string_view kCancelFunction = "cancel";

// Whether JSON text has more than `levels` levels of brackets, whatever else is wrong with it. What
// a parser makes of it is destroyed recursively, so this is asked before.
[[nodiscard]] bool nests_deeper(std::string_view json, int levels);

// The literal Python call: name(key=value, …), no spaces. Strings in double quotes.
[[nodiscard]] std::string format_call(std::string_view name, const Json& arguments);

// Identifier rules of Python, ASCII: [A-Za-z_][A-Za-z0-9_]*, at most 64 bytes.
[[nodiscard]] bool is_identifier(std::string_view text);
inline constexpr std::size_t kMaxIdentifier = 64;  // bytes
// Ids of interrupts that are no calls': a call may not have them.
[[nodiscard]] bool is_reserved_id(std::string_view id);
[[nodiscard]] constexpr bool is_identifier_byte(char c) {
  return ascii::is_name_start(c) || ascii::is_digit(c);
}

}  // namespace asynclm
