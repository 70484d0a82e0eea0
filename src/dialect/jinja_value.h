// SPDX-License-Identifier: Apache-2.0
// Python's values in minja's: what str(), repr(), json.dumps(), ==, < and `in` say of them.
// minja has one value for undefined and None. Here its null is undefined, and None is minus zero, a
// number that is false and that no template and no JSON that people send has.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <minja/minja.hpp>
#include <nlohmann/json.hpp>

#include "dialect/jinja_text.h"

namespace asynclm {

using JinjaValue = minja::Value;

[[nodiscard]] JinjaValue python_none();
[[nodiscard]] bool is_python_none(const JinjaValue& value);
[[nodiscard]] bool is_undefined(const JinjaValue& value);
[[nodiscard]] bool is_python_number(const JinjaValue& value);  // None is none

// JSON as Python reads it: null is None.
[[nodiscard]] JinjaValue python_value(const nlohmann::ordered_json& json);

[[nodiscard]] std::string python_type(const JinjaValue& value);  // "dict", for messages
[[nodiscard]] std::string python_str(const JinjaValue& value);
[[nodiscard]] std::string python_repr(const JinjaValue& value);
[[nodiscard]] bool python_truth(const JinjaValue& value);
[[nodiscard]] bool python_equal(const JinjaValue& a, const JinjaValue& b);
// Throws where Python does: what cannot be ordered, what cannot be searched.
[[nodiscard]] bool python_less(const JinjaValue& a, const JinjaValue& b);
[[nodiscard]] bool python_in(const JinjaValue& value, const JinjaValue& container);

// The elements that a loop visits: of a string its characters, of an object its keys.
[[nodiscard]] std::vector<JinjaValue> python_elements(const JinjaValue& value);
[[nodiscard]] JinjaValue python_list(const std::vector<JinjaValue>& elements);

struct JsonStyle {
  bool ascii = false;
  int indent = -1;  // spaces; none: everything in one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sorted = false;
};
[[nodiscard]] std::string python_json(const JinjaValue& value, const JsonStyle& style);

}  // namespace asynclm
