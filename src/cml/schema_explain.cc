// SPDX-License-Identifier: Apache-2.0
#include "cml/schema_explain.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <functional>
#include <string_view>
#include <utility>

#include "cml/schema_expand.h"
#include "cml/schema_pattern.h"

namespace asynclm::schema {
namespace {

constexpr std::pair<std::string_view, Type> kTypeNames[] = {
    {"null", kNull},     {"boolean", kBoolean}, {"integer", kInteger}, {"number", kNumber},
    {"string", kString}, {"array", kArray},     {"object", kObject},
};

Type type_named(const std::string& name) {
  for (const auto& [text, type] : kTypeNames) {
    if (text == name) return type;
  }
  return kNull;  // not reached: expand() knows the same names
}

std::string name_of(Type type) {
  for (const auto& [text, t] : kTypeNames) {
    if (t == type) return std::string(text);
  }
  return {};
}

std::string names_of(unsigned types) {
  std::string out;
  for (const auto& [text, type] : kTypeNames) {
    if ((types & type) == 0) continue;
    if (!out.empty()) out += " or ";
    out += text;
  }
  return out;
}

// The members of "enum", or of a list of names, as `"a", "b", …`.
std::string listed(const Json& values) {
  constexpr std::size_t kMax = 8;
  std::string out;
  for (std::size_t i = 0; i < values.size() && i < kMax; ++i) {
    out += (i > 0 ? ", " : "") + shown(values[i]);
  }
  if (values.size() > kMax) out += ", ...";
  return out;
}

// Code points, as JSON Schema counts.
std::size_t length_of(const std::string& text) {
  return static_cast<std::size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

const Json* member(const Json& object, std::string_view name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

std::string explain_number(const Json& schema, const Json& value) {
  const double number = value.get<double>();
  const auto broken = [&](const char* keyword, auto fits) {
    const Json* limit = member(schema, keyword);
    return limit != nullptr && !fits(number, limit->get<double>()) ? limit : nullptr;
  };
  const auto text = [&](const char* what, const Json* limit) {
    return std::string("must be ") + what + " " + limit->dump() + ", got " + shown(value);
  };
  if (const Json* limit = broken("minimum", std::greater_equal<>())) return text("at least", limit);
  if (const Json* limit = broken("maximum", std::less_equal<>())) return text("at most", limit);
  if (const Json* limit = broken("exclusiveMinimum", std::greater<>())) return text("above", limit);
  if (const Json* limit = broken("exclusiveMaximum", std::less<>())) return text("below", limit);
  if (const Json* factor = member(schema, "multipleOf")) {
    const double rest = std::remainder(number, factor->get<double>());
    if (std::abs(rest) > 1e-9 * std::abs(number)) return text("a multiple of", factor);
  }
  return {};
}

std::string explain_size(const Json& schema, std::size_t size, const char* minimum,
                         const char* maximum, const char* unit) {
  const auto text = [&](const char* what, const Json& limit) {
    return std::string("must have ") + what + " " + limit.dump() + " " + unit + ", got " +
           std::to_string(size);
  };
  const Json* low = member(schema, minimum);
  if (low != nullptr && size < low->get<std::size_t>()) return text("at least", *low);
  const Json* high = member(schema, maximum);
  if (high != nullptr && size > high->get<std::size_t>()) return text("at most", *high);
  return {};
}

std::string explain_string(const Json& schema, const Json& value) {
  const auto& text = value.get_ref<const std::string&>();
  if (auto why = explain_size(schema, length_of(text), "minLength", "maxLength", "characters");
      !why.empty()) {
    return why;
  }
  const Json* pattern = member(schema, "pattern");
  if (pattern == nullptr) return {};
  if (PatternEngine::search(text, PatternEngine(pattern->get<std::string>()))) return {};
  return "must match " + shown(*pattern) + ", got " + shown(value);
}

std::string named(const std::string& path, const std::string& why) {
  return (path.empty() ? "arguments: " : "argument " + shown(path) + ": ") + why;
}

std::string explain_array(const Json& schema, const Json& value, const std::string& path) {
  if (auto why = explain_size(schema, value.size(), "minItems", "maxItems", "items");
      !why.empty()) {
    return named(path, why);
  }
  const Json* items = member(schema, "items");
  const Json* rest = member(schema, "additionalItems");
  for (std::size_t i = 0; items != nullptr && i < value.size(); ++i) {
    const Json* item = !items->is_array() ? items : i < items->size() ? &(*items)[i] : rest;
    if (item == nullptr) break;
    auto why = explain(*item, value[i], path + "[" + std::to_string(i) + "]");
    if (!why.empty()) return why;
  }
  const Json* unique = member(schema, "uniqueItems");
  if (unique == nullptr || *unique != true) return {};
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (std::find(value.begin(), item, *item) != item) {
      return named(path, "must not have " + shown(*item) + " twice");
    }
  }
  return {};
}

std::string explain_object(const Json& schema, const Json& value, const std::string& path) {
  if (const Json* required = member(schema, "required")) {
    for (const Json& name : *required) {
      if (!value.contains(name.get_ref<const std::string&>())) {
        return named(path, "must have " + shown(name));
      }
    }
  }
  const Json* properties = member(schema, "properties");
  const Json* rest = member(schema, "additionalProperties");
  const bool patterns = schema.contains("patternProperties");
  for (const auto& [name, child] : value.items()) {
    const Json* known = properties == nullptr ? nullptr : member(*properties, name);
    if (known == nullptr && rest != nullptr && !patterns) {
      if (*rest == false) return named(path, "must not have " + shown(name));
      known = rest;
    }
    if (known == nullptr) continue;
    auto why = explain(*known, child, path.empty() ? name : path + "." + name);
    if (!why.empty()) return why;
  }
  if (auto why = explain_size(schema, value.size(), "minProperties", "maxProperties", "members");
      !why.empty()) {
    return named(path, why);
  }
  return {};
}

}  // namespace

unsigned allowed_types(const Json& schema) {
  if (!schema.is_object()) return kAnyType;
  unsigned types = kAnyType;
  if (const Json* type = member(schema, "type")) {
    types = 0;
    if (type->is_string()) types = type_named(type->get_ref<const std::string&>());
    if (type->is_array()) {
      for (const Json& name : *type) types |= type_named(name.get_ref<const std::string&>());
    }
    // A "number" may be an integer; spelled out, so that sets can be intersected.
    if ((types & kNumber) != 0) types |= kInteger;
  }
  for (const char* keyword : {"anyOf", "oneOf"}) {
    const Json* branches = member(schema, keyword);
    if (branches == nullptr) continue;
    unsigned any = 0;
    for (const Json& branch : *branches) any |= allowed_types(branch);
    types &= any;
  }
  if (const Json* branches = member(schema, "allOf")) {
    for (const Json& branch : *branches) types &= allowed_types(branch);
  }
  return types;
}

Type type_of(const Json& value) {
  switch (value.type()) {
    case Json::value_t::boolean:
      return kBoolean;
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return kInteger;
    case Json::value_t::number_float:
      return kNumber;
    case Json::value_t::string:
      return kString;
    case Json::value_t::array:
      return kArray;
    case Json::value_t::object:
      return kObject;
    default:
      return kNull;
  }
}

bool allows(unsigned types, Type type) { return (types & type) != 0; }

std::string explain(const Json& schema, const Json& value, const std::string& path) {
  if (schema == false) return named(path, "is not allowed");
  if (!schema.is_object()) return {};

  const unsigned types = allowed_types(schema);
  const Type type = type_of(value);
  if (!allows(types, type)) {
    // "number" says it all where integers are allowed too.
    const unsigned named_types = (types & kNumber) != 0 ? types & ~unsigned{kInteger} : types;
    if (named_types == 0) return named(path, "no value is possible");
    return named(path, "expected " + names_of(named_types) + ", got " + name_of(type));
  }
  if (const Json* only = member(schema, "const"); only != nullptr && *only != value) {
    return named(path, "must be " + shown(*only) + ", got " + shown(value));
  }
  if (const Json* values = member(schema, "enum");
      values != nullptr && std::ranges::find(*values, value) == values->end()) {
    return named(path, "must be one of " + listed(*values) + ", got " + shown(value));
  }
  std::string why;
  if (value.is_number()) why = explain_number(schema, value);
  if (value.is_string()) why = explain_string(schema, value);
  if (!why.empty()) return named(path, why);
  if (value.is_array()) why = explain_array(schema, value, path);
  if (value.is_object()) why = explain_object(schema, value, path);
  if (!why.empty()) return why;

  if (const Json* branches = member(schema, "allOf")) {
    for (const Json& branch : *branches) {
      why = explain(branch, value, path);
      if (!why.empty()) return why;
    }
  }
  for (const char* keyword : {"anyOf", "oneOf"}) {
    const Json* branches = member(schema, keyword);
    if (branches == nullptr) continue;
    // The branch of the value's type says it best; of several, none does.
    int close = 0;
    bool fits = false;
    for (const Json& branch : *branches) {
      const std::string reason = explain(branch, value, path);
      fits = fits || reason.empty();
      if (!allows(allowed_types(branch), type)) continue;
      ++close;
      why = reason;
    }
    if (fits) continue;
    if (close == 1) return why;
    return named(path, "fits none of the allowed forms, got " + shown(value));
  }
  return {};
}

}  // namespace asynclm::schema
