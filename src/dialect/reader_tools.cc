// SPDX-License-Identifier: Apache-2.0
#include "dialect/reader_tools.h"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "base/ascii.h"
#include "cml/schema_expand.h"
#include "cml/schema_explain.h"
#include "dialect/reader_value.h"

namespace asynclm::dialect {
namespace {

constexpr std::array<std::string_view, 4> kPrefixes = {"functions.", "default_api.",
                                                       "default_api:", "functions:"};
// What Kimi makes of "functions.name:3" when a client has changed the id.
constexpr std::array<std::string_view, 5> kKimiPrefixes = {"functions.", "functions_",
                                                           "functions:", "functions-", "functions"};

// The name without Kimi's counter, in front of which a separator may stand; empty if there is none.
std::vector<std::string_view> without_counter(std::string_view name) {
  std::size_t end = name.size();
  while (end > 0 && ascii::is_digit(name[end - 1])) --end;
  if (end == name.size() || end == 0) return {};
  if (name[end - 1] == ':') return {name.substr(0, end - 1)};
  std::vector<std::string_view> out;
  // name_1 or name1; of a name that ends in digits itself, name2 and then 3, each cut is possible.
  if (name[end - 1] == '_' || name[end - 1] == '.' || name[end - 1] == '-')
    out.push_back(name.substr(0, end - 1));
  for (std::size_t cut = end; cut < name.size(); ++cut) out.push_back(name.substr(0, cut));
  return out;
}

// Json is built with nlohmann's ordered map: find() does not throw.
const Json* child(const Json& schema, std::string_view keyword, const std::string& name) {
  if (!schema.is_object()) return nullptr;
  const auto at = schema.find(keyword);
  if (at == schema.end() || !at->is_object()) return nullptr;
  const auto found = at->find(name);
  return found == at->end() ? nullptr : &*found;
}

// The types that a schema allows; where it says so by its values only, theirs.
unsigned types_of(const Json& schema) {
  unsigned types = schema::allowed_types(schema);
  const auto values = schema.is_object() ? schema.find("enum") : schema.end();
  if (types != schema::kAnyType || values == schema.end() || !values->is_array()) return types;
  types = 0;
  for (const Json& value : *values) types |= schema::type_of(value);
  return types;
}

void make_integers(const Json& schema, JsonText& value, int depth = 0) {
  if (!schema.is_object() || depth > kMaxValueLevels) return;
  if (value.is(JsonText::Kind::number)) {
    const unsigned types = types_of(schema);
    const bool integer = (types & (schema::kInteger | schema::kNumber)) == schema::kInteger;
    if (!integer || is_integer_text(value.text)) return;
    if (auto whole = whole_number(value.text)) value.text = std::move(*whole);
    return;
  }
  if (value.is(JsonText::Kind::array)) {
    const auto items = schema.find("items");
    if (items != schema.end()) {
      for (JsonText& item : value.items) make_integers(*items, item, depth + 1);
    }
  }
  if (value.is(JsonText::Kind::object)) {
    for (JsonMember& member : value.members) {
      const Json* property = child(schema, "properties", member.name);
      if (property != nullptr) make_integers(*property, member.value, depth + 1);
    }
  }
  for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
    const auto branches = schema.find(keyword);
    if (branches == schema.end() || !branches->is_array()) continue;
    for (const Json& branch : *branches) make_integers(branch, value, depth + 1);
  }
}

unsigned type_of(const JsonText& value) {
  switch (value.kind) {
    case JsonText::Kind::null:
      return schema::kNull;
    case JsonText::Kind::boolean:
      return schema::kBoolean;
    case JsonText::Kind::number:
      return whole_number(value.text) ? schema::kInteger | schema::kNumber : schema::kNumber;
    case JsonText::Kind::string:
      return schema::kString;
    case JsonText::Kind::array:
      return schema::kArray;
    case JsonText::Kind::object:
      return schema::kObject;
  }
  return 0;
}

}  // namespace

