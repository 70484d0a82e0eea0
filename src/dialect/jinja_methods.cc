// SPDX-License-Identifier: Apache-2.0
#include "dialect/jinja_methods.h"

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <format>
#include <map>
#include <string_view>
#include <utility>

namespace asynclm {
namespace methods {
namespace {

using Value = JinjaValue;
using Method = Value (*)(JinjaArguments&);  // arguments as of python_method

std::string text(const Value& value) {
  if (!value.is_string()) {
    throw std::runtime_error(std::format("a string is expected, not a {}", python_type(value)));
  }
  return value.get<std::string>();
}
std::int64_t integer(const Value& value) {
  if (!value.is_number_integer()) {
    throw std::runtime_error(std::format("an integer is expected, not a {}", python_type(value)));
  }
  return value.get<std::int64_t>();
}
Value strings(const std::vector<std::string>& list) {
  std::vector<Value> out;
  for (const std::string& one : list) out.emplace_back(one);
  return python_list(out);
}

std::vector<std::string> words(std::string_view rest, std::int64_t limit) {
  std::vector<std::string> out;
  rest = strip_left(rest);
  while (!rest.empty()) {
    if (limit >= 0 && std::ssize(out) == limit) {
      out.emplace_back(strip_right(rest));
      break;
    }
    std::size_t end = 0;
    while (end < rest.size() && strip_left(rest.substr(end)).size() == rest.size() - end) ++end;
    out.emplace_back(rest.substr(0, end));
    rest = strip_left(rest.substr(end));
  }
  return out;
}

std::vector<std::string> parts(const std::string& whole, const std::string& separator,
                               std::int64_t limit, bool from_right) {
  if (separator.empty()) throw std::runtime_error("empty separator");
  std::vector<std::string> out;
  std::string rest = whole;
  while (limit < 0 || std::ssize(out) < limit) {
    const auto at = from_right ? rest.rfind(separator) : rest.find(separator);
    if (at == std::string::npos) break;
    const std::string before = rest.substr(0, at);
    const std::string after = rest.substr(at + separator.size());
    out.push_back(from_right ? after : before);
    rest = from_right ? before : after;
  }
  out.push_back(rest);
  if (from_right) std::ranges::reverse(out);
  return out;
}

Value split(JinjaArguments& a, bool from_right) {
  const Value separator = a.get(2, "sep", python_none());
  const std::int64_t limit = integer(a.get(3, "maxsplit", Value(std::int64_t{-1})));
  const std::string whole = text(a[1]);
  if (is_python_none(separator)) return strings(words(whole, from_right ? -1 : limit));
  return strings(parts(whole, text(separator), limit, from_right));
}

Value lines(JinjaArguments& a) {
  const bool keep = python_truth(a.get(2, "keepends", Value(false)));
  const std::string whole = text(a[1]);
  std::vector<std::string> out;
  for (std::size_t begin = 0; begin < whole.size();) {
    const std::size_t end = std::min(whole.find_first_of("\r\n\v\f", begin), whole.size());
    std::size_t next = std::min(end + 1, whole.size());
    if (whole.substr(end).starts_with("\r\n")) ++next;
    out.push_back(whole.substr(begin, (keep ? next : end) - begin));
    begin = next;
  }
  return strings(out);
}

Value strip(JinjaArguments& a, bool left, bool right) {
  return python_strip(text(a[1]), a.get(2, "chars", python_none()), left, right);
}

Value has_edge(JinjaArguments& a, bool front) {
  const std::string whole = text(a[1]);
  const auto matches = [&](const Value& edge) {
    return front ? whole.starts_with(text(edge)) : whole.ends_with(text(edge));
  };
  return a[2].is_array() ? std::ranges::any_of(python_elements(a[2]), matches) : matches(a[2]);
}

Value replaced(JinjaArguments& a) {
  const std::string whole = text(a[1]);
  const std::string before = text(a[2]);
  const std::string after = text(a[3]);
  const Value count = a.get(4, "count", Value(std::int64_t{-1}));
  std::int64_t left = is_python_none(count) ? -1 : integer(count);
  std::string out;
  std::size_t at = 0;
  while (left != 0) {
    const auto found = whole.find(before, at);
    if (found == std::string::npos) break;
    out += whole.substr(at, found - at) + after;
    at = found + before.size();
    if (before.empty()) {
      if (found >= whole.size()) return out;
      const std::size_t size = characters(std::string_view(whole).substr(at)).front().size();
      out += whole.substr(at, size);
      at += size;
      if (at >= whole.size() && left == 1) break;
    }
    if (left > 0) --left;
  }
  return out + whole.substr(std::min(at, whole.size()));
}

Value joined(JinjaArguments& a) {
  std::string out;
  bool first = true;
  for (const Value& element : python_elements(a[2])) {
    if (!std::exchange(first, false)) out += text(a[1]);
    out += text(element);
  }
  return out;
}

// In characters.
Value found(JinjaArguments& a, bool last, bool must) {
  const std::string whole = text(a[1]);
  const auto at = last ? whole.rfind(text(a[2])) : whole.find(text(a[2]));
  if (at != std::string::npos) {
    return static_cast<std::int64_t>(characters(std::string_view(whole).substr(0, at)).size());
  }
  if (must) throw std::runtime_error("substring not found");
  return std::int64_t{-1};
}

Value counted(JinjaArguments& a) {
  const std::string part = text(a[2]);
  return static_cast<std::int64_t>(parts(text(a[1]), part, -1, false).size()) - 1;
}

// Letters of ASCII alone.
template <class Change>
Value changed(JinjaArguments& a, Change change) {
  std::string out = text(a[1]);
  bool inside = false;  // a word
  for (char& c : out) {
    const bool letter = std::isalpha(static_cast<unsigned char>(c)) != 0;
    if (letter) c = static_cast<char>(change(static_cast<unsigned char>(c), inside));
    inside = letter || static_cast<unsigned char>(c) >= 0x80 || (inside && c == '\'');
  }
  return out;
}

Value capitalized(JinjaArguments& a) {
  std::string out = text(a[1]);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto c = static_cast<unsigned char>(out[i]);
    if (c < 0x80) out[i] = static_cast<char>(i == 0 ? std::toupper(c) : std::tolower(c));
  }
  return out;
}

template <class Predicate>
Value all_characters(JinjaArguments& a, Predicate predicate) {
  const std::string whole = text(a[1]);
  return !whole.empty() && std::ranges::all_of(whole, [&](char c) {
    return predicate(static_cast<unsigned char>(c)) != 0;
  });
}

Value without_edge(JinjaArguments& a, bool front) {
  std::string out = text(a[1]);
  const std::string edge = text(a[2]);
  if (front && out.starts_with(edge)) out.erase(0, edge.size());
  if (!front && out.ends_with(edge)) out.resize(out.size() - edge.size());
  return out;
}

Value partitioned(JinjaArguments& a, bool last) {
  const std::string whole = text(a[1]);
  const std::string separator = text(a[2]);
  const auto at = last ? whole.rfind(separator) : whole.find(separator);
  if (at == std::string::npos) {
    return last ? strings({"", "", whole}) : strings({whole, "", ""});
  }
  return strings({whole.substr(0, at), separator, whole.substr(at + separator.size())});
}

// "{} of {name}".format(…), without format specifications.
Value formatted(JinjaArguments& a) {
  const std::string format = text(a[1]);
  std::string out;
  std::size_t next = 0;
  for (std::size_t i = 0; i < format.size(); ++i) {
    const std::string_view rest = std::string_view(format).substr(i);
    if (rest.starts_with("{{") || rest.starts_with("}}")) {
      out += format[i++];
    } else if (format[i] == '{') {
      const auto close = format.find('}', i);
      if (close == std::string::npos) throw std::runtime_error("a format's brace is not closed");
      const std::string field = format.substr(i + 1, close - i - 1);
      if (field.empty()) {
        out += python_str(a[2 + next++]);
      } else if (std::ranges::all_of(field, [](char c) { return c >= '0' && c <= '9'; })) {
        out += python_str(a[2 + static_cast<std::size_t>(std::stoul(field))]);
      } else {
        if (!a.values.has_named(field)) throw std::runtime_error("format lacks '" + field + "'");
        out += python_str(a.named(field));
      }
      i = close;
    } else {
      out += format[i];
    }
  }
  return out;
}

const std::map<std::string_view, Method>& string_methods() {
  static const std::map<std::string_view, Method> table = {
      {"split", [](JinjaArguments& a) { return split(a, false); }},
      {"rsplit", [](JinjaArguments& a) { return split(a, true); }},
      {"splitlines", lines},
      {"strip", [](JinjaArguments& a) { return strip(a, true, true); }},
      {"lstrip", [](JinjaArguments& a) { return strip(a, true, false); }},
      {"rstrip", [](JinjaArguments& a) { return strip(a, false, true); }},
      {"startswith", [](JinjaArguments& a) { return has_edge(a, true); }},
      {"endswith", [](JinjaArguments& a) { return has_edge(a, false); }},
      {"replace", replaced},
      {"join", joined},
      {"find", [](JinjaArguments& a) { return found(a, false, false); }},
      {"rfind", [](JinjaArguments& a) { return found(a, true, false); }},
      {"index", [](JinjaArguments& a) { return found(a, false, true); }},
      {"count", counted},
      {"upper",
       [](JinjaArguments& a) {
         return changed(a, [](unsigned char c, bool) { return std::toupper(c); });
       }},
      {"lower",
       [](JinjaArguments& a) {
         return changed(a, [](unsigned char c, bool) { return std::tolower(c); });
       }},
      {"title",
       [](JinjaArguments& a) {
         return changed(a, [](unsigned char c, bool inside) {
           return inside ? std::tolower(c) : std::toupper(c);
         });
       }},
      {"capitalize", capitalized},
      {"isdigit",
       [](JinjaArguments& a) {
         return all_characters(a, [](unsigned char c) { return std::isdigit(c); });
       }},
      {"isspace",
       [](JinjaArguments& a) {
         return all_characters(a, [](unsigned char c) { return std::isspace(c); });
       }},
      {"isalpha",
       [](JinjaArguments& a) {
         return all_characters(a, [](unsigned char c) { return std::isalpha(c) | (c >> 7); });
       }},
      {"isalnum",
       [](JinjaArguments& a) {
         return all_characters(a, [](unsigned char c) { return std::isalnum(c) | (c >> 7); });
       }},
      {"removeprefix", [](JinjaArguments& a) { return without_edge(a, true); }},
      {"removesuffix", [](JinjaArguments& a) { return without_edge(a, false); }},
      {"partition", [](JinjaArguments& a) { return partitioned(a, false); }},
      {"rpartition", [](JinjaArguments& a) { return partitioned(a, true); }},
      {"format", formatted},
  };
  return table;
}

Value appended(JinjaArguments& a) {
  Value list = a[1];
  list.push_back(a[2]);
  return python_none();
}

Value extended(JinjaArguments& a) {
  Value list = a[1];
  for (const Value& element : python_elements(a[2])) list.push_back(element);
  return python_none();
}

Value inserted(JinjaArguments& a) {
  Value list = a[1];
  const auto size = static_cast<std::int64_t>(list.size());
  std::int64_t at = integer(a[2]);
  at = std::clamp<std::int64_t>(at < 0 ? at + size : at, 0, size);
  list.insert(static_cast<std::size_t>(at), a[3]);
  return python_none();
}

Value popped(JinjaArguments& a) {
  Value list = a[1];
  const auto size = static_cast<std::int64_t>(list.size());
  std::int64_t at = integer(a.get(2, "index", Value(std::int64_t{-1})));
  if (at < 0) at += size;
  if (at < 0 || at >= size) throw std::runtime_error("pop index out of range");
  return list.pop(Value(at));
}

Value place(JinjaArguments& a) {
  const auto elements = python_elements(a[1]);
  const auto at =
      std::ranges::find_if(elements, [&](const Value& v) { return python_equal(v, a[2]); });
  if (at == elements.end()) throw std::runtime_error("the list has no such element");
  return std::int64_t{at - elements.begin()};
}

// The sandbox of transformers lets no template change a list; some templates do it all the same,
// and work where there is no sandbox.
const std::map<std::string_view, Method>& list_methods() {
  static const std::map<std::string_view, Method> table = {
      {"append", appended},
      {"extend", extended},
      {"insert", inserted},
      {"pop", popped},
      {"index", place},
      {"copy", [](JinjaArguments& a) { return python_list(python_elements(a[1])); }},
      {"count",
       [](JinjaArguments& a) {
         return Value(std::int64_t{std::ranges::count_if(
             python_elements(a[1]), [&](const Value& v) { return python_equal(v, a[2]); })});
       }},
  };
  return table;
}

Value entries(JinjaArguments& a, bool keys, bool values) {
  std::vector<Value> out;
  for (const Value& key : python_elements(a[1])) {
    const Value value = a[1].at(key);
    out.push_back(keys && values ? Value::array({key, value}) : keys ? key : value);
  }
  return python_list(out);
}

Value updated(JinjaArguments& a) {
  Value object = a[1];
  if (a.values.args.size() > 2) {
    for (const Value& key : python_elements(a[2])) object.set(key, a[2].at(key));
  }
  for (const auto& [key, value] : a.values.kwargs) object.set(key, value);
  return python_none();
}

const std::map<std::string_view, Method>& object_methods() {
  static const std::map<std::string_view, Method> table = {
      {"items", [](JinjaArguments& a) { return entries(a, true, true); }},
      {"keys", [](JinjaArguments& a) { return entries(a, true, false); }},
      {"values", [](JinjaArguments& a) { return entries(a, false, true); }},
      {"get",
       [](JinjaArguments& a) {
         const bool has = a[2].is_primitive() && a[1].contains(a[2]);
         return has ? a[1].at(a[2]) : a.get(3, "default", python_none());
       }},
      {"update", updated},
      {"copy",
       [](JinjaArguments& a) {
         Value out = Value::object();
         for (const Value& key : python_elements(a[1])) out.set(key, a[1].at(key));
         return out;
       }},
      {"pop",
       [](JinjaArguments& a) {
         Value object = a[1];
         if (!object.contains(a[2])) return a.get(3, "default", python_none());
         return object.pop(a[2]);
       }},
  };
  return table;
}

}  // namespace
}  // namespace methods

