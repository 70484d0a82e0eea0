// SPDX-License-Identifier: Apache-2.0
// Literal values: JSON, Python and Gemma's braces in one tolerant reader. What has one reading only
// is read (single quotes, True, a raw line break in a string, a comma that is missing between two
// complete values, brackets that are missing before a closing mark); what would be a guess is
// malformed (quotes that are not escaped, names given twice, anything computed).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "dialect/forms.h"
#include "dialect/json_text.h"
#include "dialect/reader_task.h"

namespace asynclm::dialect {

// What stands at an offset of the input; nothing here moves `at`.
class Lookahead {
 public:
  explicit Lookahead(Input& input) : in(input) {}

  [[nodiscard]] Task<bool> looks_at(std::size_t offset, std::string_view literal);
  // The mark that begins there, or null. Looks no further than it must.
  [[nodiscard]] Task<const Mark*> mark_at(std::size_t offset);
  // Whether the answer ends within a closing mark that begins there.
  [[nodiscard]] Task<bool> torn_close_at(std::size_t offset);
  // The first byte that is no space, or no space or tab.
  [[nodiscard]] Task<std::size_t> after_space(std::size_t offset);
  [[nodiscard]] Task<std::size_t> after_blanks(std::size_t offset);
  // Whether the turn ends there: an end token, or the answer's end if that was the model's own.
  [[nodiscard]] Task<bool> turn_ends(std::size_t offset);
  // Whether brackets that are open may be taken as closed there: a closing mark or the turn's end.
  [[nodiscard]] Task<bool> closes(std::size_t offset);

  Input& in;
};

enum class Got : std::uint8_t {
  value,
  malformed,
  cut,  // the input ends within it
};

struct ValueSyntax {
  bool braces = false;    // Gemma: names without quotes
  bool one_line = false;  // no raw line break in a string
};

class ValueReader : public Lookahead {
 public:
  explicit ValueReader(Input& input, ValueSyntax syntax = {}) : Lookahead(input), syntax_(syntax) {}

  // Reads one value at `at` and moves behind it.
  [[nodiscard]] Task<Got> value(JsonText& out, int level = 0);

  // The same for an object ('{' stands there); `member` sees each of its own members as it is
  // complete, and ends the reading as malformed by returning false.
  using Member = std::function<bool(const std::string& name, const JsonText& value)>;
  [[nodiscard]] Task<Got> object(JsonText& out, int level, const Member* member);

  // name=value, …) up to and with the bracket.
  [[nodiscard]] Task<Got> python_arguments(JsonText& out);

  // A string at `at`, in any quotes.
  [[nodiscard]] Task<Got> string(std::string& out);

  // Brackets were taken as closed: a closing mark or the turn's end stands at `at`.
  [[nodiscard]] bool closed_early() const { return closed_early_; }

 private:
  struct Quote;

  [[nodiscard]] Task<Got> array(JsonText& out, int level, char close);
  [[nodiscard]] Task<Got> number(JsonText& out);
  [[nodiscard]] Task<Got> word(JsonText& out);
  [[nodiscard]] Task<Got> name(std::string& out);
  [[nodiscard]] Task<bool> quote_at(std::size_t offset, Quote& quote);
  [[nodiscard]] Task<Got> escape(std::string& out, bool python);
  [[nodiscard]] Task<Got> unicode(std::string& out, int digits);
  [[nodiscard]] Task<Got> hex(int digits, std::uint32_t& code);
  [[nodiscard]] Task<Got> unfinished();
  [[nodiscard]] Task<Got> after_member(char close, bool& more);
  [[nodiscard]] Task<Got> after_item(char close, bool string_before, bool& more);

  ValueSyntax syntax_;
  bool closed_early_ = false;
};

// One value that is all of a text, but for spaces around it.
[[nodiscard]] std::optional<JsonText> read_value(std::string_view text);

}  // namespace asynclm::dialect
