// SPDX-License-Identifier: Apache-2.0
#include "cml/schema_expand.h"

#include <cstdint>
#include <exception>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "cml/schema_pattern.h"

namespace asynclm::schema {
namespace {

enum class Kind : std::uint8_t {
  type,          // a type's name or several
  any,           // any value
  values,        // a non-empty array of any values
  names,         // an array of strings
  number,        //
  positive,      // a number above zero
  count,         // a whole number from zero on
  flag,          // true or false
  pattern,       // a regular expression
  schema,        //
  schemas,       // a non-empty array of schemas
  schema_map,    // an object of schemas
  pattern_map,   // the same, its keys are patterns
  items,         // a schema or an array of schemas
  dependencies,  // an object of schemas or arrays of strings
  unsupported,   // constrains values, but is not checked here: refused
};

struct Keyword {
  std::string_view name;
  Kind kind;
};

constexpr Keyword kKeywords[] = {
    {"type", Kind::type},
    {"const", Kind::any},
    {"enum", Kind::values},
    {"required", Kind::names},
    {"minimum", Kind::number},
    {"maximum", Kind::number},
    {"exclusiveMinimum", Kind::number},
    {"exclusiveMaximum", Kind::number},
    {"multipleOf", Kind::positive},
    {"minLength", Kind::count},
    {"maxLength", Kind::count},
    {"minItems", Kind::count},
    {"maxItems", Kind::count},
    {"minProperties", Kind::count},
    {"maxProperties", Kind::count},
    {"uniqueItems", Kind::flag},
    {"pattern", Kind::pattern},
    {"not", Kind::schema},
    {"if", Kind::schema},
    {"then", Kind::schema},
    {"else", Kind::schema},
    {"contains", Kind::schema},
    {"propertyNames", Kind::schema},
    {"additionalItems", Kind::schema},
    {"additionalProperties", Kind::schema},
    {"allOf", Kind::schemas},
    {"anyOf", Kind::schemas},
    {"oneOf", Kind::schemas},
    {"properties", Kind::schema_map},
    {"patternProperties", Kind::pattern_map},
    {"items", Kind::items},
    {"dependencies", Kind::dependencies},
    {"prefixItems", Kind::unsupported},
    {"minContains", Kind::unsupported},
    {"maxContains", Kind::unsupported},
    {"dependentRequired", Kind::unsupported},
    {"dependentSchemas", Kind::unsupported},
    {"unevaluatedItems", Kind::unsupported},
    {"unevaluatedProperties", Kind::unsupported},
    {"$dynamicRef", Kind::unsupported},
    {"$recursiveRef", Kind::unsupported},
};

constexpr std::string_view kTypes[] = {"null",   "boolean", "integer", "number",
                                       "string", "array",   "object"};

class Expander {
 public:
  explicit Expander(const Json& root) : root_(root) {}

  Result<Json> node(const Json& in, const std::string& at, int depth) {
    if (depth > kMaxDepth) {
      return fail(ErrorCode::limit_exceeded, at + " is nested deeper than " +
                                                 std::to_string(kMaxDepth) +
                                                 " levels; flatten it (is a $ref recursive?)");
    }
    if (++nodes_ > kMaxNodes) {
      return fail(ErrorCode::limit_exceeded,
                  "parameters has more than " + std::to_string(kMaxNodes) +
                      " parts once its $refs are resolved; make it smaller");
    }
    if (in.is_boolean()) return in;
    if (!in.is_object()) return wrong(at, "a schema (an object, true or false)", in);

    Json out = Json::object();
    for (const Keyword& keyword : kKeywords) {
      const auto found = in.find(keyword.name);
      if (found == in.end()) continue;
      const std::string place = at + "." + std::string(keyword.name);
      auto value = this->keyword(keyword.kind, *found, place, depth);
      if (!value) return value;
      out[std::string(keyword.name)] = std::move(*value);
    }
    const auto ref = in.find("$ref");
    if (ref == in.end()) return out;
    auto target = reference(*ref, at + ".$ref", depth);
    if (!target || out.empty()) return target;
    // Constraints beside a reference apply too (draft 2019-09 on).
    return Json{{"allOf", Json::array({std::move(*target), std::move(out)})}};
  }

 private:
  static std::unexpected<Error> wrong(const std::string& at, const std::string& expected,
                                      const Json& got) {
    return fail(ErrorCode::invalid_argument, at + " must be " + expected + ", got " + shown(got));
  }

  Result<Json> reference(const Json& ref, const std::string& at, int depth) {
    if (!ref.is_string()) return wrong(at, "a string", ref);
    const auto& text = ref.get_ref<const std::string&>();
    if (!text.starts_with('#')) {
      return fail(ErrorCode::unsupported,
                  at + " " + shown(ref) + " leads outside the schema; only #/… is possible");
    }
    try {
      const Json::json_pointer pointer(text.substr(1));
      if (root_.contains(pointer)) return node(root_.at(pointer), at, depth + 1);
    } catch (const Json::exception&) {  // not a JSON pointer
    }
    return fail(ErrorCode::invalid_argument, at + " " + shown(ref) + " is not in the schema");
  }

