// SPDX-License-Identifier: Apache-2.0
#include "dialect/forms.h"

#include <algorithm>
#include <array>
#include <vector>

namespace asynclm::dialect {
namespace {

using enum MarkRole;

constexpr bool kUnclosed = true;
constexpr bool kBraces = true;

constexpr Mark kMarks[] = {
    // Hermes, Qwen, SmolLM, Granite, GLM; the model's own variations of it.
    {"<tool_call>", block_open},
    {"</tool_call>", block_close},
    {"<tool_calls>", block_open},
    {"</tool_calls>", block_close},
    {"<tools>", block_open},
    {"</tools>", block_close},
    {"<toolcall>", block_open},
    {"</toolcall>", block_close},
    {"<function_call>", block_open},
    {"</function_call>", block_close},
    {"<seed:tool_call>", block_open},
    {"</seed:tool_call>", block_close},
    {"<tool>", block_open},
    {"</tool>", block_close},
    {"<tool_use>", block_open},
    {"</tool_use>", block_close},
    // Nemotron, Olmo.
    {"<TOOLCALL>", block_open},
    {"</TOOLCALL>", block_close},
    {"<function_calls>", block_open},
    {"</function_calls>", block_close},
    {"<tool_code>", block_open},
    {"</tool_code>", block_close},
    // Granite 3.0, Phi.
    {"<|tool_call|>", block_open, kUnclosed},
    {"<|/tool_call|>", block_close},
    {"</|tool_call|>", block_close},
    {"functools[", block_open, kUnclosed},
    // Llama, Mistral.
    {"<|python_tag|>", block_open, kUnclosed},
    {"<|python_start|>", block_open, kUnclosed},
    {"<|python_end|>", block_close},
    {"[TOOL_CALLS]", block_open, kUnclosed},
    {"[/TOOL_CALLS]", block_close},
    {"[ARGS]", separator},
    {"[CALL_ID]", separator},
    // Gemma.
    {"<|tool_call>", block_open, false, kBraces},
    {"<tool_call|>", block_close},
    {"<start_function_call>", block_open, false, kBraces},
    {"<end_function_call>", block_close},
    // LFM2; its closing mark is Kimi's too.
    {"<|tool_call_start|>", block_open},
    {"<|tool_call_end|>", block_close},
    // Command R.
    {"<|START_ACTION|>", block_open},
    {"<|END_ACTION|>", block_close},
    // Kimi.
    {"<|tool_calls_section_begin|>", section},
    {"<|tool_calls_section_end|>", section},
    {"<|tool_call_begin|>", call_open},
    {"<|tool_call_argument_begin|>", separator},
    // DeepSeek.
    {"<｜tool▁calls▁begin｜>", section},
    {"<｜tool▁calls▁end｜>", section},
    {"<｜tool▁call▁begin｜>", call_open},
    {"<｜tool▁call▁end｜>", block_close},
    {"<｜tool▁sep｜>", separator},
    {"<｜DSML｜function_calls>", section},
    {"</｜DSML｜function_calls>", section},
    {"<｜DSML｜tool_calls>", section},
    {"</｜DSML｜tool_calls>", section},
    {"<｜DSML｜invoke ", call_open},
    {"</｜DSML｜invoke>", call_close},
    {"</｜DSML｜parameter>", call_close},
    // Qwen 3 Coder, MiniMax.
    {"<function=", call_open},
    {"<function name=", call_open},
    {"</function>", call_close},
    {"</parameter>", call_close},
    {"<minimax:tool_call>", section},
    {"</minimax:tool_call>", section},
    {"]<]minimax[>[", section},
    {"<invoke ", call_open},
    {"</invoke>", call_close},
    // GLM.
    {"<arg_key>", separator},
    {"</arg_key>", call_close},
    {"<arg_value>", separator},
    {"</arg_value>", call_close},
    // Reasoning.
    {"<think>", think_open},
    {"</think>", think_close},
    {"<thinking>", think_open},
    {"</thinking>", think_close},
    {"<seed:think>", think_open},
    {"</seed:think>", think_close},
    {"[THINK]", think_open},
    {"[/THINK]", think_close},
    {"<|START_THINKING|>", think_open},
    {"<|END_THINKING|>", think_close},
    {"◁think▷", think_open},
    {"◁/think▷", think_close},
    {"<|channel>thought", think_open},
    {"<channel|>", think_close},
    // Results.
    {"<tool_response>", result_open},
    {"</tool_response>", result_close},
    {"<|tool_response>", result_open},
    {"<tool_response|>", result_close},
    {"<start_function_response>", result_open},
    {"<end_function_response>", result_close},
    {"[TOOL_RESULTS]", result_open},
    {"[/TOOL_RESULTS]", result_close},
    {"<|START_TOOL_RESULT|>", result_open},
    {"<|END_TOOL_RESULT|>", result_close},
    {"<｜tool▁outputs▁begin｜>", result_open},
    {"<｜tool▁outputs▁end｜>", result_close},
    // Ends.
    {"<|im_end|>", turn_end},
    {"<|im_start|>", turn_end},
    {"<|endoftext|>", turn_end},
    {"<|end_of_text|>", turn_end},
    {"<|eot_id|>", turn_end},
    {"<|eom_id|>", turn_end},
    {"<|eot|>", turn_end},
    {"<|eom|>", turn_end},
    {"<|start_header_id|>", turn_end},
    {"<|header_start|>", turn_end},
    {"<|start_of_role|>", turn_end},
    {"</s>", turn_end},
    {"<eos>", turn_end},
    {"[INST]", turn_end},
    {"<end_of_turn>", turn_end},
    {"<start_of_turn>", turn_end},
    {"<turn|>", turn_end},
    {"<|turn>", turn_end},
    {"<|END_OF_TURN_TOKEN|>", turn_end},
    {"<|START_OF_TURN_TOKEN|>", turn_end},
    {"<｜end▁of▁sentence｜>", turn_end},
    {"<｜User｜>", turn_end},
    {"<｜Assistant｜>", turn_end},
    {"<|user|>", turn_end},
    {"<|assistant|>", turn_end},
    {"<|system|>", turn_end},
    {"<|observation|>", turn_end},
    {"<|im_user|>", turn_end},
    {"<|im_assistant|>", turn_end},
    {"<|im_system|>", turn_end},
    {"[e~[", turn_end},
    {"<SPECIAL_11>", turn_end},
    {"<SPECIAL_12>", turn_end},
    // Around visible text.
    {"<|START_RESPONSE|>", ornament},
    {"<|END_RESPONSE|>", ornament},
    {"<|START_TEXT|>", ornament},
    {"<|END_TEXT|>", ornament},
    {"<|CHATBOT_TOKEN|>", ornament},
    // Harmony.
    {"<|start|>", harmony_start},
    {"<|channel|>", harmony_start},
    {"<|message|>", harmony_part},
    {"<|constrain|>", harmony_part},
    {"<|call|>", harmony_end},
    {"<|end|>", harmony_end},
    {"<|return|>", harmony_end},
};

constexpr auto kSorted = [] {
  std::array<Mark, std::size(kMarks)> marks{};
  std::ranges::copy(kMarks, marks.begin());
  std::ranges::sort(marks, {}, &Mark::text);
  return marks;
}();

constexpr bool is_prefix_free() {
  return std::ranges::adjacent_find(kSorted, [](const Mark& a, const Mark& b) {
           return b.text.starts_with(a.text);
         }) == kSorted.end();
}
static_assert(is_prefix_free());

}  // namespace

std::span<const Mark> all_marks() { return kSorted; }

const Mark* find_mark(std::string_view text) {
  const auto at = std::ranges::lower_bound(kSorted, text, {}, &Mark::text);
  return at != kSorted.end() && at->text == text ? &*at : nullptr;
}

bool may_begin_mark(char c) { return c == '<' || c == '[' || c == ']' || c == 'f' || c == "◁"[0]; }

std::string_view to_string(CallForm form) {
  switch (form) {
    case CallForm::object:
      return "object";
    case CallForm::python:
      return "python";
    case CallForm::named_object:
      return "named object";
    case CallForm::braces:
      return "braces";
    case CallForm::parameter_tags:
      return "parameter tags";
    case CallForm::pair_tags:
      return "pair tags";
    case CallForm::recipient:
      return "recipient";
  }
  return "";
}

}  // namespace asynclm::dialect