ReaderTools::ReaderTools(std::span<const ToolSpec> tools, FitsSchema fits)
    : tools_(tools), fits_(std::move(fits)) {
  for (std::size_t i = 0; i < tools.size(); ++i) {
    names_.emplace(tools[i].name, i);
    longest_ = std::max(longest_, tools[i].name.size());
    auto expanded = schema::expand(tools[i].parameters);
    schemas_.push_back(expanded ? std::move(*expanded) : Json::object());
  }
}

std::optional<std::size_t> ReaderTools::exact(std::string_view name) const {
  const auto at = names_.find(name);
  if (at == names_.end()) return std::nullopt;
  return at->second;
}

std::optional<std::size_t> ReaderTools::find(std::string_view written, NamePlace place) const {
  constexpr std::size_t kMostCut = 64;
  if (written.empty() || written.size() > longest_ + kMostCut) return std::nullopt;
  if (const auto tool = exact(written)) return tool;
  if (place == NamePlace::gemma && written.starts_with("call:"))
    return find(written.substr(5), place);

  std::vector<std::string_view> readings;
  const auto cut = [&](std::string_view name) {
    readings.push_back(name);
    if (place == NamePlace::kimi) {
      for (const std::string_view prefix : kKimiPrefixes) {
        if (name.starts_with(prefix)) readings.push_back(name.substr(prefix.size()));
      }
    }
    for (const std::string_view prefix : kPrefixes) {
      if (name.starts_with(prefix)) readings.push_back(name.substr(prefix.size()));
    }
  };
  cut(written);
  // Kimi always writes the counter, so what ends in a digit can be read with and without it.
  if (place == NamePlace::kimi) {
    for (const std::string_view shorter : without_counter(written)) cut(shorter);
  }
  std::set<std::size_t> found;
  for (const std::string_view name : readings) {
    if (const auto tool = exact(name)) found.insert(*tool);
  }
  if (found.empty() && place == NamePlace::harmony && written.ends_with("json"))
    return find(written.substr(0, written.size() - 4));
  if (found.size() != 1) return std::nullopt;
  return *found.begin();
}

bool ReaderTools::may_begin_name(std::string_view text) const {
  for (const std::string_view prefix : kPrefixes) {
    if (prefix.starts_with(text)) return !tools_.empty();
    if (text.starts_with(prefix)) {
      text.remove_prefix(prefix.size());
      break;
    }
  }
  const auto at = names_.lower_bound(text);
  return at != names_.end() && at->first.starts_with(text);
}

bool ReaderTools::has_parameter(std::size_t tool, std::string_view name) const {
  return child(schemas_[tool], "properties", std::string(name)) != nullptr;
}

std::optional<ReaderTools::Glued> ReaderTools::find_glued(std::string_view written) const {
  std::optional<Glued> found;
  for (std::size_t tool = 0; tool < tools_.size(); ++tool) {
    if (!written.starts_with(tools_[tool].name)) continue;
    const std::string_view rest = written.substr(tools_[tool].name.size());
    if (!has_parameter(tool, rest)) continue;
    if (found) return std::nullopt;
    found = Glued{tool, std::string(rest)};
  }
  return found;
}

std::optional<JsonText> ReaderTools::typed(std::size_t tool, const std::string& parameter,
                                           std::string_view text, bool marked_string) const {
  const Json* schema = child(schemas_[tool], "properties", parameter);
  const unsigned types = schema == nullptr ? unsigned{schema::kAnyType} : types_of(*schema);
  const bool any = types == schema::kAnyType;
  if (any ? marked_string : (types & schema::kString) != 0) return json_string(std::string(text));
  auto value = read_value(text);
  if (any)
    return value && !value->is(JsonText::Kind::string) ? value : json_string(std::string(text));
  if (!value || (type_of(*value) & types) == 0) return std::nullopt;
  return value;
}

std::optional<JsonText> ReaderTools::fitting(std::size_t tool, JsonText arguments) const {
  if (!arguments.is(JsonText::Kind::object) || !is_utf8(arguments)) return std::nullopt;
  make_integers(schemas_[tool], arguments);
  if (!fits_(tool, to_checkable_json(arguments))) return std::nullopt;
  return arguments;
}

}  // namespace asynclm::dialect
