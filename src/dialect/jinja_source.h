// SPDX-License-Identifier: Apache-2.0
// Chat templates are written for Python's Jinja; minja, which renders them here, evaluates a part
// of it, and some of that otherwise. So a template is translated first, into the part that minja
// evaluates as Python does: operators whose meaning depends on Python's values, filters, tests,
// methods and subscripts become calls of functions (jinja_functions.h), and text becomes strings,
// with the white space that Jinja leaves of it. Lines stay where they are.
#pragma once

#include <string>
#include <string_view>

#include <asynclm/error.h>

namespace asynclm {

// Names in the translated source that no template can write.
inline constexpr std::string_view kFilterPrefix = "f__";  // f__trim(value, arguments…)
inline constexpr std::string_view kTestPrefix = "t__";    // t__none(value, arguments…)
inline constexpr std::string_view kHelperPrefix = "p__";  // p__add(left, right), p__none, …

// unsupported: a syntax error, or a statement that templates of chats cannot use; the message names
// the line.
[[nodiscard]] Result<std::string> translate_jinja(std::string_view source);

}  // namespace asynclm
