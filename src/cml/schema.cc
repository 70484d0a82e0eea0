// SPDX-License-Identifier: Apache-2.0
#include "cml/schema.h"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <limits>
#include <string>
#include <utility>

#include "cml/schema_pattern.h"

// After schema_pattern.h, which limits Boost.Regex. Else valijson compiles its checks of "format",
// which are not used here, with std::regex.
#define VALIJSON_USE_BOOST_REGEX 1
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "cml/schema_expand.h"
#include "cml/schema_explain.h"

namespace asynclm {
namespace {

constexpr int kMaxValueDepth = 64;      // as the call syntax allows
constexpr std::size_t kMaxListed = 12;  // names in an error message

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (std::size_t i = 0; i < names.size() && i < kMaxListed; ++i) {
    out += (i > 0 ? ", " : "") + schema::shown(names[i]);
  }
  if (names.size() > kMaxListed) out += ", ...";
  return out;
}

std::string plural(std::size_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

// Numbers that JSON cannot carry, or that the validator would misread.
bool has_bad_number(const Json& value) {
  if (value.is_number_float()) return !std::isfinite(value.get<double>());
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>() > std::uint64_t{std::numeric_limits<std::int64_t>::max()};
  }
  if (value.is_structured()) {
    for (const Json& child : value) {
      if (has_bad_number(child)) return true;
    }
  }
  return false;
}

// 3.0 is an integer in JSON Schema; programs in typed languages want to see 3.
void make_integers(const Json& schema, Json& value) {
  if (!schema.is_object()) return;
  if (value.is_number_float()) {
    constexpr double kExact = 9007199254740992;  // 2^53: below, every integer has its own double
    const double number = value.get<double>();
    const unsigned types = schema::allowed_types(schema);
    if (schema::allows(types, schema::kInteger) && !schema::allows(types, schema::kNumber) &&
        std::abs(number) <= kExact && number == std::trunc(number)) {
      value = static_cast<std::int64_t>(number);
    }
  } else if (value.is_array() && schema.contains("items")) {
    const Json& items = schema["items"];
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (!items.is_array()) {
        make_integers(items, value[i]);
      } else if (i < items.size()) {
        make_integers(items[i], value[i]);
      }
    }
  } else if (value.is_object()) {
    for (const auto& [name, child] : value.items()) {
      if (schema.contains("properties") && schema["properties"].contains(name)) {
        make_integers(schema["properties"][name], child);
      } else if (schema.contains("additionalProperties")) {
        make_integers(schema["additionalProperties"], child);
      }
    }
  }
  for (const char* keyword : {"allOf", "anyOf", "oneOf"}) {
    if (!schema.contains(keyword) || !value.is_structured()) continue;
    for (const Json& branch : schema[keyword]) make_integers(branch, value);
  }
}

}  // namespace

struct ArgumentValidator::Impl {
  Json schema;                     // expanded
  std::vector<std::string> names;  // of the properties, in order
  std::vector<std::string> required;
  bool open = false;  // names that are not among the properties are left to the schema
  valijson::Schema compiled;

  Result<Json> place(const std::vector<Json>& positional, const Json& named) const;
  Result<void> check_names(const Json& arguments) const;
};

Result<ArgumentValidator> ArgumentValidator::compile(const ToolSpec& tool) {
  const auto prefixed = [&](const Error& error) {
    return fail(error.code, "tool " + schema::shown(tool.name) + ": " + error.message);
  };
  auto impl = std::make_shared<Impl>();
  auto expanded = schema::expand(tool.parameters);
  if (!expanded) return prefixed(expanded.error());
  impl->schema = std::move(*expanded);
  const Json& root = impl->schema;
  if (!root.is_object() || schema::allowed_types(root) != schema::kObject) {
    return prefixed({ErrorCode::invalid_argument,
                     "parameters must be a JSON Schema of an object: {\"type\": \"object\", "
                     "\"properties\": {...}}"});
  }
  for (const char* keyword :
       {"patternProperties", "allOf", "anyOf", "oneOf", "if", "dependencies"}) {
    impl->open = impl->open || root.contains(keyword);
  }
  impl->open = impl->open || root.value("additionalProperties", Json(false)) != false;
  if (root.contains("properties")) {
    for (const auto& [name, child] : root["properties"].items()) impl->names.push_back(name);
  }
  if (root.contains("required")) {
    for (const Json& name : root["required"]) {
      impl->required.push_back(name.get<std::string>());
      if (!impl->open && !(root.contains("properties") && root["properties"].contains(name))) {
        return prefixed({ErrorCode::invalid_argument,
                         "parameters.required names " + schema::shown(name) +
                             ", which is not in parameters.properties; add it there"});
      }
    }
  }
  try {
    const nlohmann::json document = root;
    valijson::SchemaParser(valijson::SchemaParser::kDraft7)
        .populateSchema(valijson::adapters::NlohmannJsonAdapter(document), impl->compiled);
  } catch (const std::exception& e) {
    return prefixed({ErrorCode::invalid_argument,
                     std::string("parameters is not a valid JSON Schema: ") + e.what()});
  }
  return ArgumentValidator(std::move(impl));
}

