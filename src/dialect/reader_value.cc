// SPDX-License-Identifier: Apache-2.0
#include "dialect/reader_value.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/ascii.h"
#include "base/utf8.h"

namespace asynclm::dialect {
namespace {

// Of one object. Whatever looks a member up later does so one by one.
constexpr std::size_t kMaxMembers = 1024;
constexpr std::size_t kMaxNumber = 1024;  // bytes

bool may_be_in_number(int c) {
  return ascii::is_digit(c) || c == '+' || c == '-' || c == '.' || c == '_' || c == 'e' || c == 'E';
}
// Of a name without quotes: an argument of Python's or a key of Gemma's.
bool may_be_in_name(int c) {
  return ascii::is_name_start(c) || ascii::is_digit(c) || c == '-' || c == '.' || c == '$' ||
         c == '@' || c >= 0x80;
}

}  // namespace

Task<bool> Lookahead::looks_at(std::size_t offset, std::string_view literal) {
  for (std::size_t i = 0; i < literal.size(); ++i) {
    const int c = co_await in.peek(offset + i);
    if (c != static_cast<unsigned char>(literal[i])) co_return false;
  }
  co_return true;
}

Task<const Mark*> Lookahead::mark_at(std::size_t offset) {
  auto left = all_marks();
  for (std::size_t length = 0; !left.empty(); ++length) {
    if (left.size() == 1 && left.front().text.size() == length) co_return &left.front();
    const int c = co_await in.peek(offset + length);
    if (c < 0) break;
    const auto byte = [length](const Mark& mark) {
      return static_cast<int>(static_cast<unsigned char>(mark.text[length]));
    };
    const auto same = std::ranges::equal_range(left, c, {}, byte);
    left = {same.begin(), same.end()};
  }
  co_return nullptr;
}

Task<bool> Lookahead::torn_close_at(std::size_t offset) {
  constexpr std::size_t kLeast = 3;  // bytes: "</t"
  std::string rest;
  for (int c = co_await in.peek(offset); c >= 0; c = co_await in.peek(offset + rest.size())) {
    rest += static_cast<char>(c);
    const bool possible = std::ranges::any_of(all_marks(), [&](const Mark& mark) {
      const bool closes = mark.role == MarkRole::block_close || mark.role == MarkRole::call_close ||
                          mark.role == MarkRole::turn_end;
      return closes && mark.text.size() > rest.size() && mark.text.starts_with(rest);
    });
    if (!possible) co_return false;
  }
  co_return rest.size() >= kLeast && !in.limited();
}

Task<std::size_t> Lookahead::after_space(std::size_t offset) {
  while (ascii::is_space(co_await in.peek(offset))) ++offset;
  co_return offset;
}

Task<std::size_t> Lookahead::after_blanks(std::size_t offset) {
  for (int c = ' '; c == ' ' || c == '\t'; ++offset) c = co_await in.peek(offset);
  co_return offset - 1;
}

Task<bool> Lookahead::turn_ends(std::size_t offset) {
  if (co_await in.peek(offset) < 0) co_return in.ending() == Ending::stopped && !in.limited();
  const Mark* mark = co_await mark_at(offset);
  if (mark == nullptr) co_return false;
  co_return mark->role == MarkRole::turn_end || mark->role == MarkRole::harmony_end ||
      mark->role == MarkRole::result_open;
}

Task<bool> Lookahead::closes(std::size_t offset) {
  if (co_await looks_at(offset, "```")) co_return true;
  if (co_await turn_ends(offset)) co_return true;
  const Mark* mark = co_await mark_at(offset);
  if (mark == nullptr) co_return false;
  co_return mark->role == MarkRole::block_close || mark->role == MarkRole::call_close;
}

struct ValueReader::Quote {
  std::string_view end;
  bool escapes = true;
  bool python = false;
};

Task<Got> ValueReader::value(JsonText& out, int level) {
  const int c = co_await in.next();
  if (c < 0) co_return Got::cut;
  if (level >= kMaxValueLevels) co_return Got::malformed;
  if (c == '{') co_return co_await object(out, level, nullptr);
  if (c == '[') co_return co_await array(out, level, ']');
  if (c == '(') co_return co_await array(out, level, ')');
  if (c == '"' || c == '\'' || c == '<') {
    out.kind = JsonText::Kind::string;
    co_return co_await string(out.text);
  }
  if (ascii::is_digit(c) || c == '-' || c == '+' || c == '.') co_return co_await number(out);
  co_return co_await word(out);
}

// The end of the input, or brackets that a closing mark closes.
Task<Got> ValueReader::unfinished() {
  if (co_await closes(in.at)) {
    closed_early_ = true;
    co_return Got::value;
  }
  co_return co_await in.next() < 0 ? Got::cut : Got::malformed;
}

// Behind a member: whether another one follows. `more` is false where the object is complete.
Task<Got> ValueReader::after_member(char close, bool& more) {
  more = false;
  if (closed_early_) co_return Got::value;
  in.at = co_await after_space(in.at);
  const int c = co_await in.next();
  if (c == close) {
    ++in.at;
    co_return Got::value;
  }
  if (c == ',') {
    in.at = co_await after_space(in.at + 1);
    more = co_await in.next() != close;  // a comma may be left over
    if (!more) ++in.at;
    co_return Got::value;
  }
  Quote quote;
  const bool bare = syntax_.braces || close == ')';
  const bool named = co_await quote_at(in.at, quote) || (bare && may_be_in_name(c));
  if (named) {  // a comma is missing
    more = true;
    co_return Got::value;
  }
  co_return co_await unfinished();
}

Task<Got> ValueReader::object(JsonText& out, int level, const Member* member) {
  out.kind = JsonText::Kind::object;
  in.at = co_await after_space(in.at + 1);
  // {{"a": 1}}: some templates show the form with doubled braces, and models copy it.
  const bool doubled = co_await in.next() == '{';
  if (doubled) in.at = co_await after_space(in.at + 1);
  std::set<std::string, std::less<>> names;
  bool more = co_await in.next() != '}';
  if (!more) ++in.at;
  while (more) {
    JsonMember next;
    Got got = co_await name(next.name);
    if (got != Got::value) co_return got;
    in.at = co_await after_space(in.at);
    const int colon = co_await in.next();
    if (colon != ':') co_return colon < 0 ? Got::cut : Got::malformed;
    in.at = co_await after_space(in.at + 1);
    got = co_await value(next.value, level + 1);
    if (got != Got::value) co_return got;
    if (!names.insert(next.name).second || names.size() > kMaxMembers) co_return Got::malformed;
    out.members.push_back(std::move(next));
    if (member != nullptr && !(*member)(out.members.back().name, out.members.back().value))
      co_return Got::malformed;
    got = co_await after_member('}', more);
    if (got != Got::value) co_return got;
  }
  if (doubled && !closed_early_) {
    in.at = co_await after_space(in.at);
    if (co_await in.next() != '}') co_return co_await unfinished();
    ++in.at;
  }
  co_return Got::value;
}

Task<Got> ValueReader::after_item(char close, bool string_before, bool& more) {
  more = false;
  if (closed_early_) co_return Got::value;
  const std::size_t end = in.at;
  in.at = co_await after_space(in.at);
  const int c = co_await in.next();
  if (c == close) {
    ++in.at;
    co_return Got::value;
  }
  if (c == ',') {
    in.at = co_await after_space(in.at + 1);
    more = co_await in.next() != close;
    if (!more) ++in.at;
    co_return Got::value;
  }
  if (co_await closes(in.at)) co_return co_await unfinished();
  // A comma is missing. Two strings side by side could also be one, as in Python or with quotes
  // that are not escaped.
  Quote quote;
  const bool string = co_await quote_at(in.at, quote);
  const bool apart = in.at > end || c == '{' || c == '[';
  more =
      apart && !(string && string_before) &&
      (string || c == '{' || c == '[' || c == '-' || ascii::is_digit(c) || ascii::is_name_start(c));
  if (more) co_return Got::value;
  co_return co_await unfinished();
}

Task<Got> ValueReader::array(JsonText& out, int level, char close) {
  out.kind = JsonText::Kind::array;
  in.at = co_await after_space(in.at + 1);
  bool more = co_await in.next() != close;
  if (!more) ++in.at;
  bool comma = false;
  while (more) {
    JsonText item;
    Got got = co_await value(item, level + 1);
    if (got != Got::value) co_return got;
    const bool string = item.is(JsonText::Kind::string);
    out.items.push_back(std::move(item));
    const std::size_t end = in.at;
    got = co_await after_item(close, string, more);
    if (got != Got::value) co_return got;
    comma = comma || in.view(end, in.at).find(',') != std::string_view::npos;
  }
  // (1) is a number in brackets, (1,) a tuple.
  if (close == ')' && out.items.size() == 1 && !comma) {
    JsonText only = std::move(out.items.front());
    out = std::move(only);
  }
  co_return Got::value;
}

Task<Got> ValueReader::name(std::string& out) {
  Quote quote;
  if (co_await quote_at(in.at, quote)) co_return co_await string(out);
  int c = co_await in.next();
  if (c < 0) co_return Got::cut;
  if (!syntax_.braces) co_return Got::malformed;
  for (; may_be_in_name(c); c = co_await in.next()) {
    out += static_cast<char>(c);
    ++in.at;
  }
  co_return out.empty() ? Got::malformed : Got::value;
}

Task<Got> ValueReader::number(JsonText& out) {
  std::string written;
  int c = co_await in.next();
  for (; may_be_in_number(c) && written.size() < kMaxNumber; c = co_await in.next()) {
    written += static_cast<char>(c);
    ++in.at;
  }
  // At the end of the input more digits may have been to come.
  if (c < 0 && in.ending() != Ending::stopped) co_return Got::cut;
  auto number = normal_number(written);
  if (!number || ascii::is_name_start(c)) co_return Got::malformed;
  out = json_number(std::move(*number));
  co_return Got::value;
}

Task<Got> ValueReader::word(JsonText& out) {
  std::string written;
  int c = co_await in.next();
  for (; ascii::is_name_start(c) && written.size() <= 5; c = co_await in.next()) {
    written += static_cast<char>(c);
    ++in.at;
  }
  if (written == "true" || written == "True" || written == "false" || written == "False") {
    out.kind = JsonText::Kind::boolean;
    out.truth = written.back() == 'e' && (written.front() == 't' || written.front() == 'T');
    co_return Got::value;
  }
  if (written == "null" || written == "None") co_return Got::value;
  co_return c < 0 ? Got::cut : Got::malformed;
}

Task<bool> ValueReader::quote_at(std::size_t offset, Quote& quote) {
  const int c = co_await in.peek(offset);
  if (c == '"' || c == '\'') {
    const std::string_view triple = c == '"' ? R"(""")" : "'''";
    quote.python = c == '\'';
    quote.end = triple.substr(0, 1);
    if (co_await looks_at(offset, triple)) quote = {triple, true, true};
    co_return true;
  }
  if (c != '<') co_return false;
  for (const std::string_view token : {std::string_view("<escape>"), std::string_view("<|\"|>")}) {
    if (!(co_await looks_at(offset, token))) continue;
    quote = {token, false, false};
    co_return true;
  }
  co_return false;
}

Task<Got> ValueReader::string(std::string& out) {
  Quote quote;
  if (!(co_await quote_at(in.at, quote))) co_return Got::malformed;
  in.at += quote.end.size();
  for (;;) {
    const int c = co_await in.next();
    if (c < 0) co_return Got::cut;
    if (c == static_cast<unsigned char>(quote.end[0])) {
      bool ends = quote.end.size() == 1;
      if (!ends) ends = co_await looks_at(in.at, quote.end);
      if (ends) break;
    }
    if (c == '\n' && syntax_.one_line) co_return Got::malformed;
    ++in.at;
    if (c != '\\' || !quote.escapes) {
      out += static_cast<char>(c);
      continue;
    }
    const Got got = co_await escape(out, quote.python);
    if (got != Got::value) co_return got;
  }
  in.at += quote.end.size();
  co_return Got::value;
}

// Behind a backslash.
Task<Got> ValueReader::escape(std::string& out, bool python) {
  const int c = co_await in.next();
  if (c < 0) co_return Got::cut;
  ++in.at;
  constexpr std::string_view kLetters = "ntrbf\\'\"/";
  constexpr std::string_view kMeanings = "\n\t\r\b\f\\'\"/";
  const std::size_t known = kLetters.find(static_cast<char>(c));
  if (known != std::string_view::npos) {
    out += kMeanings[known];
    co_return Got::value;
  }
  if (c == 'u') co_return co_await unicode(out, 4);
  const bool of_python =
      c == 'a' || c == 'v' || c == 'x' || c == 'U' || c == 'N' || ascii::is_digit(c);
  // In JSON these are mistakes of which nobody knows what was meant.
  if (of_python && !python) co_return Got::malformed;
  switch (c) {
    case 'a':
    case 'v':
      out += c == 'a' ? '\a' : '\v';
      co_return Got::value;
    case 'x':
      co_return co_await unicode(out, 2);
    case 'U':
      co_return co_await unicode(out, 8);
    case '\n':
      co_return Got::value;
    default:
      break;
  }
  if (c == 'N' || ascii::is_digit(c)) co_return Got::malformed;
  out += '\\';  // \d, \., \$: Python keeps what it does not know
  out += static_cast<char>(c);
  co_return Got::value;
}

Task<Got> ValueReader::hex(int digits, std::uint32_t& code) {
  code = 0;
  for (int i = 0; i < digits; ++i) {
    const int c = co_await in.next();
    if (c < 0) co_return Got::cut;
    const int digit = ascii::is_digit(c)     ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
    if (digit < 0) co_return Got::malformed;
    code = code * 16 + static_cast<std::uint32_t>(digit);
    ++in.at;
  }
  co_return Got::value;
}

Task<Got> ValueReader::unicode(std::string& out, int digits) {
  std::uint32_t code = 0;
  Got got = co_await hex(digits, code);
  if (got != Got::value) co_return got;
  const bool high = code >= 0xD800 && code < 0xDC00;
  if (high && co_await looks_at(in.at, "\\u")) {
    in.at += 2;
    std::uint32_t low = 0;
    got = co_await hex(4, low);
    if (got != Got::value) co_return got;
    if (low < 0xDC00 || low > 0xDFFF) co_return Got::malformed;
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  }
  if (!is_unicode(code)) co_return Got::malformed;
  append_utf8(code, out);
  co_return Got::value;
}

Task<Got> ValueReader::python_arguments(JsonText& out) {
  out.kind = JsonText::Kind::object;
  std::set<std::string, std::less<>> names;
  in.at = co_await after_space(in.at);
  bool more = co_await in.next() != ')';
  if (!more) ++in.at;
  while (more) {
    JsonMember next;
    int c = co_await in.next();
    for (; may_be_in_name(c); c = co_await in.next()) {
      next.name += static_cast<char>(c);
      ++in.at;
    }
    if (next.name.empty()) co_return c < 0 ? Got::cut : Got::malformed;
    in.at = co_await after_space(in.at);
    c = co_await in.next();
    if (c != '=') co_return c < 0 ? Got::cut : Got::malformed;  // by position
    in.at = co_await after_space(in.at + 1);
    Got got = co_await value(next.value);
    if (got != Got::value) co_return got;
    if (!names.insert(next.name).second || names.size() > kMaxMembers) co_return Got::malformed;
    out.members.push_back(std::move(next));
    got = co_await after_member(')', more);
    if (got != Got::value) co_return got;
  }
  co_return Got::value;
}

std::optional<JsonText> read_value(std::string_view text) {
  Input input;
  input.append(text);
  input.complete(Ending::stopped);
  ValueReader reader(input);
  JsonText out;
  const auto whole = [](ValueReader& values, JsonText& into) -> Task<bool> {
    values.in.at = co_await values.after_space(0);
    if (co_await values.value(into) != Got::value || values.closed_early()) co_return false;
    values.in.at = co_await values.after_space(values.in.at);
    co_return co_await values.in.next() < 0;
  };
  Frames frames;
  Task<bool> task = whole(reader, out);
  task.start(frames);
  input.run(frames);
  if (!task.await_resume()) return std::nullopt;
  return out;
}

}  // namespace asynclm::dialect
