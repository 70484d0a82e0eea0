// SPDX-License-Identifier: Apache-2.0
#include "cml/span.h"

#include <format>

#include "cml/spelled_markers.h"

namespace asynclm {
namespace {

struct Appender {
  const Vocabulary& vocabulary;
  const Markers& markers;
  std::vector<Token>& out;

  Result<void> operator()(const ControlSpan& span) const {
    out.push_back(span.token);
    return {};
  }
  Result<void> operator()(const TextSpan& span) const {
    const bool armed = !markers.are_spelled() || span.origin == Origin::protocol;
    const std::vector<Token> tokens = vocabulary.encode(armed ? span.bytes : disarm(span.bytes));
    for (const Token token : tokens) {
      if (vocabulary.is_control(token)) {
        return fail(
            ErrorCode::internal,
            std::format("text of origin '{}' was tokenised to the control token {}: refused",
                        to_string(span.origin), vocabulary.spelling(token)));
      }
    }
    out.insert(out.end(), tokens.begin(), tokens.end());
    return {};
  }
};

}  // namespace

std::string_view to_string(Origin origin) {
  switch (origin) {
    case Origin::chat_template:
      return "chat_template";
    case Origin::system:
      return "system";
    case Origin::user:
      return "user";
    case Origin::assistant:
      return "assistant";
    case Origin::runtime:
      return "runtime";
    case Origin::tool_result:
      return "tool_result";
    case Origin::tool_error:
      return "tool_error";
    case Origin::protocol:
      return "protocol";
  }
  return "?";
}

Span marker_span(const Markers& markers, Marker marker) {
  if (!markers.are_spelled()) return ControlSpan{markers.token(marker)};
  return TextSpan{std::string(kMarkerSpellings[static_cast<std::size_t>(marker)]),
                  Origin::protocol};
}

Result<void> append_tokens(const Vocabulary& vocabulary, const Markers& markers, const Span& span,
                           std::vector<Token>& out) {
  return std::visit(Appender{vocabulary, markers, out}, span);
}

Result<void> append_spans(const Vocabulary& vocabulary, const Markers& markers,
                          std::span<const Span> spans, std::vector<Token>& out) {
  std::size_t meant = 0;  // markers
  std::vector<Token> tokens;
  for (const Span& span : spans) {
    if (auto ok = append_tokens(vocabulary, markers, span, tokens); !ok) return ok;
    const auto* const text = std::get_if<TextSpan>(&span);
    if (text != nullptr && text->origin == Origin::protocol) {
      meant += count_spelled_markers(text->bytes);
    }
  }
  if (markers.are_spelled()) {
    std::string text;
    for (const Token token : tokens) {
      if (vocabulary.is_control(token)) text += '\0';
      vocabulary.append_piece(token, text);
    }
    if (count_spelled_markers(text) != meant) {
      return fail(ErrorCode::internal,
                  "text from outside, with what stands around it, spells a marker: refused");
    }
  }
  out.insert(out.end(), tokens.begin(), tokens.end());
  return {};
}

}  // namespace asynclm
