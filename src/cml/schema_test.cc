// SPDX-License-Identifier: Apache-2.0
#include "cml/schema.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace asynclm {
namespace {

ToolSpec tool(const std::string& parameters) {
  ToolSpec spec;
  spec.name = "search";
  spec.parameters = Json::parse(parameters);
  return spec;
}

ArgumentValidator validator(const std::string& parameters) {
  auto compiled = ArgumentValidator::compile(tool(parameters));
  if (!compiled) throw std::runtime_error(compiled.error().message);
  return *compiled;
}

std::string compile_error(const std::string& parameters) {
  auto compiled = ArgumentValidator::compile(tool(parameters));
  return compiled ? "no error" : compiled.error().message;
}

// What check() says: the arguments as JSON, or the error.
std::string check(const ArgumentValidator& validator, std::vector<Json> positional,
                  const std::string& named = "{}") {
  auto result = validator.check(positional, Json::parse(named));
  if (result) return result->dump();
  EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
  return result.error().message;
}

// A schema with one property "x".
std::string check_x(const std::string& schema, const std::string& value) {
  return check(validator(R"({"type": "object", "properties": {"x": )" + schema + "}}"),
               {Json::parse(value)});
}

const char* const kSearch = R"({"type": "object", "properties": {
    "query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1},
    "deep": {"type": "boolean"}}, "required": ["query", "limit"]})";

TEST(ArgumentValidator, PlacesPositionalArgumentsInTheOrderOfTheProperties) {
  const auto v = validator(kSearch);
  EXPECT_EQ(check(v, {"a", 3}), R"({"query":"a","limit":3})");
  EXPECT_EQ(check(v, {"a"}, R"({"deep": true, "limit": 3})"),
            R"({"query":"a","limit":3,"deep":true})");
  EXPECT_EQ(check(v, {}, R"({"limit": 3, "query": "a"})"), R"({"query":"a","limit":3})");
}

TEST(ArgumentValidator, NamesWhatIsWrongWithTheNames) {
  const auto v = validator(kSearch);
  EXPECT_EQ(check(v, {"a", 1, true, 4}),
            R"(too many arguments: got 4, but it takes 3 arguments: "query", "limit", "deep")");
  EXPECT_EQ(check(v, {"a", 1}, R"({"query": "b"})"),
            R"(argument "query" is given twice: by position and by name)");
  EXPECT_EQ(check(v, {}), R"(missing arguments "query", "limit")");
  EXPECT_EQ(check(v, {"a"}), R"(missing argument "limit")");
  EXPECT_EQ(check(v, {"a", 1}, R"({"limt": 2})"),
            R"(unknown argument "limt": the arguments are "query", "limit", "deep")");
  const auto none = validator(R"({"type": "object"})");
  EXPECT_EQ(check(none, {1}), "too many arguments: got 1, but it takes none");
  EXPECT_EQ(check(none, {}, R"({"a": 1})"), R"(unknown argument "a": it takes no arguments)");
  EXPECT_EQ(check(none, {}), "{}");
}

TEST(ArgumentValidator, NamesAreOneShortLine) {
  const auto error =
      check(validator(kSearch), {"a", 1}, Json{{"new\nline" + std::string(5000, 'x'), 1}}.dump());
  EXPECT_LT(error.size(), 160U);
  EXPECT_EQ(error.find('\n'), std::string::npos);
}

TEST(ArgumentValidator, UnknownNamesPassOnlyWhereTheSchemaSaysSo) {
  EXPECT_EQ(check(validator(R"({"type": "object", "additionalProperties": {"type": "string"}})"),
                  {}, R"({"a": "b"})"),
            R"({"a":"b"})");
  EXPECT_EQ(check(validator(R"({"type": "object", "additionalProperties": {"type": "string"}})"),
                  {}, R"({"a": 1})"),
            R"(argument "a": expected string, got integer)");
}

