// SPDX-License-Identifier: Apache-2.0
#include "cml/call_syntax.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/utf8.h"

namespace asynclm {
namespace {

using namespace std::string_literals;

// The error's words, or what was understood.
std::string parsed(std::string_view code) {
  const auto call = parse_call(code);
  if (!call) {
    EXPECT_EQ(call.error().code, ErrorCode::invalid_argument);
    EXPECT_EQ(find_invalid_utf8(call.error().message), call.error().message.size());
    return call.error().message;
  }
  return call->name + Json(call->positional).dump() + call->named.dump();
}

// The value of `f(literal)`, or the error's words.
Json value(const std::string& literal) {
  const auto call = parse_call("f(" + literal + ")");
  if (!call) return "error: " + call.error().message;
  EXPECT_EQ(call->positional.size(), 1U) << literal;
  return call->positional.empty() ? Json() : call->positional[0];
}

// Python's double or single quotes around `inside`.
std::string text(const std::string& inside) {
  const Json v = value("'" + inside + "'");
  return v.is_string() ? v.get<std::string>() : "not a string";
}

TEST(CallSyntax, Forms) {
  EXPECT_EQ(parsed("f()"), "f[]{}");
  EXPECT_EQ(parsed("  f ( ) \n"), "f[]{}");
  EXPECT_EQ(parsed("_f2(1, 'two')"), R"(_f2[1,"two"]{})");
  EXPECT_EQ(parsed("f(1, b=2, a=3)"), R"(f[1]{"b":2,"a":3})");
  EXPECT_EQ(parsed("f(a = 1 , )"), R"(f[]{"a":1})");
  EXPECT_EQ(parsed("f(\n  a=[1,\n  2],\n)"), R"(f[]{"a":[1,2]})");
  EXPECT_EQ(parsed("f(True, None=1)"), R"(f[true]{"None":1})");  // the schema knows no such name
}

TEST(CallSyntax, Literals) {
  EXPECT_EQ(value("True"), Json(true));
  EXPECT_EQ(value("False"), Json(false));
  EXPECT_EQ(value("None"), Json(nullptr));
  EXPECT_EQ(value("true"), Json(true));
  EXPECT_EQ(value("false"), Json(false));
  EXPECT_EQ(value("null"), Json(nullptr));
  EXPECT_EQ(value("[]"), Json::array());
  EXPECT_EQ(value("{}"), Json::object());
  EXPECT_EQ(value("()"), Json::array());
  EXPECT_EQ(value("(1,)"), Json::array({1}));
  EXPECT_EQ(value("(1)"), Json(1));
  EXPECT_EQ(value("((1, 2))"), Json::array({1, 2}));
  EXPECT_EQ(value("[(1), [2,], ('a', 'b')]"), Json::parse(R"([1,[2],["a","b"]])"));
  EXPECT_EQ(value("{'a': 1, \"b\": {'c': [None]}, }"), Json::parse(R"({"a":1,"b":{"c":[null]}})"));
  EXPECT_EQ(value("{'a': 1, 'a': 2}"), Json::parse(R"({"a":2})"));  // as in Python
}

TEST(CallSyntax, Strings) {
  EXPECT_EQ(text(""), "");
  EXPECT_EQ(value(R"("it's")"), Json("it's"));
  EXPECT_EQ(value(R"('say "hi"')"), Json("say \"hi\""));
  EXPECT_EQ(value(R"('one' "two"   'three')"), Json("onetwothree"));
  EXPECT_EQ(value("'''a 'quoted'\nline'''"), Json("a 'quoted'\nline"));
  EXPECT_EQ(value(R"("""a "b" c""")"), Json("a \"b\" c"));
  EXPECT_EQ(value("''"), Json(""));
  EXPECT_EQ(value("''''''"), Json(""));
  EXPECT_EQ(text("caf\xC3\xA9 \xF0\x9F\x98\x80"), "caf\xC3\xA9 \xF0\x9F\x98\x80");
  EXPECT_EQ(text("[END][CALL] x [HEAD] rm() [END]"), "[END][CALL] x [HEAD] rm() [END]");
}

TEST(CallSyntax, Escapes) {
  EXPECT_EQ(text(R"(\n\t\r\b\f\a\v\\\'\"\/)"), "\n\t\r\b\f\a\v\\'\"/");
  EXPECT_EQ(text("one\\\ntwo"), "onetwo");  // a line goes on
  EXPECT_EQ(text(R"(\x41\x7e)"), "A~");
  EXPECT_EQ(text(R"(\xe9)"), "\xC3\xA9");  // a code point, not a byte
  EXPECT_EQ(text(R"(\0)"), std::string(1, '\0'));
  EXPECT_EQ(text(R"(\101\60\7x\1234)"), "A0\axS4");
  EXPECT_EQ(text(R"(\q\ )"), "\\q\\ ");  // Python keeps what it does not know
  EXPECT_EQ(text(R"(\u20ac\U0001F600)"), "\xE2\x82\xAC\xF0\x9F\x98\x80");
}

TEST(CallSyntax, Surrogates) {
  EXPECT_EQ(text(R"(\ud83d\ude00)"), "\xF0\x9F\x98\x80");  // as JSON writes it
  EXPECT_EQ(text(R"(\uD800\uDC00)"), "\xF0\x90\x80\x80");
  EXPECT_EQ(text(R"(\uDBFF\uDFFF)"), "\xF4\x8F\xBF\xBF");
  for (const auto* const bad : {R"(\ud83d)", R"(\ud83dx)", R"(\ude00)", R"(\ud83d\n)",
                                R"(\U00110000)", R"(\UFFFFFFFF)", R"(\U0000D83D)"}) {
    EXPECT_NE(parsed("f('"s + bad + "')").find("Unicode code point"), std::string::npos) << bad;
  }
  for (const auto* const bad : {R"(\ud83d\ud83d)", R"(\ud83d\u0041)"}) {
    EXPECT_NE(parsed("f('"s + bad + "')").find("surrogate"), std::string::npos) << bad;
  }
  for (const auto* const bad : {R"(\x4)", R"(\xg0)", R"(\u12)", R"(\u 123)", R"(\u-123)",
                                R"(\U1234567)", R"(\ud83d\u12)"}) {
    EXPECT_NE(parsed("f('"s + bad + "')").find("hexadecimal"), std::string::npos) << bad;
  }
}

TEST(CallSyntax, Numbers) {
  EXPECT_EQ(value("0"), Json(0));
  EXPECT_EQ(value("-17"), Json(-17));
  EXPECT_EQ(value("+17"), Json(17));
  EXPECT_EQ(value("1_000_000"), Json(1000000));
  EXPECT_EQ(value("9223372036854775807"), Json(std::numeric_limits<std::int64_t>::max()));
  EXPECT_EQ(value("-9223372036854775808"), Json(std::numeric_limits<std::int64_t>::min()));
  EXPECT_TRUE(value("-0").is_number_integer());
  EXPECT_EQ(value("1.5"), Json(1.5));
  EXPECT_EQ(value(".5"), Json(0.5));
  EXPECT_EQ(value("5."), Json(5.0));
  EXPECT_TRUE(value("5.").is_number_float());
  EXPECT_EQ(value("1e3"), Json(1000.0));
  EXPECT_EQ(value("1E-3"), Json(0.001));
  EXPECT_EQ(value("-2.5e+10"), Json(-2.5e10));
  EXPECT_EQ(value("1.7976931348623157e308"), Json(std::numeric_limits<double>::max()));
  EXPECT_EQ(value("5e-324"), Json(std::numeric_limits<double>::denorm_min()));
  // An integer that no 64 bits hold is the nearest real number.
  EXPECT_EQ(value("9223372036854775808"), Json(9223372036854775808.0));
  EXPECT_EQ(value("-9223372036854775809"), Json(-9223372036854775808.0));
}

TEST(CallSyntax, WhatIsNoNumber) {
  for (const auto* const bad :
       {"-", "+", ".", "1.2.3", "--1", "+-1", "1e", "1e+", "e5", "1e999", "-1e999", "0x10", "1j",
        "1-2", "1+2", "inf", "nan", "-inf", "1 2"}) {
    const Json v = value(bad);
    ASSERT_TRUE(v.is_string()) << bad;
    EXPECT_TRUE(v.get<std::string>().starts_with("error: column ")) << bad << ": " << v;
  }
}

TEST(CallSyntax, ErrorsNameTheColumn) {
  EXPECT_EQ(parsed(""), "the call block is empty");
  EXPECT_EQ(parsed(" \n"), "the call block is empty");
  EXPECT_EQ(parsed("1f()"), "column 1: expected a function name, found '1'");
  EXPECT_EQ(parsed("f"), "column 2: expected '(' after the function name, found the end");
  EXPECT_EQ(parsed("f["), "column 2: expected '(' after the function name, found '['");
  EXPECT_EQ(parsed("a.b()"), "column 2: expected '(' after the function name, found '.'");
  EXPECT_EQ(parsed("f("), "column 3: expected a value, found the end");
  EXPECT_EQ(parsed("f(1"), "column 4: expected ',' or ')' after an argument, found the end");
  EXPECT_EQ(parsed("f(1 2)"), "column 5: expected ',' or ')' after an argument, found '2'");
  EXPECT_EQ(parsed("f() g()"), "column 5: expected nothing after the closing ')', found 'g'");
  EXPECT_EQ(parsed("f(a=1, 2)"),
            "column 8: expected a named argument after a named one, found '2'");
  EXPECT_EQ(parsed("f(a=1, a=2)"), "argument 'a' is given twice");
  EXPECT_EQ(parsed(R"({"name": "f", "arguments": {"a": 1, "a": 2}})"), "key \"a\" is given twice");
  EXPECT_EQ(parsed(R"({"name": "f", "name": "g", "arguments": {}})"),
            "key \"name\" is given twice");
  EXPECT_EQ(parsed("f(a=)").substr(0, 10), "column 5: ");
  EXPECT_EQ(parsed("f(,)").substr(0, 10), "column 3: ");
  EXPECT_EQ(parsed("f([1)"), "column 5: expected ',' or ']', found ')'");
  EXPECT_EQ(parsed("f([1"), "column 5: expected ',' or ']', found the end");
  EXPECT_EQ(parsed("f((1]"), "column 5: expected ',' or ')', found ']'");
  EXPECT_EQ(parsed("f({1: 2})"), "column 4: expected a string as key, found '1'");
  EXPECT_EQ(parsed("f({'a' 2})"), "column 8: expected ':' after a key, found '2'");
  EXPECT_EQ(parsed("f({'a': 2"), "column 10: expected ',' or '}', found the end");
  EXPECT_EQ(parsed("f('abc"), "column 7: expected a closing ', found the end");
  EXPECT_EQ(parsed("f('abc\\"), "column 8: expected a character after '\\', found the end");
  EXPECT_EQ(parsed("f('''abc''"), "column 11: expected a closing ''', found the end");
  EXPECT_EQ(parsed("f('ab\nc')"), "column 6: expected a closing ', found the end of the line");
}

TEST(CallSyntax, ErrorsStayOneLineOfText) {
  EXPECT_EQ(parsed("f(\xC3\xA9)"),
            "column 3: expected a literal value (number, string, True, False, None, list or dict), "
            "found '\xC3\xA9'");
  EXPECT_EQ(parsed("f(1\x01"),
            "column 4: expected ',' or ')' after an argument, found a control character");
  EXPECT_EQ(parsed("f('\xC3')"), "column 4: the bytes are not valid UTF-8");
  EXPECT_EQ(parsed("f(1)\xFF"), "column 5: the bytes are not valid UTF-8");
  EXPECT_EQ(parsed("{\"name\": \"\xFF\"}"), "column 11: the bytes are not valid UTF-8");
}

TEST(CallSyntax, NothingIsEvaluated) {
  for (const auto* const code : {"f(x)",
                                 "f(1+1)",
                                 "f(g())",
                                 "f('a'*1000000000)",
                                 "f([i for i in a])",
                                 "f(a.b)",
                                 "f(x[0])",
                                 "f(lambda: 1)",
                                 "f(not True)",
                                 "f(*a)",
                                 "f(**a)",
                                 "f(a:=1)",
                                 "f(f'{x}')",
                                 "f(b'x')",
                                 "f(r'x')",
                                 "f(...)",
                                 "f({1, 2})",
                                 "f({**a})",
                                 "__import__('os').system('rm')",
                                 "f(1); g(2)",
                                 "f(a==1)",
                                 "f(1)(2)",
                                 "f(1 if True else 2)",
                                 "f(-'a')",
                                 "f(#\n1)"}) {
    EXPECT_FALSE(parse_call(code).has_value()) << code;
  }
}

TEST(CallSyntax, NestingIsLimited) {
  const auto nested = [](const std::string& open, const std::string& close, int levels) {
    std::string out;
    for (int i = 0; i < levels; ++i) out += open;
    out += "1";
    for (int i = 0; i < levels; ++i) out += close;
    return out;
  };
  for (const auto& [open, close] :
       {std::pair{"["s, "]"s}, std::pair{"("s, ",)"s}, std::pair{"{'a':"s, "}"s}}) {
    EXPECT_TRUE(parse_call("f(" + nested(open, close, 64) + ")").has_value()) << open;
    EXPECT_NE(parsed("f(" + nested(open, close, 65) + ")").find("at most 64 levels"),
              std::string::npos)
        << open;
    EXPECT_FALSE(parse_call("f(" + nested(open, "", 100'000)).has_value()) << open;
  }
  EXPECT_TRUE(parse_call(R"({"name":"f","arguments":{"a":)" + nested("[", "]", 60) + "}}"));
  for (const int levels : {65, 100'000}) {
    EXPECT_EQ(parsed(R"({"name":"f","arguments":{"a":)" + nested("[", "]", levels) + "}}"),
              "the JSON is nested too deeply");
  }
  // Brackets in strings are no levels.
  EXPECT_TRUE(
      parse_call(R"({"name":"f","arguments":{"a":")" + std::string(1000, '[') + "\\\"[\"}}"));
}

TEST(CallSyntax, Json) {
  EXPECT_EQ(parsed(R"({"name": "f"})"), "f[]{}");
  EXPECT_EQ(parsed(R"( {"name": "f", "arguments": {"b": [1, {"c": null}], "a": "x"}} )"),
            R"(f[]{"b":[1,{"c":null}],"a":"x"})");
  EXPECT_EQ(parsed(R"({"arguments": {}, "name": "f"})"), "f[]{}");
}

TEST(CallSyntax, JsonErrors) {
  EXPECT_EQ(parsed(R"({"name": "f")"), "column 13: the call is not valid JSON");
  EXPECT_EQ(parsed(R"({'name': 'f'})"), "column 2: the call is not valid JSON");
  EXPECT_EQ(parsed(R"({"name": "f"} f())"), "column 16: the call is not valid JSON");
  EXPECT_EQ(parsed(R"({"name": "f", "arguments": {"a": NaN}})"),
            "column 34: the call is not valid JSON");
  EXPECT_EQ(parsed(R"({"name": "f", "arguments": {"a": "\ud800"}})").substr(0, 7), "column ");
  EXPECT_EQ(parsed(R"({"name": "f", "arguments": {"a": 1e999}})"),
            "a number of the JSON call is out of range");
  for (const auto* const code : {R"({})", R"({"name": 1})", R"({"arguments": {}})"}) {
    EXPECT_EQ(parsed(code), "a JSON call needs \"name\", a string") << code;
  }
  for (const auto* const code :
       {R"({"name": "f", "arguments": []})", R"({"name": "f", "arguments": "{}"})",
        R"({"name": "f", "id": 1})", R"({"name": "f", "arguments": {}, "id": 1})"}) {
    EXPECT_EQ(parsed(code), R"(a JSON call is {"name": …, "arguments": {…}} and nothing else)")
        << code;
  }
}

TEST(CallSyntax, FormatsAsTheModelIsTaught) {
  const Json arguments = Json::parse(
      R"({"path": "a \"b\"", "n": -3, "x": 1.0, "on": true, "off": false, "no": null,
          "list": [1, "a", []], "map": {"k": {"a b": true}}})");
  EXPECT_EQ(format_call("f", arguments),
            R"(f(path="a \"b\"",n=-3,x=1.0,on=True,off=False,no=None,list=[1,"a",[]],)"
            R"(map={"k":{"a b":True}}))");
  EXPECT_EQ(format_call("f", Json::object()), "f()");
}

// A random value; its strings hold control characters, quotes, markers and characters of all
// widths.
Json random_value(Random& random, int depth) {
  const int kind = random.between(0, depth > 0 ? 7 : 5);
  switch (kind) {
    case 0:
      return nullptr;
    case 1:
      return random.chance(0.5);
    case 2:
      return static_cast<std::int64_t>(random.next());
    case 3:
      return random.between(-9, 9);
    case 4: {
      const double number = std::ldexp(random.uniform() - 0.5, random.between(-1000, 1000));
      return number;
    }
    case 5: {
      std::string out;
      for (int i = random.between(0, 12); i > 0; --i) {
        constexpr std::uint32_t kLimits[] = {0x80, 0x800, 0x10000, 0x110000};
        const auto code = static_cast<std::uint32_t>(random.below(random.pick(kLimits)));
        if (is_unicode(code)) append_utf8(code, out);
        if (random.chance(0.1)) out += "[END]";
      }
      return out;
    }
    case 6: {
      Json out = Json::array();
      for (int i = random.between(0, 4); i > 0; --i) out.push_back(random_value(random, depth - 1));
      return out;
    }
    default: {
      Json out = Json::object();
      for (int i = random.between(0, 4); i > 0; --i) {
        const Json key = random_value(random, 0);
        out[key.is_string() ? key.get<std::string>() : key.dump()] =
            random_value(random, depth - 1);
      }
      return out;
    }
  }
}

TEST(CallSyntax, WhatIsWrittenIsReadBack) {
  Random random(1);
  for (int i = 0; i < 1500; ++i) {
    Json arguments = Json::object();
    for (int n = random.between(0, 4); n > 0; --n) {
      arguments["a" + std::to_string(n)] = random_value(random, 4);
    }
    const std::string code = format_call("f", arguments);
    const auto call = parse_call(code);
    ASSERT_TRUE(call) << code << "\n" << call.error().message;
    ASSERT_EQ(call->name, "f");
    ASSERT_TRUE(call->positional.empty());
    ASSERT_EQ(call->named.dump(), arguments.dump()) << code;

    const Json json = {{"name", "f"}, {"arguments", arguments}};
    const auto from_json = parse_call(json.dump());
    ASSERT_TRUE(from_json) << json;
    ASSERT_EQ(from_json->named.dump(), arguments.dump());
  }
}

// Broken on purpose: whatever comes, it ends and the error is text.
TEST(CallSyntax, SurvivesNoise) {
  const std::string seeds[] = {
      R"(f(a=[1, 2.5e3, 'x\u20ac'], b={"k": (True, None)}, c="""t""" 'u'))",
      R"({"name": "f", "arguments": {"a": [1, {"b": "\ud83d\ude00"}]}})"};
  Random random(2);
  for (int i = 0; i < 5000; ++i) {
    std::string code = random.pick(seeds);
    for (int n = random.between(1, 6); n > 0 && !code.empty(); --n) {
      const std::size_t at = random.below(code.size());
      switch (random.between(0, 3)) {
        case 0:
          code[at] = static_cast<char>(random.below(256));
          break;
        case 1:
          code.erase(at, random.below(4));
          break;
        case 2:
          code.insert(at, 1, random.pick("()[]{}'\"\\,=:-+.eE0_ux"s));
          break;
        default:
          code.resize(at);
      }
    }
    (void)parsed(code);
  }
}

TEST(CallSyntax, Identifiers) {
  for (const auto* const good : {"a", "_", "A1", "a_b", "call_17"}) {
    EXPECT_TRUE(is_identifier(good)) << good;
  }
  for (const auto* const bad :
       {"", "1", "1a", "a b", "a-b", "a.b", "\xC3\xA9", "a\n", " a", "$a"}) {
    EXPECT_FALSE(is_identifier(bad)) << bad;
  }
  EXPECT_TRUE(is_identifier(std::string(64, 'a')));
  EXPECT_FALSE(is_identifier(std::string(65, 'a')));
}

}  // namespace
}  // namespace asynclm
