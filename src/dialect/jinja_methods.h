// SPDX-License-Identifier: Apache-2.0
// Methods of Python's strings, lists and dictionaries, as far as chat templates call them.
#pragma once

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "dialect/jinja_value.h"

namespace asynclm {

// What raise_exception throws. minja passes it on as text alone, so the text begins with kRefusal.
inline constexpr std::string_view kRefusal = "\x01refused\x01";
struct JinjaRefusal : std::runtime_error {
  explicit JinjaRefusal(const std::string& message)
      : std::runtime_error(std::string(kRefusal) + message + std::string(kRefusal)) {}
};

// The arguments of a call from a template.
struct JinjaArguments {
  minja::ArgumentsValue values;
  std::shared_ptr<minja::Context> context;

  // Throws where the argument is missing.
  [[nodiscard]] const JinjaValue& operator[](std::size_t index) const {
    if (index >= values.args.size()) throw std::runtime_error("an argument is missing");
    return values.args[index];
  }
  // By its place or its name.
  [[nodiscard]] JinjaValue get(std::size_t index, const std::string& name,
                               const JinjaValue& otherwise) {
    if (index < values.args.size()) return values.args[index];
    return values.has_named(name) ? values.get_named(name) : otherwise;
  }
  [[nodiscard]] JinjaValue named(const std::string& name) { return values.get_named(name); }
};

// Arguments: the method's name, the value, the method's own. Throws where the value has no such
// method.
[[nodiscard]] JinjaValue python_method(JinjaArguments& arguments);

// `chars`: None, or the characters to strip.
[[nodiscard]] std::string python_strip(const std::string& text, const JinjaValue& chars, bool left,
                                       bool right);

// "%s of %d" % (a, b)
[[nodiscard]] std::string python_format_percent(const std::string& format,
                                                const std::vector<JinjaValue>& values);

}  // namespace asynclm
