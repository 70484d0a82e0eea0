// SPDX-License-Identifier: Apache-2.0
#include "cml/writer.h"

#include <algorithm>
#include <cstdint>
#include <format>

namespace asynclm {
namespace {

// Two significant digits: a model reads fewer tokens, and equal tool lists stay equal when
// estimates drift a little.
std::int64_t round_estimate(std::int64_t ms) {
  std::int64_t unit = 1;
  while (ms / unit >= 100) unit *= 10;
  return (ms + unit / 2) / unit * unit;
}

std::string type_name(const Json& schema) {
  if (const auto type = schema.find("type"); type != schema.end()) {
    if (type->is_string()) return type->get<std::string>();
    if (type->is_array()) {
      std::string names;
      for (const Json& name : *type) {
        if (!names.empty()) names += '|';
        names += name.is_string() ? name.get<std::string>() : "any";
      }
      return names;
    }
  }
  return "any";
}

bool is_required(const Json& parameters, const std::string& name) {
  const auto required = parameters.find("required");
  return required != parameters.end() &&
         std::ranges::find(*required, Json(name)) != required->end();
}

std::string signature(const ToolSpec& tool) {
  std::string out = tool.name + "(";
  const auto properties = tool.parameters.find("properties");
  if (properties != tool.parameters.end()) {
    bool first = true;
    for (const auto& [name, schema] : properties->items()) {
      if (!first) out += ", ";
      first = false;
      out += name;
      if (!is_required(tool.parameters, name)) out += '?';
      out += ": " + type_name(schema);
    }
  }
  return out + ")";
}

}  // namespace

std::vector<Span> interrupt_spans(const Markers& markers, std::string_view id,
                                  std::string_view text, Origin origin) {
  const auto marker = [&](Marker which) { return ControlSpan{markers.token(which)}; };
  return {marker(Marker::intr), TextSpan{std::string(id), Origin::runtime}, marker(Marker::head),
          TextSpan{std::string(text), origin}, marker(Marker::end)};
}

std::vector<const ToolSpec*> by_priority(const std::vector<ToolSpec>& tools) {
  std::vector<const ToolSpec*> order;
  for (const ToolSpec& tool : tools) order.push_back(&tool);
  std::ranges::stable_sort(order, [](const ToolSpec* a, const ToolSpec* b) {
    return a->estimate != b->estimate ? a->estimate > b->estimate : a->name < b->name;
  });
  return order;
}

std::string tools_document(Mode mode, const std::vector<ToolSpec>& tools) {
  const auto order = by_priority(tools);
  std::string out = std::format("mode {}\n", to_string(mode));
  for (std::size_t i = 0; i < order.size(); ++i) {
    out += std::format("{} {} ms {}: {}\n", i + 1, round_estimate(order[i]->estimate.count()),
                       order[i]->description, signature(*order[i]));
  }
  return out;
}

}  // namespace asynclm
