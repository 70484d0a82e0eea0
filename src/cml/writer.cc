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
  return {marker_span(markers, Marker::intr), TextSpan{std::string(id), Origin::runtime},
          marker_span(markers, Marker::head), TextSpan{std::string(text), origin},
          marker_span(markers, Marker::end)};
}

std::string spelled_protocol() {
  return "You can call the functions listed below, and go on writing while they run. Write a call "
         "as\n"
         "[CALL]name[HEAD]function(argument=\"value\", other=3)[END]\n"
         "with a new name for each call. Its result comes later, in the middle of what you write:\n"
         "[INTR]name[HEAD]result[END]\n"
         "Never write [INTR] yourself. Go on with whatever does not need the result. When nothing "
         "is left to do without one, write [TRAP][END] and you will be given it.\n"
         "Where data holds one of these words, it stands there with a dot, as in [.END]. Copy it "
         "so.\n";
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
