// SPDX-License-Identifier: Apache-2.0
#include "cml/call_syntax.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <format>
#include <set>

#include "base/utf8.h"
#include "cml/future.h"

namespace asynclm {
namespace {

constexpr int kMaxCallLevels = 64;

// Recursive descent over the literal subset of Python's expression grammar.
class LiteralParser {
 public:
  LiteralParser(std::string_view text, bool async_plus) : text_(text), async_plus_(async_plus) {}

  Result<CallSyntax> call() {
    CallSyntax result;
    skip_space();
    auto name = identifier("a function name");
    if (!name) return std::unexpected(name.error());
    result.name = std::move(*name);
    skip_space();
    if (!take('(')) return expected("'(' after the function name");
    skip_space();
    if (async_plus_ && result.name == kCancelFunction) bare_names_ = true;
    while (!take(')')) {
      if (auto ok = argument(result); !ok) return std::unexpected(ok.error());
      skip_space();
      if (take(',')) {
        skip_space();
      } else if (!peek_is(')')) {
        return expected("',' or ')' after an argument");
      }
    }
    skip_space();
    if (position_ != text_.size()) return expected("nothing after the closing ')'");
    return result;
  }

 private:
  std::unexpected<Error> expected(std::string_view what) const {
    return fail(ErrorCode::invalid_argument,
                std::format("column {}: expected {}, found {}", position_ + 1, what, found()));
  }

  // What stands at the position, in words that fit on one line.
  [[nodiscard]] std::string found() const {
    if (position_ >= text_.size()) return "the end";
    if (text_[position_] == '\n') return "the end of the line";
    std::size_t end = position_ + 1;  // the whole of a character of several bytes
    while (end < text_.size() && (static_cast<unsigned char>(text_[end]) & 0xC0) == 0x80) ++end;
    if (static_cast<unsigned char>(text_[position_]) < 0x20) return "a control character";
    return std::format("'{}'", text_.substr(position_, end - position_));
  }

  Result<void> argument(CallSyntax& result) {
    // An identifier followed by a single '=' names the argument; True, None … are literals.
    const std::size_t begin = position_;
    if (position_ < text_.size() && ascii::is_name_start(text_[position_])) {
      auto key = identifier("an argument");
      skip_space();
      if (key && take('=')) {
        skip_space();
        auto value = literal(0);
        if (!value) return std::unexpected(value.error());
        if (result.named.contains(*key)) {
          return fail(ErrorCode::invalid_argument,
                      std::format("argument '{}' is given twice", *key));
        }
        result.named[*key] = std::move(*value);
        return {};
      }
      position_ = begin;
    }
    if (!result.named.empty()) return expected("a named argument after a named one");
    auto value = literal(0);
    if (!value) return std::unexpected(value.error());
    result.positional.push_back(std::move(*value));
    return {};
  }

  Result<std::string> identifier(std::string_view what) {
    const std::size_t begin = position_;
    while (position_ < text_.size() && (ascii::is_name_start(text_[position_]) ||
                                        (position_ > begin && ascii::is_digit(text_[position_])))) {
      ++position_;
    }
    if (position_ == begin) return expected(what);
    return std::string(text_.substr(begin, position_ - begin));
  }

  Result<Json> literal(int depth) {
    if (position_ >= text_.size()) return expected("a value");
    const char c = text_[position_];
    if (c == '"' || c == '\'') return strings();
    if (c == '[' || c == '(' || c == '{') {
      if (depth == kMaxCallLevels)
        return expected(std::format("at most {} levels", kMaxCallLevels));
      return c == '{' ? dict(depth) : list(depth, c, c == '[' ? ']' : ')');
    }
    if (ascii::is_digit(c) || c == '-' || c == '+' || c == '.') return number();
    if (c == '$' && async_plus_) return future();
    if (ascii::is_name_start(c)) {
      const std::size_t begin = position_;
      const auto word = identifier("a value");
      if (bare_names_) return Json(*word);
      if (*word == "True" || *word == "true") return Json(true);
      if (*word == "False" || *word == "false") return Json(false);
      if (*word == "None" || *word == "null") return Json(nullptr);
      position_ = begin;
    }
    return expected("a literal value (number, string, True, False, None, list or dict)");
  }

  Result<Json> future() {
    const std::string_view whole = text_.substr(position_);
    std::string_view rest = whole;
    if (auto read = read_future(rest); !read) {
      position_ += whole.size() - rest.size();
      return fail(read.error().code,
                  std::format("column {}: {}", position_ + 1, read.error().message));
    }
    position_ += whole.size() - rest.size();
    return future_as_json(whole.substr(0, whole.size() - rest.size()));
  }

  // Adjacent string literals are one string, as in Python.
  Result<Json> strings() {
    std::string value;
    while (position_ < text_.size() && (text_[position_] == '"' || text_[position_] == '\'')) {
      if (auto ok = string(value); !ok) return std::unexpected(ok.error());
      skip_space();
    }
    return Json(std::move(value));
  }

