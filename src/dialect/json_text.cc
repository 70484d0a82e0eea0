// SPDX-License-Identifier: Apache-2.0
#include "dialect/json_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <format>
#include <limits>
#include <system_error>
#include <utility>

#include "base/ascii.h"
#include "base/utf8.h"

namespace asynclm::dialect {
namespace {

constexpr std::size_t kMaxWholeDigits = 400;

void write_string(std::string_view text, std::string& out) {
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += std::format("\\u{:04x}", static_cast<unsigned>(c));
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void write(const JsonText& value, std::string& out) {
  switch (value.kind) {
    case JsonText::Kind::null:
      out += "null";
      break;
    case JsonText::Kind::boolean:
      out += value.truth ? "true" : "false";
      break;
    case JsonText::Kind::number:
      out += value.text;
      break;
    case JsonText::Kind::string:
      write_string(value.text, out);
      break;
    case JsonText::Kind::array:
      out += '[';
      for (std::size_t i = 0; i < value.items.size(); ++i) {
        if (i > 0) out += ',';
        write(value.items[i], out);
      }
      out += ']';
      break;
    case JsonText::Kind::object:
      out += '{';
      for (std::size_t i = 0; i < value.members.size(); ++i) {
        if (i > 0) out += ',';
        write_string(value.members[i].name, out);
        out += ':';
        write(value.members[i].value, out);
      }
      out += '}';
      break;
  }
}

double as_double(std::string_view number) {
  double value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error == std::errc::result_out_of_range) {
    // Too large or too small; an exponent's sign tells which. No schema admits the infinite.
    const bool tiny =
        number.find("e-") != std::string_view::npos || number.find("E-") != std::string_view::npos;
    const double size = tiny ? 0 : std::numeric_limits<double>::infinity();
    return number.starts_with('-') ? -size : size;
  }
  return value;
}

Json number_as_json(std::string_view number, bool checkable) {
  if (!is_integer_text(number)) return Json(as_double(number));
  std::int64_t value = 0;
  const char* const last = number.data() + number.size();
  if (std::from_chars(number.data(), last, value).ec == std::errc{}) return Json(value);
  if (checkable) {
    return Json(number.starts_with('-') ? std::numeric_limits<std::int64_t>::min()
                                        : std::numeric_limits<std::int64_t>::max());
  }
  std::uint64_t large = 0;
  if (std::from_chars(number.data(), last, large).ec == std::errc{}) return Json(large);
  return Json(as_double(number));
}

Json convert(const JsonText& value, bool checkable) {
  switch (value.kind) {
    case JsonText::Kind::null:
      return Json(nullptr);
    case JsonText::Kind::boolean:
      return Json(value.truth);
    case JsonText::Kind::number:
      return number_as_json(value.text, checkable);
    case JsonText::Kind::string:
      return Json(value.text);
    case JsonText::Kind::array: {
      Json out = Json::array();
      for (const JsonText& item : value.items) out.push_back(convert(item, checkable));
      return out;
    }
    case JsonText::Kind::object: {
      Json out = Json::object();
      for (const JsonMember& member : value.members) {
        out[member.name] = convert(member.value, checkable);
      }
      return out;
    }
  }
  return Json(nullptr);
}

bool same_number(std::string_view a, std::string_view b) {
  const auto whole_a = whole_number(a);
  const auto whole_b = whole_number(b);
  if (whole_a && whole_b) return *whole_a == *whole_b;
  return as_double(a) == as_double(b);
}

bool same_members(const JsonText& a, const JsonText& b) {
  if (a.members.size() != b.members.size()) return false;
  return std::ranges::all_of(a.members, [&](const JsonMember& member) {
    const JsonText* other = b.find(member.name);
    return other != nullptr && same_value(member.value, *other);
  });
}

}  // namespace

const JsonText* JsonText::find(std::string_view name) const {
  const auto at = std::ranges::find(members, name, &JsonMember::name);
  return at == members.end() ? nullptr : &at->value;
}

JsonText* JsonText::find(std::string_view name) {
  const auto at = std::ranges::find(members, name, &JsonMember::name);
  return at == members.end() ? nullptr : &at->value;
}

JsonText json_string(std::string text) {
  JsonText value;
  value.kind = JsonText::Kind::string;
  value.text = std::move(text);
  return value;
}

JsonText json_number(std::string text) {
  JsonText value;
  value.kind = JsonText::Kind::number;
  value.text = std::move(text);
  return value;
}

JsonText json_object() {
  JsonText value;
  value.kind = JsonText::Kind::object;
  return value;
}

std::optional<std::string> normal_number(std::string_view text) {
  std::string out;
  std::size_t at = 0;
  const auto digits = [&] {
    const std::size_t begin = out.size();
    while (at < text.size()) {
      const bool joint = text[at] == '_' && out.size() > begin && at + 1 < text.size() &&
                         ascii::is_digit(text[at - 1]) && ascii::is_digit(text[at + 1]);
      if (!ascii::is_digit(text[at]) && !joint) break;
      if (!joint) out += text[at];
      ++at;
    }
    return out.size() - begin;
  };
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) {
    if (text[at] == '-') out += '-';
    ++at;
  }
  const std::size_t first = out.size();
  const std::size_t whole = digits();
  if (whole > 1 && out[first] == '0') return std::nullopt;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (whole == 0) out += '0';
    out += '.';
    const std::size_t fraction = digits();
    if (whole + fraction == 0) return std::nullopt;
    if (fraction == 0) out += '0';
  } else if (whole == 0) {
    return std::nullopt;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    out += 'e';
    ++at;
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) out += text[at++];
    if (digits() == 0) return std::nullopt;
  }
  if (at != text.size()) return std::nullopt;
  return out;
}