ArgumentValidator::ArgumentValidator(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

// The arguments by name, in the order of the schema; what it does not know comes last.
Result<Json> ArgumentValidator::Impl::place(const std::vector<Json>& positional,
                                            const Json& named) const {
  if (!named.is_object()) return invalid("arguments: expected an object");
  if (positional.size() > names.size()) {
    return invalid("too many arguments: got " + std::to_string(positional.size()) +
                   (names.empty() ? ", but it takes none"
                                  : ", but it takes " + plural(names.size(), "argument") + ": " +
                                        listed(names)));
  }
  Json out = Json::object();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto found = named.find(names[i]);
    if (i < positional.size()) {
      if (found != named.end()) {
        return invalid("argument " + schema::shown(names[i]) +
                       " is given twice: by position and by name");
      }
      out[names[i]] = positional[i];
    } else if (found != named.end()) {
      out[names[i]] = *found;
    }
  }
  for (const auto& [name, value] : named.items()) {
    if (!out.contains(name)) out[name] = value;
  }
  return out;
}

Result<void> ArgumentValidator::Impl::check_names(const Json& arguments) const {
  if (!open) {
    for (const auto& [name, value] : arguments.items()) {
      if (schema.contains("properties") && schema["properties"].contains(name)) continue;
      return invalid(
          "unknown argument " + schema::shown(name) +
          (names.empty() ? ": it takes no arguments" : ": the arguments are " + listed(names)));
    }
  }
  std::vector<std::string> missing;
  for (const std::string& name : required) {
    if (!arguments.contains(name)) missing.push_back(name);
  }
  if (missing.empty()) return {};
  return invalid("missing argument" + std::string(missing.size() == 1 ? " " : "s ") +
                 listed(missing));
}

Result<Json> ArgumentValidator::place(const std::vector<Json>& positional,
                                      const Json& named) const {
  for (const Json& value : positional) {
    if (schema::deeper_than(value, kMaxValueDepth)) return invalid("arguments: nested too deeply");
  }
  if (schema::deeper_than(named, kMaxValueDepth)) return invalid("arguments: nested too deeply");

  auto arguments = impl_->place(positional, named);
  if (!arguments) return arguments;
  if (auto names = impl_->check_names(*arguments); !names) return std::unexpected(names.error());
  return arguments;
}

bool ArgumentValidator::wants_text(const std::string& name) const {
  const Json& root = impl_->schema;
  if (!root.contains("properties") || !root["properties"].contains(name)) return false;
  const Json& property = root["properties"][name];
  return property.is_object() && property.contains("type") &&
         schema::allows(schema::allowed_types(property), schema::kString);
}

Result<Json> ArgumentValidator::check(const std::vector<Json>& positional,
                                      const Json& named) const {
  auto arguments = place(positional, named);
  if (!arguments) return arguments;
  for (const auto& [name, value] : arguments->items()) {
    if (has_bad_number(value)) {
      return invalid("argument " + schema::shown(name) + ": a number is out of range");
    }
  }
  make_integers(impl_->schema, *arguments);
  try {
    const nlohmann::json target = *arguments;
    valijson::ValidatorT<schema::PatternEngine> validator;
    // Without a results object the validator stops at the first violation, whose words would not
    // be for models anyway.
    if (validator.validate(impl_->compiled, valijson::adapters::NlohmannJsonAdapter(target),
                           nullptr)) {
      return arguments;
    }
    std::string why = schema::explain(impl_->schema, *arguments, "");
    return invalid(why.empty() ? "arguments: do not fit the tool's schema" : std::move(why));
  } catch (const std::exception&) {
    return invalid("arguments: a pattern of the tool's schema takes too long to check");
  }
}

}  // namespace asynclm