JinjaValue python_method(JinjaArguments& a) {
  const std::string name = python_str(a[0]);
  const JinjaValue& value = a[1];
  if (is_undefined(value)) {
    throw std::runtime_error(std::format("an undefined value has no method '{}'", name));
  }
  // A function that the template keeps in a namespace, or a loop's.
  if (value.is_object() && value.contains(name) && value.at(JinjaValue(name)).is_callable()) {
    minja::ArgumentsValue rest{{a.values.args.begin() + 2, a.values.args.end()}, a.values.kwargs};
    return value.at(JinjaValue(name)).call(a.context, rest);
  }
  static const std::map<std::string_view, methods::Method> none;
  const auto& table = value.is_string()   ? methods::string_methods()
                      : value.is_array()  ? methods::list_methods()
                      : value.is_object() ? methods::object_methods()
                                          : none;
  const auto found = table.find(name);
  if (found == table.end()) {
    throw std::runtime_error(std::format("a {} has no method '{}'", python_type(value), name));
  }
  return found->second(a);
}

std::string python_strip(const std::string& text, const JinjaValue& chars, bool left, bool right) {
  std::string_view out = text;
  if (is_python_none(chars)) {
    if (left) out = strip_left(out);
    if (right) out = strip_right(out);
    return std::string(out);
  }
  const std::string set = python_str(chars);
  auto all = characters(out);
  const auto strips = [&](std::string_view c) { return std::ranges::contains(characters(set), c); };
  while (left && !all.empty() && strips(all.front())) all.erase(all.begin());
  while (right && !all.empty() && strips(all.back())) all.pop_back();
  std::string kept;
  for (const std::string_view c : all) kept += c;
  return kept;
}

std::string python_format_percent(const std::string& format,
                                  const std::vector<JinjaValue>& values) {
  std::string out;
  std::size_t next = 0;
  for (std::size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%') {
      out += format[i];
      continue;
    }
    const char kind = i + 1 < format.size() ? format[++i] : '\0';
    if (kind == '%') {
      out += '%';
      continue;
    }
    if (!std::string_view("sdri").contains(kind)) {
      throw std::runtime_error("a format of '%' can have %s, %r and %d alone");
    }
    if (next >= values.size()) throw std::runtime_error("not enough arguments for format string");
    const JinjaValue& value = values[next++];
    out += kind == 'r' ? python_repr(value) : python_str(value);
  }
  return out;
}

}  // namespace asynclm
