// SPDX-License-Identifier: Apache-2.0
#include "dialect/jinja_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <format>
#include <stdexcept>
#include <utility>

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;

std::string text_of(const JinjaValue& value) { return value.get<std::string>(); }

// As repr(float): the shortest digits that mean this number.
std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 400> buffer{};
  const auto print = [&](std::chars_format format) {
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format).ptr;
    return std::string(buffer.data(), end);
  };
  std::string out = print(std::chars_format::scientific);
  const int exponent = std::stoi(out.substr(out.find('e') + 1));
  if (exponent < -4 || exponent >= 16) return out;
  out = print(std::chars_format::fixed);
  return out.contains('.') ? out : out + ".0";
}

std::string number_text(const JinjaValue& value) {
  return value.is_number_float() ? float_text(value.get<double>()) : value.get<Json>().dump();
}

// As repr(str).
std::string string_repr(std::string_view text) {
  const char quote = text.contains('\'') && !text.contains('"') ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += std::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + quote;
}

// nlohmann's writer escapes as Python's does.
std::string json_string(std::string_view text, bool ascii) {
  return Json(text).dump(-1, ' ', ascii, Json::error_handler_t::replace);
}

class JsonWriter {
 public:
  explicit JsonWriter(const JsonStyle& style) : style_(style) {}
  void write(const JinjaValue& value, int level) {
    if (is_python_none(value)) {
      out_ += "null";
    } else if (is_undefined(value) || value.is_callable()) {
      throw std::runtime_error(
          std::format("Object of type {} is not JSON serializable", python_type(value)));
    } else if (value.is_array()) {
      const auto elements = python_elements(value);
      bracketed('[', ']', elements.size(), level,
                [&](std::size_t i) { write(elements[i], level + 1); });
    } else if (value.is_object()) {
      auto keys = python_elements(value);
      if (style_.sorted) std::ranges::sort(keys, python_less);
      bracketed('{', '}', keys.size(), level, [&](std::size_t i) {
        out_ += json_string(python_str(keys[i]), style_.ascii) + style_.key_separator;
        write(value.at(keys[i]), level + 1);
      });
    } else if (value.is_boolean()) {
      out_ += value.get<bool>() ? "true" : "false";
    } else if (value.is_number()) {
      out_ += number_text(value);
    } else {
      out_ += json_string(text_of(value), style_.ascii);
    }
  }
  std::string take() { return std::move(out_); }

 private:
  template <class Element>
  void bracketed(char open, char close, std::size_t size, int level, const Element& element) {
    out_ += open;
    for (std::size_t i = 0; i < size; ++i) {
      if (i > 0) out_ += style_.item_separator;
      new_line(level + 1);
      element(i);
    }
    if (size > 0) new_line(level);
    out_ += close;
  }
  void new_line(int level) {
    if (style_.indent < 0) return;
    out_ += '\n';
    out_.append(static_cast<std::size_t>(style_.indent) * static_cast<std::size_t>(level), ' ');
  }

  const JsonStyle& style_;
  std::string out_;
};

}  // namespace

JinjaValue python_none() { return JinjaValue(-0.0); }

bool is_python_none(const JinjaValue& value) {
  return value.is_primitive() && value.is_number_float() && value.get<double>() == 0 &&
         std::signbit(value.get<double>());
}

bool is_undefined(const JinjaValue& value) { return value.is_null(); }

bool is_python_number(const JinjaValue& value) {
  return value.is_number() && !is_python_none(value);
}

JinjaValue python_value(const Json& json) {
  if (json.is_null()) return python_none();
  if (json.is_array()) {
    JinjaValue out = JinjaValue::array();
    for (const Json& element : json) out.push_back(python_value(element));
    return out;
  }
  if (json.is_object()) {
    JinjaValue out = JinjaValue::object();
    for (const auto& [key, element] : json.items()) out.set(key, python_value(element));
    return out;
  }
  if (json.is_number_float() && json.get<double>() == 0) return JinjaValue(0.0);
  return JinjaValue(json);
}

std::string python_type(const JinjaValue& value) {
  if (is_undefined(value)) return "Undefined";
  if (is_python_none(value)) return "NoneType";
  if (value.is_callable()) return "function";
  if (value.is_array()) return "list";
  if (value.is_object()) return "dict";
  if (value.is_boolean()) return "bool";
  if (value.is_number_integer()) return "int";
  return value.is_number_float() ? "float" : "str";
}

