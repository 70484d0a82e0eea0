// SPDX-License-Identifier: Apache-2.0
// Renders a conversation with the model's own Jinja chat template into typed spans. Contents are
// rendered as placeholders and put back afterwards, so no content is ever parsed as template text
// or as a control token.
#pragma once

#include <string>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "cml/span.h"

namespace asynclm {

// A message whose content is typed.
struct TypedMessage {
  std::string role;
  std::vector<Span> content;
};

// The whole conversation, ready for the model's next token. unsupported: the model has no chat
// template, or the template fails or drops a message.
[[nodiscard]] Result<std::vector<Span>> render_chat(const Vocabulary& vocabulary,
                                                    const std::vector<TypedMessage>& messages);

// What a further user message adds to the assistant's turn before it. `ended`: the context ends
// with the token by which the model ended that turn; else what the template writes there comes
// first. unsupported if the template's output is not a continuation of the earlier turns.
[[nodiscard]] Result<std::vector<Span>> render_next_turn(const Vocabulary& vocabulary,
                                                         const std::vector<Span>& user_message,
                                                         bool ended = true);

// The token by which the assistant's turn ends: the first end-of-generation token that the template
// writes after its message. A vocabulary may have several (one that ends a document, one that ends
// a turn); where the template writes none, the one with the lowest id. kNoToken: there is none.
[[nodiscard]] Token end_of_turn(const Vocabulary& vocabulary);

}  // namespace asynclm