  Result<Json> keyword(Kind kind, const Json& in, const std::string& at, int depth) {
    switch (kind) {
      case Kind::type:
        return type(in, at);
      case Kind::any:
        return in;
      case Kind::values:
        if (!in.is_array() || in.empty()) return wrong(at, "a list of values", in);
        return in;
      case Kind::names:
        return names(in, at);
      case Kind::number:
        if (!in.is_number()) return wrong(at, "a number", in);
        return in;
      case Kind::positive:
        if (!in.is_number() || !(in.get<double>() > 0)) return wrong(at, "a number above 0", in);
        return in.get<double>();  // for an integer valijson would round the value first
      case Kind::count:
        return count(in, at);
      case Kind::flag:
        if (!in.is_boolean()) return wrong(at, "true or false", in);
        return in;
      case Kind::pattern:
        return pattern(in, at);
      case Kind::schema:
        return node(in, at, depth + 1);
      case Kind::schemas:
        return schemas(in, at, depth);
      case Kind::schema_map:
      case Kind::pattern_map:
      case Kind::dependencies:
        return map(kind, in, at, depth);
      case Kind::items:
        return in.is_array() ? schemas(in, at, depth) : node(in, at, depth + 1);
      case Kind::unsupported:
        break;
    }
    return fail(ErrorCode::unsupported, at + " is not supported; remove it or use draft 7");
  }

  static Result<Json> type(const Json& in, const std::string& at) {
    const Json list = in.is_array() ? in : Json::array({in});
    for (const Json& name : list) {
      bool known = false;
      for (const std::string_view type : kTypes) known = known || name == type;
      if (!known) {
        return wrong(at, "null, boolean, integer, number, string, array or object", name);
      }
    }
    if (list.empty()) return wrong(at, "a type or a list of types", in);
    return in;
  }

  static Result<Json> names(const Json& in, const std::string& at) {
    bool good = in.is_array();
    for (std::size_t i = 0; good && i < in.size(); ++i) good = in[i].is_string();
    if (!good) return wrong(at, "a list of names", in);
    return in;
  }

  static Result<Json> count(const Json& in, const std::string& at) {
    const double value = in.is_number() ? in.get<double>() : -1;
    constexpr double kMax = std::numeric_limits<std::int32_t>::max();
    const bool good = value >= 0 && value <= kMax && value == static_cast<std::int64_t>(value);
    if (!good) return wrong(at, "a whole number from 0 to 2147483647", in);
    return static_cast<std::int64_t>(value);
  }

  static Result<Json> pattern(const Json& in, const std::string& at) {
    if (!in.is_string()) return wrong(at, "a regular expression as a string", in);
    const auto& text = in.get_ref<const std::string&>();
    if (text.size() > kMaxPatternBytes) {
      return fail(
          ErrorCode::limit_exceeded,
          at + " is longer than " + std::to_string(kMaxPatternBytes) + " bytes; shorten it");
    }
    try {
      const PatternEngine engine(text);
    } catch (const std::exception&) {
      return fail(ErrorCode::invalid_argument,
                  at + " " + shown(in) +
                      " is not a regular expression (ECMAScript without back-references)");
    }
    return in;
  }

  Result<Json> schemas(const Json& in, const std::string& at, int depth) {
    if (!in.is_array() || in.empty()) return wrong(at, "a list of schemas", in);
    Json out = Json::array();
    for (std::size_t i = 0; i < in.size(); ++i) {
      auto value = node(in[i], at + "[" + std::to_string(i) + "]", depth + 1);
      if (!value) return value;
      out.push_back(std::move(*value));
    }
    return out;
  }

  Result<Json> map(Kind kind, const Json& in, const std::string& at, int depth) {
    if (!in.is_object()) return wrong(at, "an object", in);
    Json out = Json::object();
    for (const auto& [key, child] : in.items()) {
      const std::string place = at + "." + (key.size() <= 64 ? key : key.substr(0, 61) + "...");
      // The validator takes names as C strings.
      if (key.empty() || key.find('\0') != std::string::npos) {
        return fail(ErrorCode::invalid_argument,
                    at + " has a name that is empty or has a zero byte");
      }
      if (kind == Kind::pattern_map) {
        if (auto good = pattern(Json(key), at); !good) return good;
      }
      const bool is_names = kind == Kind::dependencies && child.is_array();
      auto value = is_names ? names(child, place) : node(child, place, depth + 1);
      if (!value) return value;
      out[key] = std::move(*value);
    }
    return out;
  }

  const Json& root_;
  std::size_t nodes_ = 0;
};

}  // namespace

bool deeper_than(const Json& value, int levels) {
  if (!value.is_structured()) return false;
  if (levels <= 0) return true;
  for (const Json& child : value) {
    if (deeper_than(child, levels - 1)) return true;
  }
  return false;
}

std::string shown(const Json& value) {
  constexpr std::size_t kMax = 40;
  if (deeper_than(value, 4)) return value.is_array() ? "a nested array" : "a nested object";
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > kMax) {
    std::size_t end = kMax - 4;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    text = text.substr(0, end) + "..." + (value.is_string() ? "\"" : "");
  }
  return text;
}

Result<Json> expand(const Json& parameters) {
  if (deeper_than(parameters, kMaxDepth)) {
    return fail(ErrorCode::limit_exceeded, "parameters is nested deeper than " +
                                               std::to_string(kMaxDepth) + " levels; flatten it");
  }
  std::size_t bytes = 0;
  try {
    bytes = parameters.dump().size();
  } catch (const Json::exception&) {
    return fail(ErrorCode::invalid_argument, "parameters has text that is not valid UTF-8");
  }
  if (bytes > kMaxBytes) {
    return fail(ErrorCode::limit_exceeded, "parameters has " + std::to_string(bytes) +
                                               " bytes, at most " + std::to_string(kMaxBytes) +
                                               " are possible; make it smaller");
  }
  return Expander(parameters).node(parameters, "parameters", 0);
}

}  // namespace asynclm::schema
