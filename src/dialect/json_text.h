// SPDX-License-Identifier: Apache-2.0
// JSON values whose numbers stay as they were written. A call's arguments are run by somebody's
// program: an id above 2^53 or an amount such as 0.10 must reach it digit by digit, which no value
// that goes through a double can promise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/protocol.h>

namespace asynclm::dialect {

// Deeper values are refused by whatever reads or checks one.
inline constexpr int kMaxValueLevels = 64;

struct JsonMember;

struct JsonText {
  enum class Kind : std::uint8_t { null, boolean, number, string, array, object };

  Kind kind = Kind::null;
  bool truth = false;               // of a boolean
  std::string text;                 // a string's bytes; a number in JSON's spelling
  std::vector<JsonText> items;      // of an array
  std::vector<JsonMember> members;  // of an object, in the order written; no name twice

  [[nodiscard]] bool is(Kind wanted) const { return kind == wanted; }
  // The member of that name; null where there is none.
  [[nodiscard]] const JsonText* find(std::string_view name) const;
  [[nodiscard]] JsonText* find(std::string_view name);
};

struct JsonMember {
  std::string name;
  JsonText value;
};

[[nodiscard]] JsonText json_string(std::string text);
[[nodiscard]] JsonText json_number(std::string text);  // in JSON's spelling
[[nodiscard]] JsonText json_object();

// A number as JSON spells it, from a spelling that JSON or Python has: "+1", ".5", "5." and "1_000"
// lose what JSON does not know; "007", "1__0" and "0x1f" are no numbers here. Empty if it is none.
[[nodiscard]] std::optional<std::string> normal_number(std::string_view text);

[[nodiscard]] bool is_integer_text(std::string_view number);  // neither '.' nor exponent

// The integer that a number is: "230.0" is "230", "1e3" is "1000". Empty if it has a fraction or
// more than 400 digits.
[[nodiscard]] std::optional<std::string> whole_number(std::string_view number);

// Whether all strings and names are valid UTF-8, which JSON text must be.
[[nodiscard]] bool is_utf8(const JsonText& value);

// JSON text without spaces; numbers as written. Needs is_utf8().
[[nodiscard]] std::string write_json(const JsonText& value);

// As the JSON library holds it: integers beyond 64 bits become the double next to them.
[[nodiscard]] Json to_json(const JsonText& value);
// For a check against a schema: integers beyond 64 bits become the largest or smallest of those,
// and so stay integers.
[[nodiscard]] Json to_checkable_json(const JsonText& value);

// Equal as JSON values: objects whatever the order of their members, integers digit by digit, other
// numbers by value.
[[nodiscard]] bool same_value(const JsonText& a, const JsonText& b);

}  // namespace asynclm::dialect
