// SPDX-License-Identifier: Apache-2.0
// What a chat template says about how its model calls tools: found by rendering it with probes
// (template_probe.h), described for people and for `asynclm models show`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "dialect/template_message.h"

namespace asynclm {

// A text with holes. Neighbours are never both literals.
struct TemplatePiece {
  enum class Kind : std::uint8_t {
    literal,
    name,
    arguments,
    id,
    index,
    content,
    last_name,  // of the call whose result came before
    last_id,
  };
  Kind kind = Kind::literal;
  std::string text = {};  // literal
  friend bool operator==(const TemplatePiece&, const TemplatePiece&) = default;
};
using TemplatePieces = std::vector<TemplatePiece>;

// What fills the holes. `index`: the call's number, in the turn or the conversation.
struct PieceValues {
  std::string name = {};
  std::string arguments = {};
  std::string id = {};
  std::size_t index = 0;
  std::string content = {};
  std::string last_name = {};
  std::string last_id = {};
};
[[nodiscard]] std::string filled(const TemplatePieces& pieces, const PieceValues& values);
// "<tool_call>\n{"name": "‹name›", …": for people.
[[nodiscard]] std::string shown(const TemplatePieces& pieces);
[[nodiscard]] bool has(const TemplatePieces& pieces, TemplatePiece::Kind kind);

// How a call's arguments are written.
struct ArgumentsForm {
  enum class Kind : std::uint8_t {
    json,       // {"city": "Oslo"}
    json_text,  // the same as a string in JSON: "{\"city\": \"Oslo\"}"
    pairs,      // a text for each argument
  };
  enum class Values : std::uint8_t { json, python };  // true or True

  Kind kind = Kind::json;
  // json and json_text: the writer's spacing.
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  // pairs: before_key KEY after_key OPEN VALUE CLOSE after_value, with `between` two of them.
  // Strings and other values have marks of their own; a string's text is written as it is.
  std::string before_key = {};
  std::string after_key = {};
  std::string string_open = {};
  std::string string_close = {};
  std::string other_open = {};
  std::string other_close = {};
  std::string after_value = {};
  std::string between = {};
  Values values = Values::json;
  bool sorted = false;  // by their names, not as given
};

// The arguments as the template writes them.
[[nodiscard]] std::string written_arguments(const ArgumentsForm& form,
                                            const nlohmann::ordered_json& arguments);

struct CallForm {
  enum class Source : std::uint8_t {
    printed,  // by the template: messages have their calls
    told,     // the template's words to the model name it, and it prints none: calls go as text
    generic,  // the template knows no calls: the generic form, told in our own words
  };
  Source source = Source::generic;
  std::string after_text = {};    // between visible text and the first call
  std::string section_open = {};  // before the first call
  TemplatePieces call = {};
  std::string between = {};        // two calls
  std::size_t first_index = 0;     // the first call's number, where the form has one
  bool counts_on = false;          // numbers go on in later turns
  std::string section_close = {};  // after the last call
  std::string turn_end = {};       // what the template ends the turn with, behind the section
  ArgumentsForm arguments = {};
  bool several = true;     // calls in one turn
  bool keeps_text = true;  // visible text beside calls is printed
};

struct ResultForm {
  bool native = false;  // role `tool` is printed; else results are text of the user
  // Behind the section of the calls (turn_end is in it, if anything ends the turn) up to the first
  // result's content: holes for the call's id and name.
  TemplatePieces first = {};
  TemplatePieces between = {};  // from one content to the next, of the same turn's results
  TemplatePieces last = {};     // behind the last content
  std::string prompt = {};      // what opens the assistant's turn then
  bool json = false;            // the content is printed as a string in JSON
  bool by_position = false;     // neither id nor name is printed: results stand in the calls' order
  bool same_turn = false;       // the model's own turn goes on after a result
};

struct ReasoningForm {
  std::string open = {};           // "<think>\n"; empty: the template prints none
  std::string close = {};          // "\n</think>\n\n"
  bool prompt_opens = false;       // the prompt ends inside the reasoning
  bool prompt_closes = false;      // the prompt has an empty block
  std::string off_variable = {};   // set to false it turns reasoning off: "enable_thinking"
  std::string off_prompt = {};     // the assistant's opening then
  bool dropped_from_past = false;  // earlier turns are printed without theirs
  bool kept_with_calls = true;     // printed in a turn of calls
  bool excludes_text = false;      // a turn of calls has reasoning or text, not both
};

struct ToolsForm {
  enum class Place : std::uint8_t { nowhere, system, first_user, last_user };
  Place place = Place::nowhere;
  bool system_message = false;  // told in the system message's `tools`, not by the variable
};

enum class IdForm : std::uint8_t {
  any,
  nine,       // nine letters and digits
  functions,  // functions.NAME:INDEX, counted over the conversation
};

struct TemplateDialect {
  std::string family = {};  // whose form it resembles: "hermes", "llama", "generic", …
  MessageForm form = {};
  ToolsForm tools = {};
  CallForm call = {};
  ResultForm result = {};
  ReasoningForm reasoning = {};
  IdForm ids = IdForm::any;

  std::string assistant_open = {};  // what every assistant's turn begins with
  std::string prompt = {};          // the generation prompt after a user's turn
  std::string text_turn_end = {};   // what the template ends a turn of text with

  bool has_system = true;           // a system message is printed
  bool later_systems = true;        // and so is one that is not the first message
  bool has_developer = false;       // role developer is printed as such
  bool alternates = false;          // two turns of one role are refused
  bool tool_after_text = true;      // a result may come when the assistant has gone on
  bool rewrites_past = false;       // a finished turn is printed otherwise once the next one comes
  std::string default_system = {};  // what the template says where there is no system message

  std::vector<std::string> notes = {};  // what could not be found out, for people
  std::string example = {};             // one conversation with a call, as it is rendered
};

[[nodiscard]] nlohmann::ordered_json to_json(const TemplateDialect& dialect);
[[nodiscard]] std::string to_string(const TemplateDialect& dialect);

// The form of calls that the words to the model name ("<|tool_call|>"), where it is one of those
// that templates tell and do not print; null if it is none.
[[nodiscard]] const CallForm* told_call_form(std::string_view words);

// The generic form: what a model is told whose template says nothing of calls, and how it calls.
[[nodiscard]] const CallForm& generic_call_form();
// A result as a user's text.
[[nodiscard]] std::string generic_result(std::string_view content);
[[nodiscard]] std::string generic_instructions(const nlohmann::ordered_json& tools);
// Of them, how to call: for templates that tell the tools and print no calls.
[[nodiscard]] const std::string& generic_call_instructions();

}  // namespace asynclm