TEST(ArgumentValidator, TypesAreStrict) {
  EXPECT_EQ(check_x(R"({"type": "integer"})", R"("3")"),
            R"(argument "x": expected integer, got string)");
  EXPECT_EQ(check_x(R"({"type": "string"})", "null"), R"(argument "x": expected string, got null)");
  EXPECT_EQ(check_x(R"({"type": "boolean"})", "1"),
            R"(argument "x": expected boolean, got integer)");
  EXPECT_EQ(check_x(R"({"type": ["number", "null"]})", "[]"),
            R"(argument "x": expected null or number, got array)");
  EXPECT_EQ(check_x(R"({"anyOf": [{"type": "string"}, {"type": "null"}]})", "1"),
            R"(argument "x": expected null or string, got integer)");
  EXPECT_EQ(check_x("false", "1"), R"(argument "x": is not allowed)");
  EXPECT_EQ(check_x("true", "1"), R"({"x":1})");
}

TEST(ArgumentValidator, WholeNumbersAreIntegers) {
  EXPECT_EQ(check_x(R"({"type": "integer"})", "3.0"), R"({"x":3})");
  EXPECT_EQ(check_x(R"({"type": "integer"})", "3.5"),
            R"(argument "x": expected integer, got number)");
  EXPECT_EQ(check_x(R"({"type": "number"})", "3.0"), R"({"x":3.0})");
  EXPECT_EQ(check_x(R"({"type": "number"})", "3"), R"({"x":3})");
  EXPECT_EQ(check_x(R"({"anyOf": [{"type": "integer"}, {"type": "null"}]})", "3.0"), R"({"x":3})");
  EXPECT_EQ(check_x(R"({"type": "array", "items": {"type": "integer"}})", "[1.0, 2]"),
            R"({"x":[1,2]})");
}

TEST(ArgumentValidator, SaysWhatValuesAreAllowed) {
  EXPECT_EQ(check_x(R"({"enum": ["a", "b", 1]})", R"("c")"),
            R"(argument "x": must be one of "a", "b", 1, got "c")");
  EXPECT_EQ(check_x(R"({"const": 1})", "2"), R"(argument "x": must be 1, got 2)");
  EXPECT_EQ(check_x(R"({"minimum": 1})", "0"), R"(argument "x": must be at least 1, got 0)");
  EXPECT_EQ(check_x(R"({"maximum": 1.5})", "2"), R"(argument "x": must be at most 1.5, got 2)");
  EXPECT_EQ(check_x(R"({"exclusiveMinimum": 1})", "1"), R"(argument "x": must be above 1, got 1)");
  EXPECT_EQ(check_x(R"({"exclusiveMaximum": 1})", "1"), R"(argument "x": must be below 1, got 1)");
  EXPECT_EQ(check_x(R"({"multipleOf": 2})", "2.5"),
            R"(argument "x": must be a multiple of 2.0, got 2.5)");
  EXPECT_EQ(check_x(R"({"multipleOf": 2})", "4"), R"({"x":4})");
  EXPECT_EQ(check_x(R"({"minLength": 2})", R"("ä")"),
            R"(argument "x": must have at least 2 characters, got 1)");
  EXPECT_EQ(check_x(R"({"maxItems": 1})", "[1, 2]"),
            R"(argument "x": must have at most 1 items, got 2)");
  EXPECT_EQ(check_x(R"({"uniqueItems": true})", "[1, 2, 1]"),
            R"(argument "x": must not have 1 twice)");
  EXPECT_EQ(check_x(R"({"pattern": "^[a-z]+$"})", R"("A")"),
            R"(argument "x": must match "^[a-z]+$", got "A")");
  EXPECT_EQ(check_x(R"({"pattern": "^[a-z]+$"})", R"("abc")"), R"({"x":"abc"})");
  EXPECT_EQ(check_x(R"({"not": {"const": 1}})", "1"), "arguments: do not fit the tool's schema");
  EXPECT_EQ(check_x(R"({"oneOf": [{"minimum": 0}, {"maximum": 9}]})", "5"),
            "arguments: do not fit the tool's schema");
}

