// SPDX-License-Identifier: Apache-2.0
// Part of template_probe: how a template writes calls, read off what it writes for made-up ones.
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/template_dialect.h"

namespace asynclm {

// Names that stand in no template.
inline constexpr std::string_view kProbeName = "quzfetch";
inline constexpr std::string_view kProbeName2 = "quzstore";
inline constexpr std::string_view kProbeName3 = "quzwatch";
inline constexpr std::array<std::string_view, 3> kProbeKeys = {"quzka", "quzkb", "quzkc"};

[[nodiscard]] ChatCall probe_call(std::string_view name, IdForm ids, std::size_t index);

// The text of an assistant's turn of these calls, behind its opening; none if it cannot be
// rendered.
using CallTexts = std::function<std::optional<std::string>(std::vector<ChatCall>)>;

// None if the calls are not printed whole. `text_turn_end`: how a turn of text ends.
[[nodiscard]] std::optional<CallForm> read_call_form(const CallTexts& texts, IdForm ids,
                                                     std::string_view text_turn_end);

// One call in the template's form, without the section's marks.
[[nodiscard]] std::string written_call(const CallForm& form, const ChatCall& call,
                                       std::size_t index);
// All of a turn, with the marks; empty if there are none.
[[nodiscard]] std::string written_calls(const CallForm& form, const std::vector<ChatCall>& calls);

}  // namespace asynclm
