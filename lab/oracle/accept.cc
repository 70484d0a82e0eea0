// SPDX-License-Identifier: Apache-2.0
#include "oracle/accept.h"

#include <algorithm>
#include <cctype>
#include <string>
#include <string_view>

namespace asynclm {
namespace {

std::string standard(std::string text) {
  std::erase_if(text, [](char c) { return std::string_view(" ,./-_*^'\"").contains(c); });
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// NOLINTNEXTLINE(misc-no-recursion): the depth of arguments is limited before they get here
bool is_right(const Json& right, const Json& given) {
  if (right.is_string() && given.is_string()) {
    return standard(right.get<std::string>()) == standard(given.get<std::string>());
  }
  if (right.is_object() && given.is_object()) return accepts(right, given);
  if (right.is_array() && given.is_array()) return std::ranges::equal(right, given, is_right);
  return right == given;
}

}  // namespace

// NOLINTNEXTLINE(misc-no-recursion): see above
bool accepts(const Json& accept, const Json& arguments) {
  const auto is_known = [&](const auto& argument) {
    const auto right = accept.find(argument.key());
    return right != accept.end() && std::ranges::any_of(*right, [&](const Json& one) {
             return is_right(one, argument.value());
           });
  };
  for (const auto& argument : arguments.items()) {
    if (!is_known(argument)) return false;
  }
  for (const auto& [name, right] : accept.items()) {
    if (!arguments.contains(name) && !std::ranges::contains(right, Json(""))) return false;
  }
  return true;
}

bool accepts(const Json& accept, const Json& right, const Json& arguments) {
  return accept.is_null() ? right == arguments : accepts(accept, arguments);
}

}  // namespace asynclm
