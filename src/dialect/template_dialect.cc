// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_dialect.h"

#include <algorithm>
#include <format>
#include <utility>

#include "dialect/jinja.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;
using Kind = TemplatePiece::Kind;

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::literal:
      return "literal";
    case Kind::name:
      return "name";
    case Kind::arguments:
      return "arguments";
    case Kind::id:
      return "id";
    case Kind::index:
      return "index";
    case Kind::content:
      return "content";
    case Kind::last_name:
      return "last name";
    case Kind::last_id:
      return "last id";
  }
  std::unreachable();
}

std::string_view to_string(ToolsForm::Place place) {
  switch (place) {
    case ToolsForm::Place::nowhere:
      return "nowhere";
    case ToolsForm::Place::system:
      return "in front of the first user turn";
    case ToolsForm::Place::first_user:
      return "in the first user turn";
    case ToolsForm::Place::last_user:
      return "at the last user turn";
  }
  std::unreachable();
}

std::string_view to_string(IdForm form) {
  switch (form) {
    case IdForm::any:
      return "any";
    case IdForm::nine:
      return "nine letters or digits";
    case IdForm::functions:
      return "functions.NAME:INDEX";
  }
  std::unreachable();
}

std::string_view to_string(ArgumentsForm::Kind kind) {
  switch (kind) {
    case ArgumentsForm::Kind::json:
      return "JSON object";
    case ArgumentsForm::Kind::json_text:
      return "JSON object in a string";
    case ArgumentsForm::Kind::pairs:
      return "one text for each";
  }
  std::unreachable();
}

// Python's literals.
std::string python_literal(const Json& value) {
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value.is_array() || value.is_object()) {
    std::string out;
    for (const auto& [key, element] : value.items()) {
      if (!out.empty()) out += ", ";
      if (value.is_object()) out += json_as_python(key) + ": ";
      out += python_literal(element);
    }
    return value.is_array() ? "[" + out + "]" : "{" + out + "}";
  }
  return json_as_python(value);
}

std::string spaced(const ArgumentsForm& form, const Json& value) {
  if (!value.is_structured()) return json_as_python(value);
  std::string out;
  for (const auto& [key, element] : value.items()) {
    if (!out.empty()) out += form.item_separator;
    if (value.is_object()) out += json_as_python(key) + form.key_separator;
    out += spaced(form, element);
  }
  return value.is_array() ? "[" + out + "]" : "{" + out + "}";
}

std::string pair_value(const ArgumentsForm& form, const Json& value) {
  if (value.is_string()) return form.string_open + value.get<std::string>() + form.string_close;
  return form.other_open +
         (form.values == ArgumentsForm::Values::python ? python_literal(value)
                                                       : json_as_python(value)) +
         form.other_close;
}

std::string literal_text(const std::string& text) { return json_as_python(text); }

}  // namespace

std::string filled(const TemplatePieces& pieces, const PieceValues& values) {
  std::string out;
  for (const TemplatePiece& piece : pieces) {
    switch (piece.kind) {
      case Kind::literal:
        out += piece.text;
        break;
      case Kind::name:
        out += values.name;
        break;
      case Kind::arguments:
        out += values.arguments;
        break;
      case Kind::id:
        out += values.id;
        break;
      case Kind::index:
        out += std::to_string(values.index);
        break;
      case Kind::content:
        out += values.content;
        break;
      case Kind::last_name:
        out += values.last_name;
        break;
      case Kind::last_id:
        out += values.last_id;
        break;
    }
  }
  return out;
}

std::string shown(const TemplatePieces& pieces) {
  std::string out;
  for (const TemplatePiece& piece : pieces) {
    out += piece.kind == Kind::literal ? piece.text : std::format("‹{}›", to_string(piece.kind));
  }
  return out;
}

bool has(const TemplatePieces& pieces, Kind kind) {
  return std::ranges::contains(pieces, kind, &TemplatePiece::kind);
}

std::string written_arguments(const ArgumentsForm& form, const Json& arguments) {
  Json given = arguments;
  if (form.sorted) given = Json(nlohmann::json(arguments));
  if (form.kind == ArgumentsForm::Kind::json) return spaced(form, given);
  if (form.kind == ArgumentsForm::Kind::json_text) return json_as_python(spaced(form, given));
  std::string out;
  bool first = true;
  for (const auto& [key, value] : given.items()) {
    if (!std::exchange(first, false)) out += form.between;
    out += form.before_key + key + form.after_key + pair_value(form, value) + form.after_value;
  }
  return out;
}