TEST(ArgumentValidator, PathsLeadToTheValue) {
  const char* const schema = R"({"type": "array", "items": {"type": "object", "properties":
      {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": false}})";
  EXPECT_EQ(check_x(schema, R"([{"id": 1}, {"id": "b"}])"),
            R"(argument "x[1].id": expected integer, got string)");
  EXPECT_EQ(check_x(schema, R"([{}])"), R"(argument "x[0]": must have "id")");
  EXPECT_EQ(check_x(schema, R"([{"id": 1, "b": 2}])"), R"(argument "x[0]": must not have "b")");
}

TEST(ArgumentValidator, FormatIsAnAnnotation) {
  EXPECT_EQ(check_x(R"({"type": "string", "format": "date"})", R"("soon")"), R"({"x":"soon"})");
  // As a property's name it is a name.
  EXPECT_EQ(check(validator(R"({"type": "object", "properties": {"format": {"enum": ["a"]},
                                 "$ref": {"type": "string"}, "id": {"type": "string"}}})"),
                  {"b"}),
            R"(argument "format": must be one of "a", got "b")");
}

TEST(ArgumentValidator, LocalReferencesAreResolved) {
  const auto v = validator(R"({"type": "object", "$defs": {"n": {"type": "integer"}}, "properties":
      {"x": {"$ref": "#/$defs/n", "description": "d"}, "y": {"$ref": "#/$defs/n", "minimum": 5}}})");
  EXPECT_EQ(check(v, {1, 5.0}), R"({"x":1,"y":5})");
  EXPECT_EQ(check(v, {"a"}), R"(argument "x": expected integer, got string)");
  EXPECT_EQ(check(v, {1, 2}), R"(argument "y": must be at least 5, got 2)");
}

