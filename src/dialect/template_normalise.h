// SPDX-License-Identifier: Apache-2.0
// Messages as clients send them become messages that a template admits.
#pragma once

#include <vector>

#include <nlohmann/json.hpp>

#include "dialect/template_dialect.h"
#include "dialect/template_message.h"

namespace asynclm {

// In this order: results follow their calls, in the order of these, with their names; ids in the
// dialect's form (nine letters or digits where it has none); calls one a turn where it admits no
// more; calls and results as text where the template prints none; system texts where it takes them;
// neighbours of one role merged where turns must alternate. Nothing is lost but reasoning beside
// text where a template refuses both. `tools`: told here if the template tells none.
[[nodiscard]] std::vector<ChatMessage> normalise(std::vector<ChatMessage> messages,
                                                 const TemplateDialect& dialect,
                                                 const nlohmann::ordered_json& tools = {});

}  // namespace asynclm
