// SPDX-License-Identifier: Apache-2.0
// The marks with which models set calls, reasoning and ends apart from text, of all families: the
// mark decides how a text is read, not the name of the model. No mark is the beginning of another.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace asynclm::dialect {

enum class MarkRole : std::uint8_t {
  block_open,     // <tool_call>: calls follow
  block_close,    //
  call_open,      // <function=: a call's own opening mark
  call_close,     //
  section,        // around calls that have marks of their own; says nothing more
  separator,      // within a call
  think_open,     // reasoning
  think_close,    //
  turn_end,       // the model's turn is over, or somebody else's begins
  result_open,    // a tool's result, which the model cannot know
  result_close,   //
  ornament,       // belongs to no text: <|START_RESPONSE|>
  harmony_start,  // <|start|>, <|channel|>
  harmony_part,   // <|message|>, <|constrain|>
  harmony_end,    // <|call|>, <|end|>, <|return|>
};

struct Mark {
  std::string_view text;
  MarkRole role;
  // Of block_open: the family's blocks have no closing mark.
  bool unclosed = false;
  // Of block_open and call_open: what follows the name is in Gemma's syntax (bare keys).
  bool braces = false;
};

// Sorted by text.
[[nodiscard]] std::span<const Mark> all_marks();
// Null where there is no such mark.
[[nodiscard]] const Mark* find_mark(std::string_view text);

// Whether a first byte can begin a mark.
[[nodiscard]] bool may_begin_mark(char c);

// In which form a call stands.
enum class CallForm : std::uint8_t {
  object,          // {"name": …, "arguments": …}, alone or in a list
  python,          // name(key=value)
  named_object,    // name and JSON: name[ARGS]{…}, name<|tool_call_argument_begin|>{…}
  braces,          // call:name{key:<|"|>value<|"|>}
  parameter_tags,  // <function=name><parameter=key>value</parameter></function>, <invoke name="…">
  pair_tags,       // name<arg_key>key</arg_key><arg_value>value</arg_value>
  recipient,       // to=functions.name in a header
};
[[nodiscard]] std::string_view to_string(CallForm form);

}  // namespace asynclm::dialect