  Result<void> string(std::string& out) {
    const char quote = text_[position_];
    const std::string triple(3, quote);
    const bool is_triple = text_.substr(position_, 3) == triple;
    position_ += is_triple ? 3 : 1;
    while (position_ < text_.size()) {
      if (is_triple ? text_.substr(position_, 3) == triple : text_[position_] == quote) {
        position_ += is_triple ? 3 : 1;
        return {};
      }
      if (text_[position_] == '\n' && !is_triple) break;
      if (text_[position_] != '\\') {
        out.push_back(text_[position_++]);
        continue;
      }
      ++position_;
      if (auto ok = escape(out); !ok) return ok;
    }
    return expected(std::format("a closing {}", is_triple ? triple : std::string(1, quote)));
  }

  Result<void> escape(std::string& out) {
    if (position_ >= text_.size()) return expected("a character after '\\'");
    const char c = text_[position_++];
    switch (c) {
      case 'n':
        out.push_back('\n');
        return {};
      case 't':
        out.push_back('\t');
        return {};
      case 'r':
        out.push_back('\r');
        return {};
      case 'b':
        out.push_back('\b');
        return {};
      case 'f':
        out.push_back('\f');
        return {};
      case 'a':
        out.push_back('\a');
        return {};
      case 'v':
        out.push_back('\v');
        return {};
      case '\\':
      case '\'':
      case '"':
      case '/':
        out.push_back(c);
        return {};
      case '\n':
        return {};
      case 'x':
        return unicode(out, 2);
      case 'u':
        return unicode(out, 4);
      case 'U':
        return unicode(out, 8);
      default:
        if (c >= '0' && c <= '7') {
          octal(out, c);
          return {};
        }
        // Python keeps an unknown escape as it is written.
        out.push_back('\\');
        out.push_back(c);
        return {};
    }
  }

  // Up to three digits, of which `first` has been read.
  void octal(std::string& out, char first) {
    auto code = static_cast<std::uint32_t>(first - '0');
    for (int i = 0; i < 2 && position_ < text_.size(); ++i) {
      const char c = text_[position_];
      if (c < '0' || c > '7') break;
      code = code * 8 + static_cast<std::uint32_t>(c - '0');
      ++position_;
    }
    append_utf8(code, out);
  }

  Result<std::uint32_t> hex(std::size_t digits) {
    std::uint32_t code = 0;
    const std::string_view part = text_.substr(position_, digits);
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), code, 16);
    if (part.size() != digits || error != std::errc{} || end != part.data() + part.size()) {
      return expected(std::format("{} hexadecimal digits", digits));
    }
    position_ += digits;
    return code;
  }

  Result<void> unicode(std::string& out, std::size_t digits) {
    auto code = hex(digits);
    if (!code) return std::unexpected(code.error());
    if (*code >= 0xD800 && *code < 0xDC00 && text_.substr(position_, 2) == "\\u") {
      position_ += 2;
      const auto low = hex(4);
      if (!low) return std::unexpected(low.error());
      if (*low < 0xDC00 || *low > 0xDFFF) return expected("the second half of a surrogate pair");
      code = 0x10000 + ((*code - 0xD800) << 10) + (*low - 0xDC00);
    }
    if (!is_unicode(*code)) return expected("a valid Unicode code point");
    append_utf8(*code, out);
    return {};
  }

  Result<Json> number() {
    const std::size_t begin = position_;
    if (peek_is('-') || peek_is('+')) ++position_;
    std::string digits;
    if (text_[begin] == '-') digits.push_back('-');
    bool real = false;
    while (position_ < text_.size()) {
      const char c = text_[position_];
      const bool exponent_sign =
          (c == '-' || c == '+') && !digits.empty() && (digits.back() == 'e');
      if (c == '_') {  // 1_000
      } else if (ascii::is_digit(c) || exponent_sign) {
        digits.push_back(c);
      } else if (c == '.' || c == 'e' || c == 'E') {
        real = true;
        digits.push_back(c == '.' ? '.' : 'e');
      } else {
        break;
      }
      ++position_;
    }
    const char* const first = digits.data();
    const char* const last = first + digits.size();
    if (!real) {
      std::int64_t value = 0;
      const auto [end, error] = std::from_chars(first, last, value);
      if (error == std::errc{} && end == last) return Json(value);
      if (error != std::errc::result_out_of_range) return bad_number(begin);
    }
    double value = 0;
    const auto [end, error] = std::from_chars(first, last, value);
    if (error != std::errc{} || end != last || !std::isfinite(value)) return bad_number(begin);
    return Json(value);
  }

  Result<Json> bad_number(std::size_t begin) {
    position_ = begin;
    return expected("a number");
  }

  // Tuples become lists; a single value in parentheses is that value.
  Result<Json> list(int depth, char open, char close) {
    (void)take(open);
    Json value = Json::array();
    bool comma = false;
    skip_space();
    while (!take(close)) {
      auto item = literal(depth + 1);
      if (!item) return item;
      value.push_back(std::move(*item));
      skip_space();
      comma = take(',');
      if (comma) {
        skip_space();
      } else if (!peek_is(close)) {
        return expected(std::format("',' or '{}'", close));
      }
    }
    if (open == '(' && value.size() == 1 && !comma) return Json(std::move(value[0]));
    return value;
  }