std::string python_str(const JinjaValue& value) {
  if (value.is_string()) return text_of(value);
  return is_undefined(value) ? "" : python_repr(value);
}

std::string python_repr(const JinjaValue& value) {
  if (is_undefined(value)) return "Undefined";
  if (is_python_none(value)) return "None";
  if (value.is_callable()) return "<function>";
  if (value.is_array()) {
    std::string out;
    for (const JinjaValue& element : python_elements(value)) {
      out += (out.empty() ? "" : ", ") + python_repr(element);
    }
    return "[" + out + "]";
  }
  if (value.is_object()) {
    std::string out;
    for (const JinjaValue& key : python_elements(value)) {
      out += (out.empty() ? "" : ", ") + python_repr(key) + ": " + python_repr(value.at(key));
    }
    return "{" + out + "}";
  }
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_number()) return number_text(value);
  return string_repr(text_of(value));
}

bool python_truth(const JinjaValue& value) {
  if (value.is_callable()) return true;
  if (value.is_object()) return !value.empty();
  return value.to_bool();
}

bool python_equal(const JinjaValue& a, const JinjaValue& b) {
  if (is_undefined(a) || is_undefined(b)) return is_undefined(a) && is_undefined(b);
  if (is_python_none(a) || is_python_none(b)) return is_python_none(a) && is_python_none(b);
  if (a.is_callable() || b.is_callable()) return false;
  if (a.is_array() && b.is_array()) {
    return std::ranges::equal(python_elements(a), python_elements(b), python_equal);
  }
  if (a.is_object() && b.is_object()) {
    return a.size() == b.size() && std::ranges::all_of(python_elements(a), [&](const auto& key) {
             return b.contains(key) && python_equal(a.at(key), b.at(key));
           });
  }
  if (!a.is_primitive() || !b.is_primitive()) return false;
  const auto number = [](const JinjaValue& value) {
    return value.is_boolean() ? Json(value.get<bool>() ? 1 : 0) : value.get<Json>();
  };
  return number(a) == number(b);
}

bool python_less(const JinjaValue& a, const JinjaValue& b) {
  if (a.is_string() && b.is_string()) return text_of(a) < text_of(b);
  const auto orders = [](const JinjaValue& value) {
    return value.is_boolean() || is_python_number(value);
  };
  if (orders(a) && orders(b)) {
    const auto number = [](const JinjaValue& value) {
      return value.is_boolean() ? (value.get<bool>() ? 1.0 : 0.0) : value.get<double>();
    };
    return number(a) < number(b);
  }
  if (a.is_array() && b.is_array()) {
    const auto left = python_elements(a);
    const auto right = python_elements(b);
    return std::ranges::lexicographical_compare(left, right, python_less);
  }
  throw std::runtime_error(
      std::format("'{}' and '{}' have no order", python_type(a), python_type(b)));
}

bool python_in(const JinjaValue& value, const JinjaValue& container) {
  if (container.is_string()) {
    if (!value.is_string()) {
      throw std::runtime_error(std::format("a string is searched for a {}", python_type(value)));
    }
    return text_of(container).contains(text_of(value));
  }
  if (container.is_array()) {
    return std::ranges::any_of(python_elements(container),
                               [&](const auto& element) { return python_equal(element, value); });
  }
  if (container.is_object()) return value.is_primitive() && container.contains(value);
  if (is_undefined(container)) return false;
  throw std::runtime_error(
      std::format("argument of type '{}' is not iterable", python_type(container)));
}

std::vector<JinjaValue> python_elements(const JinjaValue& value) {
  std::vector<JinjaValue> out;
  if (is_undefined(value)) return out;
  if (value.is_string()) {
    const std::string text = text_of(value);
    for (const std::string_view character : characters(text)) {
      out.emplace_back(std::string(character));
    }
    return out;
  }
  if (!value.is_array() && !value.is_object()) {
    throw std::runtime_error(std::format("'{}' object is not iterable", python_type(value)));
  }
  value.for_each([&](const JinjaValue& element) { out.push_back(element); });
  return out;
}

JinjaValue python_list(const std::vector<JinjaValue>& elements) {
  return JinjaValue::array(elements);
}

std::string python_json(const JinjaValue& value, const JsonStyle& style) {
  JsonWriter writer(style);
  writer.write(value, 0);
  return writer.take();
}

}  // namespace asynclm