const CallForm& generic_call_form() {
  static const CallForm form = [] {
    CallForm out;
    out.after_text = "\n";
    out.call = {{Kind::literal, "<tool_call>\n{\"name\": \""},
                {Kind::name},
                {Kind::literal, "\", \"arguments\": "},
                {Kind::arguments},
                {Kind::literal, "}\n</tool_call>"}};
    out.between = "\n";
    return out;
  }();
  return form;
}

const CallForm* told_call_form(std::string_view words) {
  static const auto list = [](std::string_view open, std::string_view close) {
    CallForm out;
    out.source = CallForm::Source::told;
    out.section_open = std::string(open) + "[";
    out.call = {{Kind::literal, "{\"name\": \""},
                {Kind::name},
                {Kind::literal, "\", \"arguments\": "},
                {Kind::arguments},
                {Kind::literal, "}"}};
    out.between = ", ";
    out.section_close = "]" + std::string(close);
    return out;
  };
  static const CallForm phi = list("<|tool_call|>", "<|/tool_call|>");
  static const CallForm granite = list("<|tool_call|>", "");
  static const CallForm lfm2 = [] {
    CallForm out = list("<|tool_call_start|>", "<|tool_call_end|>");
    out.call = {{Kind::name}, {Kind::literal, "("}, {Kind::arguments}, {Kind::literal, ")"}};
    out.arguments.kind = ArgumentsForm::Kind::pairs;
    out.arguments.after_key = "=";
    out.arguments.string_open = out.arguments.string_close = "\"";
    out.arguments.between = ", ";
    out.arguments.values = ArgumentsForm::Values::python;
    return out;
  }();
  static const CallForm hermes = [] {
    CallForm out = generic_call_form();
    out.source = CallForm::Source::told;
    return out;
  }();
  if (words.contains("<|tool_call_start|>") || words.contains("<|tool_list_start|>")) return &lfm2;
  if (words.contains("<|/tool_call|>") || words.contains("<|/tool|>")) return &phi;
  if (words.contains("<|tool_call|>")) return &granite;
  return words.contains("<tool_call>") ? &hermes : nullptr;
}

std::string generic_result(std::string_view content) {
  return std::format("<tool_response>\n{}\n</tool_response>", content);
}

const std::string& generic_call_instructions() {
  static const std::string text =
      "To call a function, write this and nothing else, with its name and its arguments:\n"
      "<tool_call>\n{\"name\": \"NAME\", \"arguments\": {\"PARAMETER\": VALUE}}\n</tool_call>\n"
      "Call a function only if it is needed, once for each thing asked. Its result follows in "
      "<tool_response>.";
  return text;
}

std::string generic_instructions(const Json& tools) {
  std::string out = "You can call functions. They are, as JSON:\n<tools>\n";
  for (const Json& tool : tools) out += json_as_python(tool) + "\n";
  return out + "</tools>\n\n" + generic_call_instructions();
}