  Result<Json> dict(int depth) {
    (void)take('{');
    Json value = Json::object();
    skip_space();
    while (!take('}')) {
      if (!peek_is('"') && !peek_is('\'')) return expected("a string as key");
      auto key = strings();
      if (!key) return key;
      skip_space();
      if (!take(':')) return expected("':' after a key");
      skip_space();
      auto item = literal(depth + 1);
      if (!item) return item;
      value[key->get<std::string>()] = std::move(*item);
      skip_space();
      if (take(',')) {
        skip_space();
      } else if (!peek_is('}')) {
        return expected("',' or '}'");
      }
    }
    return value;
  }

  [[nodiscard]] bool peek_is(char c) const {
    return position_ < text_.size() && text_[position_] == c;
  }
  bool take(char c) {
    if (!peek_is(c)) return false;
    ++position_;
    return true;
  }
  void skip_space() {
    while (peek_is(' ') || peek_is('\t') || peek_is('\n') || peek_is('\r')) ++position_;
  }

  std::string_view text_;
  bool async_plus_;
  bool bare_names_ = false;  // the arguments of cancel(id)
  std::size_t position_ = 0;
};

}  // namespace

bool nests_deeper(std::string_view json, int levels) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > levels) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

namespace {

Result<CallSyntax> parse_json_call(std::string_view code) {
  if (nests_deeper(code, kMaxCallLevels))
    return fail(ErrorCode::invalid_argument, "the JSON is nested too deeply");
  // Of two arguments of one name nobody knows which was meant. Within a value the last one counts,
  // as in Python.
  std::vector<std::set<std::string>> open;  // the keys of each open object
  std::string twice;
  const auto watch = [&](int, Json::parse_event_t event, Json& key) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && open.size() <= 2 &&
        !open.back().insert(key.get<std::string>()).second) {
      twice = key.get<std::string>();
    }
    return true;
  };
  Json value;
  try {
    value = Json::parse(code, watch);
  } catch (const Json::parse_error& e) {
    return fail(ErrorCode::invalid_argument, std::format("column {}: the call is not valid JSON",
                                                         std::max<std::size_t>(e.byte, 1)));
  } catch (const Json::exception&) {
    return fail(ErrorCode::invalid_argument, "a number of the JSON call is out of range");
  }
  if (!twice.empty()) {
    return fail(ErrorCode::invalid_argument, std::format("key \"{}\" is given twice", twice));
  }
  const auto name = value.find("name");
  const auto arguments = value.find("arguments");
  if (name == value.end() || !name->is_string()) {
    return fail(ErrorCode::invalid_argument, "a JSON call needs \"name\", a string");
  }
  if (value.size() != (arguments == value.end() ? 1U : 2U) ||
      (arguments != value.end() && !arguments->is_object())) {
    return fail(ErrorCode::invalid_argument,
                "a JSON call is {\"name\": …, \"arguments\": {…}} and nothing else");
  }
  CallSyntax result;
  result.name = name->get<std::string>();
  if (arguments != value.end()) result.named = std::move(*arguments);
  return result;
}

void format_literal(const Json& value, std::string& out) {
  if (is_future(value)) {
    out += future_text(value);
  } else if (value.is_boolean()) {
    out += value.get<bool>() ? "True" : "False";
  } else if (value.is_null()) {
    out += "None";
  } else if (value.is_array()) {
    out += '[';
    for (std::size_t i = 0; i < value.size(); ++i) {
      if (i > 0) out += ',';
      format_literal(value[i], out);
    }
    out += ']';
  } else if (value.is_object()) {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.items()) {
      if (!first) out += ',';
      first = false;
      out += Json(key).dump(-1, ' ', false, Json::error_handler_t::replace);
      out += ':';
      format_literal(item, out);
    }
    out += '}';
  } else {
    // Numbers and strings: JSON's spelling is Python's too.
    out += value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
}

}  // namespace

Result<CallSyntax> parse_call(std::string_view code, bool async_plus) {
  const auto first = code.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) {
    return fail(ErrorCode::invalid_argument, "the call block is empty");
  }
  // Whatever comes later may count on it: JSON cannot carry anything else.
  if (const std::size_t bad = find_invalid_utf8(code); bad != code.size()) {
    return fail(ErrorCode::invalid_argument,
                std::format("column {}: the bytes are not valid UTF-8", bad + 1));
  }
  if (code[first] == '{') return parse_json_call(code);
  return LiteralParser(code, async_plus).call();
}

std::string format_call(std::string_view name, const Json& arguments) {
  std::string out(name);
  out += '(';
  bool first = true;
  for (const auto& [key, value] : arguments.items()) {
    if (!first) out += ',';
    first = false;
    out += key;
    out += '=';
    format_literal(value, out);
  }
  out += ')';
  return out;
}

bool is_identifier(std::string_view text) {
  if (text.empty() || text.size() > kMaxIdentifier || !ascii::is_name_start(text.front()))
    return false;
  return std::ranges::all_of(text, is_identifier_byte);
}

bool is_reserved_id(std::string_view id) { return id == "error" || id == "user" || id == "agent"; }

}  // namespace asynclm
