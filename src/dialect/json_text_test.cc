// SPDX-License-Identifier: Apache-2.0
#include "dialect/json_text.h"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "dialect/reader_value.h"

namespace asynclm::dialect {
namespace {

// The JSON text of a literal; "malformed" where it is none.
std::string json(std::string_view literal) {
  const auto value = read_value(literal);
  return value ? write_json(*value) : "malformed";
}

TEST(JsonText, NumbersStayAsWritten) {
  EXPECT_EQ(json("12345678901234567890123"), "12345678901234567890123");
  EXPECT_EQ(json("0.10"), "0.10");
  EXPECT_EQ(json("-1.50e-7"), "-1.50e-7");
  EXPECT_EQ(json("[+1, .5, 5., 1_000]"), "[1,0.5,5.0,1000]");
  for (const char* none : {"007", "1__0", "_1", "1_", "0x1f", "1e", "--1", ".", "1.2.3", "NaN"})
    EXPECT_EQ(json(none), "malformed") << none;
}

TEST(JsonText, WholeNumbers) {
  EXPECT_EQ(whole_number("230.0"), "230");
  EXPECT_EQ(whole_number("1e3"), "1000");
  EXPECT_EQ(whole_number("-12.50e1"), "-125");
  EXPECT_EQ(whole_number("0.00"), "0");
  EXPECT_EQ(whole_number("-0"), "0");
  EXPECT_EQ(whole_number("100e-2"), "1");
  EXPECT_EQ(whole_number("2.5"), std::nullopt);
  EXPECT_EQ(whole_number("1e-1"), std::nullopt);
  EXPECT_EQ(whole_number("1e999999999999"), std::nullopt);
}

TEST(JsonText, Conversions) {
  EXPECT_EQ(to_json(*read_value("[9223372036854775807, 18446744073709551615, 1.5]")),
            Json::parse("[9223372036854775807, 18446744073709551615, 1.5]"));
  // Stays an integer for a schema.
  EXPECT_TRUE(to_checkable_json(*read_value("-99999999999999999999")).is_number_integer());
  EXPECT_EQ(to_json(*read_value(R"({"a": [null, true, "x", 2.5], "b": {}})")),
            Json::parse(R"({"a": [null, true, "x", 2.5], "b": {}})"));
  EXPECT_EQ(write_json(json_string(std::string("\x01\0\n\"\\", 5))), R"("\u0001\u0000\n\"\\")");
}

TEST(JsonText, SameValue) {
  const auto same = [](std::string_view a, std::string_view b) {
    return same_value(*read_value(a), *read_value(b));
  };
  EXPECT_TRUE(same(R"({"a":1,"b":[1000.0]})", R"({"b":[1e3],"a":1.0})"));
  EXPECT_FALSE(same("1234567890123456789", "1234567890123456788"));
  EXPECT_FALSE(same("1", "true"));
  EXPECT_FALSE(same(R"({"a":1})", R"({"a":1,"b":1})"));
}

TEST(ReaderValue, TwoLanguages) {
  EXPECT_EQ(json(R"({'a': True, "b": None, 'c': false})"), R"({"a":true,"b":null,"c":false})");
  EXPECT_EQ(json("('a', 2,)"), R"(["a",2])");
  EXPECT_EQ(json("(2)"), "2");
  EXPECT_EQ(json("'it\\'s \\x41'"), R"("it's A")");
  EXPECT_EQ(json("'''a\n'b'''"), R"("a\n'b")");
  EXPECT_EQ(json("\"a\nb\tc\""), R"("a\nb\tc")");
  EXPECT_EQ(json(R"("😀")"), "\"😀\"");
  EXPECT_EQ(json(R"("\d+ \$x")"), R"("\\d+ \\$x")");
  EXPECT_EQ(json(R"({{"a": {{"b": 1}}}})"), R"({"a":{"b":1}})");
}

TEST(ReaderValue, Repairs) {
  EXPECT_EQ(json(R"({"a": 1 "b": "x" "c": [] })"), R"({"a":1,"b":"x","c":[]})");
  EXPECT_EQ(json("[{}{}\n{} 1 2]"), "[{},{},{},1,2]");
  EXPECT_EQ(json(R"({"a": 1,})"), R"({"a":1})");
}

TEST(ReaderValue, Refusals) {
  for (const char* none :
       {R"({"a": "say "x" now"})", R"({"a": 1, "a": 2})", R"(["a" "b"])", R"("\ud83d")", "{a: 1}",
        R"({"a" 1})", "[1 2", "f(1)", "1 + 1", R"("C:\apps")", "[1,,2]", "{1: 2}", "", " ", "nul",
        R"({"a": {"b": 1})"}) {
    EXPECT_EQ(json(none), "malformed") << none;
  }
  EXPECT_EQ(json(std::string(100, '[') + std::string(100, ']')), "malformed");
  std::string many = "{";
  for (int i = 0; i < 3000; ++i) many += "\"k" + std::to_string(i) + "\": 1, ";
  EXPECT_EQ(json(many + "}"), "malformed");
}

}  // namespace
}  // namespace asynclm::dialect
