// SPDX-License-Identifier: Apache-2.0
#include "cml/span.h"

#include <format>

namespace asynclm {
namespace {

struct Appender {
  const Vocabulary& vocabulary;
  std::vector<Token>& out;

  Result<void> operator()(const ControlSpan& span) const {
    out.push_back(span.token);
    return {};
  }
  Result<void> operator()(const TextSpan& span) const {
    const std::vector<Token> tokens = vocabulary.encode(span.bytes);
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
  }
  return "?";
}

Result<void> append_tokens(const Vocabulary& vocabulary, const Span& span,
                           std::vector<Token>& out) {
  return std::visit(Appender{vocabulary, out}, span);
}

Result<void> append_spans(const Vocabulary& vocabulary, std::span<const Span> spans,
                          std::vector<Token>& out) {
  for (const Span& span : spans) {
    if (auto ok = append_tokens(vocabulary, span, out); !ok) return ok;
  }
  return {};
}

}  // namespace asynclm
