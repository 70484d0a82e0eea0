// SPDX-License-Identifier: Apache-2.0
#include "dialect/jinja_functions.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <format>
#include <functional>
#include <map>
#include <ranges>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dialect/jinja_methods.h"
#include "dialect/jinja_source.h"
#include "dialect/jinja_value.h"

namespace asynclm {
namespace functions {
namespace {

using Value = JinjaValue;
using Function = Value (*)(JinjaArguments&);

// --- Operators ---------------------------------------------------------------------------------

[[noreturn]] void no_operator(std::string_view sign, const Value& a, const Value& b) {
  throw std::runtime_error(std::format("unsupported operand types for {}: '{}' and '{}'", sign,
                                       python_type(a), python_type(b)));
}

bool is_integer(const Value& value) { return value.is_number_integer() || value.is_boolean(); }
std::int64_t integer(const Value& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (!value.is_number_integer()) {
    throw std::runtime_error(std::format("an integer is expected, not a {}", python_type(value)));
  }
  return value.get<std::int64_t>();
}
bool is_numeric(const Value& value) { return is_python_number(value) || value.is_boolean(); }
double real(const Value& value) {
  return value.is_boolean() ? (value.get<bool>() ? 1.0 : 0.0) : value.get<double>();
}

Value add(JinjaArguments& a) {
  const Value& left = a[0];
  const Value& right = a[1];
  if (left.is_string() && right.is_string()) return python_str(left) + python_str(right);
  if (left.is_array() && right.is_array()) {
    auto elements = python_elements(left);
    elements.append_range(python_elements(right));
    return python_list(elements);
  }
  if (is_integer(left) && is_integer(right)) return integer(left) + integer(right);
  if (is_numeric(left) && is_numeric(right)) return real(left) + real(right);
  if (left.is_string()) {
    throw std::runtime_error(
        std::format("can only concatenate str (not \"{}\") to str", python_type(right)));
  }
  no_operator("+", left, right);
}

Value repeated(const Value& what, std::int64_t times) {
  std::string text;
  std::vector<Value> list;
  for (std::int64_t i = 0; i < times; ++i) {
    if (what.is_string()) {
      text += python_str(what);
    } else {
      list.append_range(python_elements(what));
    }
  }
  return what.is_string() ? Value(text) : python_list(list);
}

Value multiply(JinjaArguments& a) {
  if (is_integer(a[0]) && is_integer(a[1])) return integer(a[0]) * integer(a[1]);
  if (is_numeric(a[0]) && is_numeric(a[1])) return real(a[0]) * real(a[1]);
  if ((a[0].is_string() || a[0].is_array()) && is_integer(a[1])) {
    return repeated(a[0], integer(a[1]));
  }
  if ((a[1].is_string() || a[1].is_array()) && is_integer(a[0])) {
    return repeated(a[1], integer(a[0]));
  }
  no_operator("*", a[0], a[1]);
}

Value subtract(JinjaArguments& a) {
  if (is_integer(a[0]) && is_integer(a[1])) return integer(a[0]) - integer(a[1]);
  if (is_numeric(a[0]) && is_numeric(a[1])) return real(a[0]) - real(a[1]);
  no_operator("-", a[0], a[1]);
}

std::int64_t floor_division(std::int64_t a, std::int64_t b) {
  if (b == 0) throw std::runtime_error("division by zero");
  const std::int64_t quotient = a / b;
  return quotient * b != a && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value divide(JinjaArguments& a) {
  if (!is_numeric(a[0]) || !is_numeric(a[1])) no_operator("/", a[0], a[1]);
  if (real(a[1]) == 0) throw std::runtime_error("division by zero");
  return real(a[0]) / real(a[1]);
}
Value divide_down(JinjaArguments& a) {
  if (is_integer(a[0]) && is_integer(a[1])) return floor_division(integer(a[0]), integer(a[1]));
  if (!is_numeric(a[0]) || !is_numeric(a[1])) no_operator("//", a[0], a[1]);
  return std::floor(real(a[0]) / real(a[1]));
}
Value modulo(JinjaArguments& a) {
  if (a[0].is_string()) {
    return python_format_percent(python_str(a[0]),
                                 a[1].is_array() ? python_elements(a[1]) : std::vector{a[1]});
  }
  if (!is_integer(a[0]) || !is_integer(a[1])) no_operator("%", a[0], a[1]);
  const std::int64_t divisor = integer(a[1]);
  return integer(a[0]) - floor_division(integer(a[0]), divisor) * divisor;
}
Value power(JinjaArguments& a) {
  if (!is_numeric(a[0]) || !is_numeric(a[1])) no_operator("**", a[0], a[1]);
  const double result = std::pow(real(a[0]), real(a[1]));
  const bool whole = is_integer(a[0]) && is_integer(a[1]) && integer(a[1]) >= 0;
  return whole ? Value(static_cast<std::int64_t>(result)) : Value(result);
}
Value negative(JinjaArguments& a) {
  if (is_integer(a[0])) return -integer(a[0]);
  if (!is_numeric(a[0])) throw std::runtime_error("only a number has a negative");
  return 0.0 - real(a[0]);  // never minus zero, which is None
}

Value concatenated(JinjaArguments& a) { return python_str(a[0]) + python_str(a[1]); }

Value attribute(const Value& base, const Value& key) {
  if (is_undefined(base)) {
    throw std::runtime_error(
        std::format("an undefined value has no attribute {}", python_repr(key)));
  }
  return base.is_object() && base.contains(key) ? base.at(key) : Value();
}

// Outside of the list, or of another kind: undefined, as Jinja has it.
Value item(const Value& base, const Value& key) {
  if (!base.is_array() && !base.is_string()) {
    return key.is_primitive() ? attribute(base, key) : Value();
  }
  if (!is_integer(key)) return {};
  const auto elements = python_elements(base);
  const auto size = static_cast<std::int64_t>(elements.size());
  const std::int64_t index = integer(key) < 0 ? integer(key) + size : integer(key);
  return index >= 0 && index < size ? elements[static_cast<std::size_t>(index)] : Value();
}

Value slice(JinjaArguments& a) {
  if (!a[0].is_string() && !a[0].is_array()) {
    throw std::runtime_error(std::format("'{}' object is not subscriptable", python_type(a[0])));
  }
  const auto elements = python_elements(a[0]);
  const auto size = static_cast<std::int64_t>(elements.size());
  const std::int64_t step = is_python_none(a[3]) ? 1 : integer(a[3]);
  if (step == 0) throw std::runtime_error("slice step cannot be zero");
  const auto bound = [&](const Value& value, std::int64_t otherwise) {
    if (is_python_none(value)) return otherwise;
    const std::int64_t at = integer(value) < 0 ? integer(value) + size : integer(value);
    return std::clamp<std::int64_t>(at, step < 0 ? -1 : 0, step < 0 ? size - 1 : size);
  };
  const std::int64_t begin = bound(a[1], step < 0 ? size - 1 : 0);
  const std::int64_t end = bound(a[2], step < 0 ? -1 : size);
  std::vector<Value> out;
  for (std::int64_t i = begin; step < 0 ? i > end : i < end; i += step) {
    out.push_back(elements[static_cast<std::size_t>(i)]);
  }
  if (a[0].is_array()) return python_list(out);
  std::string text;
  for (const Value& character : out) text += python_str(character);
  return text;
}

const std::map<std::string_view, Function>& operators() {
  static const std::map<std::string_view, Function> table = {
      {"add", add},
      {"sub", subtract},
      {"mul", multiply},
      {"div", divide},
      {"floordiv", divide_down},
      {"mod", modulo},
      {"pow", power},
      {"neg", negative},
      {"concat", concatenated},
      {"eq", [](JinjaArguments& a) { return Value(python_equal(a[0], a[1])); }},
      {"ne", [](JinjaArguments& a) { return Value(!python_equal(a[0], a[1])); }},
      {"lt", [](JinjaArguments& a) { return Value(python_less(a[0], a[1])); }},
      {"gt", [](JinjaArguments& a) { return Value(python_less(a[1], a[0])); }},
      {"le", [](JinjaArguments& a) { return Value(!python_less(a[1], a[0])); }},
      {"ge", [](JinjaArguments& a) { return Value(!python_less(a[0], a[1])); }},
      {"in", [](JinjaArguments& a) { return Value(python_in(a[0], a[1])); }},
      {"not_in", [](JinjaArguments& a) { return Value(!python_in(a[0], a[1])); }},
      {"truth", [](JinjaArguments& a) { return Value(python_truth(a[0])); }},
      {"text", [](JinjaArguments& a) { return Value(python_str(a[0])); }},
      {"iterate", [](JinjaArguments& a) { return python_list(python_elements(a[0])); }},
      {"attribute", [](JinjaArguments& a) { return attribute(a[0], a[1]); }},
      {"item", [](JinjaArguments& a) { return item(a[0], a[1]); }},
      {"slice", slice},
      {"method", python_method},
      {"no_filter",
       [](JinjaArguments& a) -> Value {
         throw std::runtime_error(std::format("there is no filter '{}'", python_str(a[0])));
       }},
      {"call",
       [](JinjaArguments& a) {
         minja::ArgumentsValue rest{{a.values.args.begin() + 1, a.values.args.end()},
                                    a.values.kwargs};
         if (!a[0].is_callable()) {
           throw std::runtime_error(std::format("'{}' is not callable", python_type(a[0])));
         }
         return a[0].call(a.context, rest);
       }},
  };
  return table;
}

// --- Filters -----------------------------------------------------------------------------------

std::string text(const Value& value) { return python_str(value); }

Value to_json(JinjaArguments& a) {
  JsonStyle style;
  style.ascii = python_truth(a.get(1, "ensure_ascii", Value(false)));
  if (const Value indent = a.get(2, "indent", python_none()); !is_python_none(indent)) {
    style.indent = static_cast<int>(integer(indent));
    style.item_separator = ",";
  }
  const Value separators = a.get(3, "separators", python_none());
  if (!is_python_none(separators)) {
    style.item_separator = text(item(separators, Value(std::int64_t{0})));
    style.key_separator = text(item(separators, Value(std::int64_t{1})));
  }
  style.sorted = python_truth(a.get(4, "sort_keys", Value(false)));
  return python_json(a[0], style);
}

// Not Jinja's, but some templates use it where an engine has it.
Value from_json(JinjaArguments& a) {
  return python_value(nlohmann::ordered_json::parse(text(a[0])));
}

Value length(JinjaArguments& a) {
  if (is_undefined(a[0])) return std::int64_t{0};
  return static_cast<std::int64_t>(python_elements(a[0]).size());
}

Value trimmed(JinjaArguments& a) {
  return python_strip(text(a[0]), a.get(1, "chars", python_none()), true, true);
}

Value default_value(JinjaArguments& a) {
  const bool falsy = python_truth(a.get(2, "boolean", Value(false)));
  const bool missing = is_undefined(a[0]) || (falsy && !python_truth(a[0]));
  return missing ? a.get(1, "default_value", Value(std::string())) : a[0];
}

// A dotted path, or a place in a list.
Value path(Value value, const Value& name) {
  if (is_integer(name)) return item(value, name);
  for (const auto part : std::views::split(text(name), '.')) {
    const std::string key(part.begin(), part.end());
    const bool digits =
        !key.empty() && std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
    value = item(value, digits ? Value(std::int64_t{std::stoll(key)}) : Value(key));
  }
  return value;
}

Value joined(JinjaArguments& a) {
  const std::string separator = text(a.get(1, "d", Value(std::string())));
  const Value name = a.get(2, "attribute", python_none());
  std::string out;
  bool first = true;
  for (const Value& element : python_elements(a[0])) {
    if (!std::exchange(first, false)) out += separator;
    out += text(is_python_none(name) ? element : path(element, name));
  }
  return out;
}

std::string lowered(std::string s) {
  std::ranges::transform(
      s, s.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return s;
}

// Jinja orders strings without regard to case where nothing else is asked for.
Value sort_key(const Value& value, bool case_sensitive) {
  return value.is_string() && !case_sensitive ? Value(lowered(text(value))) : value;
}

Value sorted(JinjaArguments& a) {
  const bool reverse = python_truth(a.get(1, "reverse", Value(false)));
  const bool cases = python_truth(a.get(2, "case_sensitive", Value(false)));
  const Value name = a.get(3, "attribute", python_none());
  auto elements = python_elements(a[0]);
  std::ranges::stable_sort(elements, [&](const Value& x, const Value& y) {
    const auto key = [&](const Value& v) {
      return sort_key(is_python_none(name) ? v : path(v, name), cases);
    };
    return reverse ? python_less(key(y), key(x)) : python_less(key(x), key(y));
  });
  return python_list(elements);
}

std::vector<Value> pairs(const Value& object) {
  std::vector<Value> out;
  for (const Value& key : python_elements(object)) {
    out.push_back(Value::array({key, object.at(key)}));
  }
  return out;
}

Value dictionary_sorted(JinjaArguments& a) {
  const bool cases = python_truth(a.get(1, "case_sensitive", Value(false)));
  const std::size_t by = text(a.get(2, "by", Value("key"))) == "value" ? 1 : 0;
  const bool reverse = python_truth(a.get(3, "reverse", Value(false)));
  auto out = pairs(a[0]);
  std::ranges::stable_sort(out, [&](const Value& x, const Value& y) {
    const Value left = sort_key(x.at(by), cases);
    const Value right = sort_key(y.at(by), cases);
    return reverse ? python_less(right, left) : python_less(left, right);
  });
  return python_list(out);
}

Value indented(JinjaArguments& a) {
  const Value width = a.get(1, "width", Value(std::int64_t{4}));
  const bool first = python_truth(a.get(2, "first", Value(false)));
  const bool blank = python_truth(a.get(3, "blank", Value(false)));
  const std::string pad =
      width.is_string() ? text(width) : std::string(static_cast<std::size_t>(integer(width)), ' ');
  std::string out;
  bool at_first = true;
  for (const auto part : std::views::split(text(a[0]), '\n')) {
    const std::string line(part.begin(), part.end());
    if (!at_first) out += '\n';
    if (at_first ? first : blank || !line.empty()) out += pad;
    out += line;
    at_first = false;
  }
  return out;
}

Value to_int(JinjaArguments& a) {
  Value otherwise = a.get(1, "default", Value(std::int64_t{0}));
  if (is_integer(a[0])) return integer(a[0]);
  if (is_python_number(a[0])) return static_cast<std::int64_t>(a[0].get<double>());
  const std::string digits(strip_right(strip_left(text(a[0]))));
  try {
    return static_cast<std::int64_t>(std::stoll(digits));
  } catch (const std::exception&) {
    return otherwise;
  }
}

Value to_float(JinjaArguments& a) {
  if (is_numeric(a[0])) return real(a[0]);
  try {
    return std::stod(text(a[0]));
  } catch (const std::exception&) {
    return a.get(1, "default", Value(0.0));
  }
}

Value rounded(JinjaArguments& a) {
  const double scale =
      std::pow(10.0, static_cast<double>(integer(a.get(1, "precision", Value(std::int64_t{0})))));
  const std::string method = text(a.get(2, "method", Value("common")));
  const double scaled = real(a[0]) * scale;
  return (method == "ceil"    ? std::ceil(scaled)
          : method == "floor" ? std::floor(scaled)
                              : std::nearbyint(scaled)) /
         scale;
}

Value sum(JinjaArguments& a) {
  const Value name = a.get(1, "attribute", python_none());
  Value out = a.get(2, "start", Value(std::int64_t{0}));
  for (const Value& element : python_elements(a[0])) {
    JinjaArguments two{{{out, is_python_none(name) ? element : path(element, name)}, {}},
                       a.context};
    out = add(two);
  }
  return out;
}

Value extreme(JinjaArguments& a, bool largest) {
  const Value name = a.get(2, "attribute", python_none());
  const auto elements = python_elements(a[0]);
  if (elements.empty()) return {};
  const auto key = [&](const Value& v) {
    return sort_key(is_python_none(name) ? v : path(v, name), false);
  };
  const auto less = [&](const Value& x, const Value& y) { return python_less(key(x), key(y)); };
  return largest ? *std::ranges::max_element(elements, less)
                 : *std::ranges::min_element(elements, less);
}

Value uniques(JinjaArguments& a) {
  const bool cases = python_truth(a.get(1, "case_sensitive", Value(false)));
  const Value name = a.get(2, "attribute", python_none());
  std::vector<Value> keys;
  std::vector<Value> out;
  for (const Value& element : python_elements(a[0])) {
    Value key = sort_key(is_python_none(name) ? element : path(element, name), cases);
    if (std::ranges::any_of(keys, [&](const Value& k) { return python_equal(k, key); })) continue;
    keys.push_back(std::move(key));
    out.push_back(element);
  }
  return python_list(out);
}

Value escaped(JinjaArguments& a) {
  std::string out;
  for (const char c : text(a[0])) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

Value reversed(JinjaArguments& a) {
  auto elements = python_elements(a[0]);
  std::ranges::reverse(elements);
  if (!a[0].is_string()) return python_list(elements);
  std::string out;
  for (const Value& character : elements) out += text(character);
  return out;
}

Value end_of(JinjaArguments& a, bool last) {
  const auto elements = python_elements(a[0]);
  if (elements.empty()) return {};
  return last ? elements.back() : elements.front();
}

Value method_as_filter(JinjaArguments& a, const char* name) {
  JinjaArguments call{a.values, a.context};
  call.values.args[0] = Value(text(a[0]));
  call.values.args.insert(call.values.args.begin(), Value(name));
  return python_method(call);
}

Value call_filter(const std::string& name, JinjaArguments& a);
bool call_test(const std::string& name, JinjaArguments& a);

Value mapped(JinjaArguments& a) {
  std::vector<Value> out;
  if (!python_truth(a[0])) return python_list(out);
  const Value name = a.named("attribute");
  for (const Value& element : python_elements(a[0])) {
    if (!is_undefined(name)) {
      Value value = path(element, name);
      const Value otherwise = a.named("default");
      out.push_back(is_undefined(value) && !is_undefined(otherwise) ? otherwise : value);
      continue;
    }
    JinjaArguments call{a.values, a.context};
    call.values.args.erase(call.values.args.begin());
    call.values.args.at(0) = element;
    out.push_back(call_filter(text(a[1]), call));
  }
  return python_list(out);
}

// select, reject and the two by an attribute: a test's name and its arguments follow.
Value selected(JinjaArguments& a, bool wanted, bool by_attribute) {
  const std::size_t skip = by_attribute ? 2 : 1;
  std::vector<Value> out;
  if (!python_truth(a[0])) return python_list(out);
  for (const Value& element : python_elements(a[0])) {
    const Value value = by_attribute ? path(element, a[1]) : element;
    bool holds = false;
    if (a.values.args.size() > skip) {
      JinjaArguments call{a.values, a.context};
      call.values.args.erase(call.values.args.begin(),
                             call.values.args.begin() + static_cast<std::ptrdiff_t>(skip));
      call.values.args[0] = value;
      holds = call_test(text(a[skip]), call);
    } else {
      holds = python_truth(value);
    }
    if (holds == wanted) out.push_back(element);
  }
  return python_list(out);
}

Value batches(JinjaArguments& a) {
  const auto size = static_cast<std::size_t>(integer(a[1]));
  std::vector<Value> out;
  std::vector<Value> batch;
  for (const Value& element : python_elements(a[0])) {
    if (batch.size() == size) out.push_back(python_list(std::exchange(batch, {})));
    batch.push_back(element);
  }
  const Value fill = a.get(2, "fill_with", python_none());
  while (!batch.empty() && !is_python_none(fill) && batch.size() < size) batch.push_back(fill);
  if (!batch.empty()) out.push_back(python_list(batch));
  return python_list(out);
}

const std::map<std::string_view, Function>& filters() {
  static const std::map<std::string_view, Function> table = [] {
    std::map<std::string_view, Function> out = {
        {"tojson", to_json},
        {"from_json", from_json},
        {"length", length},
        {"count", length},
        {"trim", trimmed},
        {"default", default_value},
        {"d", default_value},
        {"join", joined},
        {"sort", sorted},
        {"dictsort", dictionary_sorted},
        {"indent", indented},
        {"int", to_int},
        {"float", to_float},
        {"round", rounded},
        {"sum", sum},
        {"unique", uniques},
        {"escape", escaped},
        {"e", escaped},
        {"reverse", reversed},
        {"map", mapped},
        {"batch", batches},
        {"string", [](JinjaArguments& a) { return Value(text(a[0])); }},
        {"safe", [](JinjaArguments& a) { return Value(text(a[0])); }},
        {"list", [](JinjaArguments& a) { return python_list(python_elements(a[0])); }},
        {"items", [](JinjaArguments& a) { return python_list(pairs(a[0])); }},
        {"first", [](JinjaArguments& a) { return end_of(a, false); }},
        {"last", [](JinjaArguments& a) { return end_of(a, true); }},
        {"max", [](JinjaArguments& a) { return extreme(a, true); }},
        {"min", [](JinjaArguments& a) { return extreme(a, false); }},
        {"attr", [](JinjaArguments& a) { return attribute(a[0], a[1]); }},
        {"abs",
         [](JinjaArguments& a) {
           return is_integer(a[0]) ? Value(std::abs(integer(a[0]))) : Value(std::abs(real(a[0])));
         }},
        {"format",
         [](JinjaArguments& a) {
           return Value(
               python_format_percent(text(a[0]), {a.values.args.begin() + 1, a.values.args.end()}));
         }},
        {"select", [](JinjaArguments& a) { return selected(a, true, false); }},
        {"reject", [](JinjaArguments& a) { return selected(a, false, false); }},
        {"selectattr", [](JinjaArguments& a) { return selected(a, true, true); }},
        {"rejectattr", [](JinjaArguments& a) { return selected(a, false, true); }},
        {"upper", [](JinjaArguments& a) { return method_as_filter(a, "upper"); }},
        {"lower", [](JinjaArguments& a) { return method_as_filter(a, "lower"); }},
        {"title", [](JinjaArguments& a) { return method_as_filter(a, "title"); }},
        {"capitalize", [](JinjaArguments& a) { return method_as_filter(a, "capitalize"); }},
        {"replace", [](JinjaArguments& a) { return method_as_filter(a, "replace"); }},
        {"wordcount",
         [](JinjaArguments& a) {
           JinjaArguments call{{{Value("split"), Value(text(a[0]))}, {}}, a.context};
           return Value(static_cast<std::int64_t>(python_method(call).size()));
         }},
    };
    return out;
  }();
  return table;
}

Value call_filter(const std::string& name, JinjaArguments& a) {
  const auto found = filters().find(name);
  if (found == filters().end()) {
    throw std::runtime_error(std::format("there is no filter '{}'", name));
  }
  return found->second(a);
}

// --- Tests -------------------------------------------------------------------------------------

using Test = bool (*)(JinjaArguments&);

const std::map<std::string_view, Test>& tests() {
  static const auto equal = [](JinjaArguments& a) { return python_equal(a[0], a[1]); };
  static const auto unequal = [](JinjaArguments& a) { return !python_equal(a[0], a[1]); };
  static const auto less = [](JinjaArguments& a) { return python_less(a[0], a[1]); };
  static const auto greater = [](JinjaArguments& a) { return python_less(a[1], a[0]); };
  static const auto at_most = [](JinjaArguments& a) { return !python_less(a[1], a[0]); };
  static const auto at_least = [](JinjaArguments& a) { return !python_less(a[0], a[1]); };
  static const auto iterable = [](JinjaArguments& a) {
    return is_undefined(a[0]) || a[0].is_string() || a[0].is_array() || a[0].is_object();
  };
  static const std::map<std::string_view, Test> table = {
      {"defined", [](JinjaArguments& a) { return !is_undefined(a[0]); }},
      {"undefined", [](JinjaArguments& a) { return is_undefined(a[0]); }},
      {"none", [](JinjaArguments& a) { return is_python_none(a[0]); }},
      {"boolean", [](JinjaArguments& a) { return a[0].is_boolean(); }},
      {"true", [](JinjaArguments& a) { return a[0].is_boolean() && a[0].get<bool>(); }},
      {"false", [](JinjaArguments& a) { return a[0].is_boolean() && !a[0].get<bool>(); }},
      {"integer", [](JinjaArguments& a) { return a[0].is_number_integer(); }},
      {"float", [](JinjaArguments& a) { return a[0].is_number_float() && !is_python_none(a[0]); }},
      {"number", [](JinjaArguments& a) { return is_numeric(a[0]); }},
      {"string", [](JinjaArguments& a) { return a[0].is_string(); }},
      {"mapping", [](JinjaArguments& a) { return a[0].is_object() && !a[0].is_callable(); }},
      {"iterable", iterable},
      {"sequence", iterable},
      {"callable", [](JinjaArguments& a) { return a[0].is_callable(); }},
      {"in", [](JinjaArguments& a) { return python_in(a[0], a[1]); }},
      {"odd", [](JinjaArguments& a) { return integer(a[0]) % 2 != 0; }},
      {"even", [](JinjaArguments& a) { return integer(a[0]) % 2 == 0; }},
      {"divisibleby", [](JinjaArguments& a) { return integer(a[0]) % integer(a[1]) == 0; }},
      {"lower", [](JinjaArguments& a) { return text(a[0]) == lowered(text(a[0])); }},
      {"eq", equal},
      {"equalto", equal},
      {"ne", unequal},
      {"lt", less},
      {"lessthan", less},
      {"gt", greater},
      {"greaterthan", greater},
      {"le", at_most},
      {"ge", at_least},
  };
  return table;
}

bool call_test(const std::string& name, JinjaArguments& a) {
  const std::string known = name == "==" ? "eq" : name == "!=" ? "ne" : name;
  const auto found = tests().find(known);
  if (found == tests().end()) throw std::runtime_error(std::format("there is no test '{}'", name));
  return found->second(a);
}

// --- Globals -----------------------------------------------------------------------------------

Value made_dictionary(JinjaArguments& a) {
  Value out = Value::object();
  for (const Value& source : a.values.args) {
    for (const Value& key : python_elements(source)) {
      if (source.is_object()) {
        out.set(key, source.at(key));
      } else {
        out.set(key.at(std::size_t{0}), key.at(std::size_t{1}));
      }
    }
  }
  for (const auto& [key, value] : a.values.kwargs) out.set(key, value);
  return out;
}

Value range(JinjaArguments& a) {
  const bool one = a.values.args.size() == 1;
  const std::int64_t begin = one ? 0 : integer(a[0]);
  const std::int64_t end = one ? integer(a[0]) : integer(a[1]);
  const std::int64_t step = a.values.args.size() > 2 ? integer(a[2]) : 1;
  constexpr std::int64_t kMost = 100000;
  if (step == 0 || (end - begin) / step > kMost) throw std::runtime_error("range() is too large");
  std::vector<Value> out;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) out.emplace_back(i);
  return python_list(out);
}

Value joiner(JinjaArguments& a) {
  const std::string separator = text(a.get(0, "sep", Value(", ")));
  auto used = std::make_shared<bool>(false);
  return Value::callable([=](const std::shared_ptr<minja::Context>&, minja::ArgumentsValue&) {
    return Value(std::exchange(*used, true) ? separator : std::string());
  });
}

std::string formatted_time(std::chrono::sys_seconds now, const std::string& format) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(now);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::string out(256 + format.size() * 8, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &parts));
  return out;
}

template <class Callee>
Value callable(Callee callee) {
  return Value::callable(
      [callee](const std::shared_ptr<minja::Context>& context, minja::ArgumentsValue& values) {
        JinjaArguments arguments{values, context};
        return Value(callee(arguments));
      });
}

}  // namespace
}  // namespace functions

bool is_jinja_filter(std::string_view name) { return functions::filters().contains(name); }
bool is_jinja_test(std::string_view name) { return functions::tests().contains(name); }

namespace functions {
namespace {

// minja looks a name up by going through them all, and here are a hundred.
class Globals : public minja::Context {
 public:
  Globals() : Context(Value::object()) {
    add(kHelperPrefix, operators());
    add(kFilterPrefix, filters());
    add(kTestPrefix, tests());
    names_.emplace(std::string(kHelperPrefix) + "none", python_none());
    names_.emplace("dict", callable(made_dictionary));
    names_.emplace("namespace", callable(made_dictionary));
    names_.emplace("range", callable(range));
    names_.emplace("joiner", callable(joiner));
    names_.emplace("raise_exception", callable([](JinjaArguments& a) -> Value {
                     throw JinjaRefusal(text(a.get(0, "message", Value(std::string()))));
                   }));
  }
  Value get(const Value& key) override {
    const auto found = names_.find(key.get<std::string>());
    return found == names_.end() ? Value() : found->second;
  }
  Value& at(const Value& key) override { return names_.at(key.get<std::string>()); }
  bool contains(const Value& key) override { return names_.contains(key.get<std::string>()); }

 private:
  template <class Table>
  void add(std::string_view prefix, const Table& table) {
    for (const auto& [name, function] : table) {
      names_.emplace(std::string(prefix) + std::string(name), callable(function));
    }
  }
  std::unordered_map<std::string, Value> names_;
};

}  // namespace
}  // namespace functions

std::shared_ptr<minja::Context> jinja_globals(std::chrono::sys_seconds now) {
  // Never changed: what a template sets goes into the contexts within.
  static const auto globals = std::make_shared<functions::Globals>();
  JinjaValue clock = JinjaValue::object();
  clock.set("strftime_now", functions::callable([now](JinjaArguments& a) {
              return functions::formatted_time(
                  now, python_str(a.get(0, "format", JinjaValue(std::string()))));
            }));
  return std::make_shared<minja::Context>(std::move(clock), globals);
}

}  // namespace asynclm
