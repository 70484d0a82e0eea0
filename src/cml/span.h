// SPDX-License-Identifier: Apache-2.0
// Typed context: a context is a list of spans, and only a control span yields a control token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

namespace asynclm {

// Where a text comes from; for logs, training data and the checks of the typed context.
enum class Origin : std::uint8_t {
  chat_template,
  system,
  user,
  assistant,    // a recorded earlier answer
  runtime,      // written by the session: ids, its own messages
  tool_result,  // whatever a tool returned
  tool_error,
};
[[nodiscard]] std::string_view to_string(Origin origin);

struct ControlSpan {
  Token token;
};
struct TextSpan {
  std::string bytes;
  Origin origin;
};
using Span = std::variant<ControlSpan, TextSpan>;

// Appends the span's tokens. `internal` if the vocabulary turned text into a control token: then
// `out` is unchanged.
[[nodiscard]] Result<void> append_tokens(const Vocabulary& vocabulary, const Span& span,
                                         std::vector<Token>& out);

// The same of several, up to the first that is refused.
[[nodiscard]] Result<void> append_spans(const Vocabulary& vocabulary, std::span<const Span> spans,
                                        std::vector<Token>& out);

}  // namespace asynclm