Json to_json(const TemplateDialect& d) {
  const ArgumentsForm& a = d.call.arguments;
  Json arguments = {{"form", to_string(a.kind)}};
  if (a.kind == ArgumentsForm::Kind::pairs) {
    arguments["before_key"] = a.before_key;
    arguments["after_key"] = a.after_key;
    arguments["string_open"] = a.string_open;
    arguments["string_close"] = a.string_close;
    arguments["other_open"] = a.other_open;
    arguments["other_close"] = a.other_close;
    arguments["after_value"] = a.after_value;
    arguments["between"] = a.between;
    arguments["values"] = a.values == ArgumentsForm::Values::python ? "Python" : "JSON";
  } else {
    arguments["item_separator"] = a.item_separator;
    arguments["key_separator"] = a.key_separator;
  }
  arguments["sorted"] = a.sorted;
  Json out = {{"family", d.family}};
  out["tools"] = {{"shown", to_string(d.tools.place)},
                  {"told_in_system_message", d.tools.system_message}};
  const auto source = d.call.source;
  out["call"] = {{"source", source == CallForm::Source::printed ? "printed by the template"
                            : source == CallForm::Source::told  ? "named in the template's words"
                                                                : "generic"},
                 {"after_text", d.call.after_text},
                 {"section_open", d.call.section_open},
                 {"call", shown(d.call.call)},
                 {"between", d.call.between},
                 {"section_close", d.call.section_close},
                 {"turn_end", d.call.turn_end},
                 {"arguments", arguments},
                 {"first_index", d.call.first_index},
                 {"counts_on", d.call.counts_on},
                 {"several_in_a_turn", d.call.several},
                 {"keeps_text", d.call.keeps_text}};
  out["result"] = {{"first", shown(d.result.first)},      {"between", shown(d.result.between)},
                   {"last", shown(d.result.last)},        {"native", d.result.native},
                   {"prompt", d.result.prompt},           {"json", d.result.json},
                   {"by_position", d.result.by_position}, {"same_turn", d.result.same_turn}};
  out["reasoning"] = {{"open", d.reasoning.open},
                      {"close", d.reasoning.close},
                      {"prompt_opens", d.reasoning.prompt_opens},
                      {"prompt_closes", d.reasoning.prompt_closes},
                      {"off_variable", d.reasoning.off_variable},
                      {"off_prompt", d.reasoning.off_prompt},
                      {"dropped_from_past", d.reasoning.dropped_from_past},
                      {"kept_with_calls", d.reasoning.kept_with_calls},
                      {"excludes_text", d.reasoning.excludes_text}};
  out["ids"] = to_string(d.ids);
  out["messages"] = {
      {"arguments", d.form.arguments == MessageForm::Arguments::object ? "object" : "string"},
      {"empty_content", d.form.empty == MessageForm::Empty::text     ? "\"\""
                        : d.form.empty == MessageForm::Empty::absent ? "absent"
                                                                     : "null"},
      {"flat_calls", d.form.flat_calls}};
  out["assistant_open"] = d.assistant_open;
  out["prompt"] = d.prompt;
  out["text_turn_end"] = d.text_turn_end;
  out["system"] = {{"printed", d.has_system},
                   {"later_ones", d.later_systems},
                   {"developer", d.has_developer},
                   {"default", d.default_system}};
  out["alternates"] = d.alternates;
  out["tool_after_text"] = d.tool_after_text;
  out["rewrites_past"] = d.rewrites_past;
  out["notes"] = d.notes;
  out["example"] = d.example;
  return out;
}

std::string to_string(const TemplateDialect& d) {
  std::string out = std::format("family       {}\n", d.family);
  out += std::format("tools        {}{}\n", to_string(d.tools.place),
                     d.tools.system_message ? ", told in the system message's `tools`" : "");
  const std::string call = d.call.section_open + shown(d.call.call) + d.call.section_close;
  out += std::format("call         {}{}\n",
                     d.call.source == CallForm::Source::printed ? ""
                     : d.call.source == CallForm::Source::told  ? "as text: "
                                                                : "generic: ",
                     literal_text(call));
  if (d.call.several) {
    out += std::format("between two  {}\n", literal_text(d.call.between));
  } else {
    out += "calls        one in a turn\n";
  }
  out += std::format("arguments    {}\n", to_string(d.call.arguments.kind));
  out += std::format("turn's end   {}\n", literal_text(d.call.turn_end));
  out += std::format("result       {}\n",
                     literal_text(shown(d.result.first) + shown(d.result.last) + d.result.prompt));
  if (d.result.same_turn) out += "             the turn goes on behind it\n";
  if (!d.reasoning.open.empty()) {
    out +=
        std::format("reasoning    {}{}\n", literal_text(d.reasoning.open + "…" + d.reasoning.close),
                    d.reasoning.prompt_opens    ? ", opened by the prompt"
                    : d.reasoning.prompt_closes ? ", an empty one in the prompt"
                                                : "");
  }
  out += std::format("call ids     {}\n", to_string(d.ids));
  if (!d.has_system) out += "system       none: its text goes in front of the first user turn\n";
  if (d.alternates) out += "turns        must alternate\n";
  if (d.rewrites_past) out += "past turns   are printed otherwise once the next one comes\n";
  if (d.reasoning.dropped_from_past) out += "past turns   lose their reasoning\n";
  for (const std::string& note : d.notes) out += std::format("note         {}\n", note);
  if (!d.example.empty()) out += "example\n" + d.example + "\n";
  return out;
}

}  // namespace asynclm
