// SPDX-License-Identifier: Apache-2.0
// Typed context: a context is a list of spans, and only a control span yields a control token.
// Where markers are spelled as text, only text of the protocol yields a marker.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "cml/markers.h"

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
  protocol,  // written by the session: markers that are spelled, and what explains them
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

[[nodiscard]] Span marker_span(const Markers& markers, Marker marker);

// Appends the span's tokens. `internal` if the vocabulary turned text into a control token, or,
// where markers are spelled, into one of them: then `out` is unchanged.
[[nodiscard]] Result<void> append_tokens(const Vocabulary& vocabulary, const Markers& markers,
                                         const Span& span, std::vector<Token>& out);

// The same of spans that stand together: neither may text and what is around it spell a marker.
[[nodiscard]] Result<void> append_spans(const Vocabulary& vocabulary, const Markers& markers,
                                        std::span<const Span> spans, std::vector<Token>& out);

}  // namespace asynclm