TEST(ArgumentValidator, BadSchemasAreErrorsThatNameThePlace) {
  EXPECT_EQ(compile_error(R"({"properties": {}})"),
            "tool \"search\": parameters must be a JSON Schema of an object: {\"type\": "
            "\"object\", \"properties\": {...}}");
  EXPECT_NE(compile_error("[]"), "no error");
  EXPECT_NE(compile_error("null"), "no error");
  EXPECT_NE(compile_error("true"), "no error");
  EXPECT_NE(compile_error(R"({"type": ["object", "null"]})"), "no error");
  const auto of_x = [](const std::string& schema) {
    const std::string prefix = "tool \"search\": parameters.properties.x";
    const std::string error =
        compile_error(R"({"type": "object", "properties": {"x": )" + schema + "}}");
    EXPECT_TRUE(error.starts_with(prefix)) << error;
    return error.substr(std::min(error.size(), prefix.size()));
  };
  EXPECT_EQ(of_x("3"), " must be a schema (an object, true or false), got 3");
  EXPECT_EQ(of_x(R"({"type": "int"})"),
            ".type must be null, boolean, integer, number, string, array or object, got \"int\"");
  EXPECT_EQ(of_x(R"({"enum": []})"), ".enum must be a list of values, got []");
  EXPECT_EQ(of_x(R"({"minimum": "1"})"), ".minimum must be a number, got \"1\"");
  EXPECT_EQ(of_x(R"({"multipleOf": 0})"), ".multipleOf must be a number above 0, got 0");
  EXPECT_EQ(of_x(R"({"minLength": -1})"),
            ".minLength must be a whole number from 0 to 2147483647, got -1");
  EXPECT_EQ(of_x(R"({"maxItems": 1e30})"),
            ".maxItems must be a whole number from 0 to 2147483647, got 1e+30");
  EXPECT_EQ(of_x(R"({"required": "a"})"), ".required must be a list of names, got \"a\"");
  EXPECT_EQ(of_x(R"({"anyOf": [true, 1]})"),
            ".anyOf[1] must be a schema (an object, true or false), got 1");
  EXPECT_EQ(of_x(R"({"prefixItems": []})"),
            ".prefixItems is not supported; remove it or use draft 7");
  EXPECT_EQ(of_x(R"({"$ref": "http://x/y"})"),
            ".$ref \"http://x/y\" leads outside the schema; only #/… is possible");
  EXPECT_EQ(of_x(R"({"$ref": "#/$defs/none"})"), ".$ref \"#/$defs/none\" is not in the schema");
  EXPECT_EQ(of_x(R"({"$ref": "#nowhere"})"), ".$ref \"#nowhere\" is not in the schema");
  EXPECT_EQ(compile_error(R"({"type": "object", "required": ["a"]})"),
            "tool \"search\": parameters.required names \"a\", which is not in "
            "parameters.properties; add it there");
}

TEST(ArgumentValidator, HostileSchemasAreErrors) {
  Json deep = Json::object();
  for (int i = 0; i < 40; ++i) deep = Json{{"not", std::move(deep)}};
  EXPECT_NE(compile_error(deep.dump()).find("nested deeper than 32"), std::string::npos);

  EXPECT_NE(compile_error(R"({"type": "object", "properties": {"x": {"$ref": "#"}}})")
                .find("nested deeper than 32 levels; flatten it (is a $ref recursive?)"),
            std::string::npos);
  EXPECT_NE(compile_error(R"({"$ref": "#"})").find("nested deeper"), std::string::npos);

  // Doubles at each of 24 levels.
  Json doubling{{"type", "object"}, {"$defs", Json::object()}};
  for (int i = 0; i < 24; ++i) {
    const Json next{{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    doubling["$defs"]["d" + std::to_string(i)] = Json{{"allOf", Json::array({next, next})}};
  }
  doubling["$defs"]["d24"] = true;
  doubling["allOf"] = Json::array({Json{{"$ref", "#/$defs/d0"}}});
  EXPECT_NE(compile_error(doubling.dump()).find("nested deeper"), std::string::npos);
  doubling["allOf"] = Json::array({Json{{"$ref", "#/$defs/d12"}}});
  EXPECT_NE(compile_error(doubling.dump()).find("more than 10000 parts"), std::string::npos);

  EXPECT_NE(compile_error(Json{{"type", "object"}, {"title", std::string(70'000, 'x')}}.dump())
                .find("at most 65536 are possible"),
            std::string::npos);

  ToolSpec bad;
  bad.name = "search";
  bad.parameters["properties"]["\xff"] = true;
  auto compiled = ArgumentValidator::compile(bad);
  ASSERT_FALSE(compiled);
  EXPECT_EQ(compiled.error().message,
            "tool \"search\": parameters has text that is not valid UTF-8");
}

TEST(ArgumentValidator, HostilePatternsAreErrorsOrQuick) {
  const auto pattern_error = [](const std::string& pattern) {
    return compile_error(
        Json{{"type", "object"}, {"properties", {{"x", {{"pattern", pattern}}}}}}.dump());
  };
  EXPECT_NE(pattern_error("(").find("is not a regular expression"), std::string::npos);
  EXPECT_NE(pattern_error("(a)\\1").find("without back-references"), std::string::npos);
  EXPECT_NE(pattern_error(std::string(300, '(')).find("longer than 256"), std::string::npos);
  // Exponential, so that this test would not end.
  const std::string as(1000, 'a');
  for (const char* pattern : {"^(a+)+b$", "^(a|aa)+b$", "(((a{0,30}){0,30}){0,30})*b"}) {
    EXPECT_EQ(check_x(Json{{"pattern", pattern}}.dump(), Json(as).dump()),
              "arguments: a pattern of the tool's schema takes too long to check");
  }
  const Json large(std::string(1'000'000, 'a'));
  // Neither the time nor the stack of an honest pattern grows out of bounds with the subject.
  EXPECT_EQ(check_x(R"({"pattern": "^[a-z]+$"})", large.dump()).size(), 1'000'008U);  // {"x":"…"}
  EXPECT_EQ(check_x(R"({"pattern": "^(?:a|b)*$"})", large.dump()).size(), 1'000'008U);
}

TEST(ArgumentValidator, HostileArgumentsAreErrors) {
  const char* const anything = R"({"type": "object", "properties": {"x": true}})";
  Json deep = Json::array();
  for (int i = 0; i < 100; ++i) deep = Json::array({std::move(deep)});
  EXPECT_EQ(check(validator(anything), {deep}), "arguments: nested too deeply");
  EXPECT_EQ(check(validator(anything), {std::numeric_limits<double>::infinity()}),
            R"(argument "x": a number is out of range)");
  EXPECT_EQ(check(validator(anything), {std::numeric_limits<std::uint64_t>::max()}),
            R"(argument "x": a number is out of range)");
  EXPECT_EQ(check(validator(anything), {}, "[]"), "arguments: expected an object");
  // A validator that lists every pair of equal items would need gigabytes.
  EXPECT_EQ(check_x(R"({"uniqueItems": true})", Json(std::vector<int>(5000, 7)).dump()),
            R"(argument "x": must not have 7 twice)");
}

}  // namespace
}  // namespace asynclm