bool is_integer_text(std::string_view number) {
  return number.find_first_of(".eE") == std::string_view::npos;
}

std::optional<std::string> whole_number(std::string_view number) {
  const bool negative = number.starts_with('-');
  if (negative) number.remove_prefix(1);
  const std::size_t mark = number.find_first_of("eE");
  long exponent = 0;
  if (mark != std::string_view::npos) {
    std::string_view power = number.substr(mark + 1);
    if (power.starts_with('+')) power.remove_prefix(1);
    if (std::from_chars(power.data(), power.data() + power.size(), exponent).ec != std::errc{})
      return std::nullopt;
    number = number.substr(0, mark);
  }
  // The digits without a point, and where the point stands in them.
  std::string digits(number.substr(0, number.find('.')));
  auto point = static_cast<long>(digits.size());
  if (number.find('.') != std::string_view::npos) digits += number.substr(number.find('.') + 1);
  if (digits.find_first_not_of('0') == std::string::npos) return "0";
  if (exponent > static_cast<long>(kMaxWholeDigits) || exponent < -static_cast<long>(digits.size()))
    return std::nullopt;
  point += exponent;
  if (point <= 0) return std::nullopt;
  const auto size = static_cast<std::size_t>(point);
  if (size > kMaxWholeDigits) return std::nullopt;
  if (size < digits.size()) {
    if (digits.find_first_not_of('0', size) != std::string::npos) return std::nullopt;
    digits.resize(size);
  }
  digits.append(size - digits.size(), '0');
  digits.erase(0, std::min(digits.find_first_not_of('0'), digits.size() - 1));
  if (digits == "0") return digits;
  return (negative ? "-" : "") + digits;
}

bool is_utf8(const JsonText& value) {
  if (find_invalid_utf8(value.text) != value.text.size()) return false;
  return std::ranges::all_of(value.items, is_utf8) &&
         std::ranges::all_of(value.members, [](const JsonMember& member) {
           return find_invalid_utf8(member.name) == member.name.size() && is_utf8(member.value);
         });
}

std::string write_json(const JsonText& value) {
  std::string out;
  write(value, out);
  return out;
}

Json to_json(const JsonText& value) { return convert(value, false); }
Json to_checkable_json(const JsonText& value) { return convert(value, true); }

bool same_value(const JsonText& a, const JsonText& b) {
  if (a.kind != b.kind) return false;
  switch (a.kind) {
    case JsonText::Kind::null:
      return true;
    case JsonText::Kind::boolean:
      return a.truth == b.truth;
    case JsonText::Kind::number:
      return same_number(a.text, b.text);
    case JsonText::Kind::string:
      return a.text == b.text;
    case JsonText::Kind::array:
      return std::ranges::equal(a.items, b.items, same_value);
    case JsonText::Kind::object:
      return same_members(a, b);
  }
  return false;
}

}  // namespace asynclm::dialect
