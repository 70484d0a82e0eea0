// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_increment.h"

#include <algorithm>
#include <format>
#include <iterator>
#include <utility>

#include "dialect/jinja.h"

namespace asynclm {
namespace {

using Kind = TemplatePiece::Kind;

// Without what ends the turn, if the model has written that token itself.
std::vector<Span> without_end(std::vector<Span> spans, const Vocabulary& vocabulary,
                              TurnState state) {
  if (state != TurnState::ended) return spans;
  const auto content = std::ranges::find_if(spans, [](const Span& span) {
    const auto* text = std::get_if<TextSpan>(&span);
    return text != nullptr && text->origin != Origin::chat_template;
  });
  const auto end = std::find_if(spans.begin(), content, [&](const Span& span) {
    const auto* control = std::get_if<ControlSpan>(&span);
    return control != nullptr && vocabulary.is_end_of_generation(control->token);
  });
  if (end != content) spans.erase(spans.begin(), std::next(end));
  return spans;
}

void append_result(const TemplatePieces& pieces, const TemplateDialect& dialect,
                   const ControlSpellings& controls, const TemplateResult& result,
                   const ChatCall& last, std::vector<Span>& out) {
  for (const TemplatePiece& piece : pieces) {
    switch (piece.kind) {
      case Kind::literal:
        out.append_range(template_spans(controls, piece.text));
        break;
      case Kind::content: {
        std::string text = result.content;
        if (dialect.result.json) {
          // The quotes are the template's.
          text = json_as_python(text);
          text = text.substr(1, text.size() - 2);
        }
        const Origin origin = result.failed ? Origin::tool_error : Origin::tool_result;
        if (!text.empty()) out.emplace_back(TextSpan{std::move(text), origin});
        break;
      }
      default: {
        const std::string text = filled({piece}, {.name = result.call.name,
                                                  .id = result.call.id,
                                                  .index = dialect.call.first_index + result.index,
                                                  .last_name = last.name,
                                                  .last_id = last.id});
        out.emplace_back(TextSpan{text, Origin::runtime});
      }
    }
  }
}

// The first result's pieces where no section of calls stands before it.
TemplatePieces after_other_text(const TemplateDialect& dialect) {
  TemplatePieces pieces = dialect.result.first;
  if (pieces.empty() || pieces.front().kind != Kind::literal) return pieces;
  std::string& text = pieces.front().text;
  if (text.starts_with(dialect.call.turn_end)) {
    text = dialect.text_turn_end + text.substr(dialect.call.turn_end.size());
  }
  return pieces;
}

// Behind another result, where the template says nothing of two in a turn.
TemplatePieces after_result(const TemplateDialect& dialect) {
  TemplatePieces pieces = dialect.result.first;
  if (!pieces.empty() && pieces.front().kind == Kind::literal &&
      pieces.front().text.starts_with(dialect.call.turn_end)) {
    pieces.front().text.erase(0, dialect.call.turn_end.size());
  }
  TemplatePieces last = dialect.result.last;
  for (TemplatePiece& piece : last) {
    if (piece.kind == Kind::id) piece.kind = Kind::last_id;
    if (piece.kind == Kind::name) piece.kind = Kind::last_name;
  }
  pieces.insert(pieces.begin(), last.begin(), last.end());
  return pieces;
}

}  // namespace

std::vector<Span> template_spans(const ControlSpellings& controls, std::string_view text) {
  return Marks(controls, text).spans(text);
}

Result<std::vector<Span>> next_turn(const ChatTemplate& chat, const TemplateDialect& dialect,
                                    const Vocabulary& vocabulary, const ControlSpellings& controls,
                                    const std::vector<ChatMessage>& messages,
                                    const RenderOptions& options, TurnState state) {
  // The words that stand for the answer before: where they end, the rest begins.
  constexpr std::string_view kAnswer = "Quzanswer";
  std::vector<ChatMessage> all = {{.role = ChatRole::user, .content = "Quzquestion"},
                                  {.role = ChatRole::assistant, .content = std::string(kAnswer)}};
  all.append_range(messages);
  RenderOptions prompted = options;
  prompted.generation_prompt = true;
  auto spans = chat.render_spans(controls, all, prompted);
  if (!spans) return std::unexpected(spans.error());
  const auto answer = std::ranges::find_if(*spans, [&](const Span& span) {
    const auto* text = std::get_if<TextSpan>(&span);
    return text != nullptr && text->bytes.contains(kAnswer);
  });
  if (answer == spans->end()) {
    return fail(ErrorCode::unsupported,
                std::format("the chat template ({}) drops the assistant's answer", dialect.family));
  }
  TextSpan& text = std::get<TextSpan>(*answer);
  text.bytes.erase(0, text.bytes.find(kAnswer) + kAnswer.size());
  if (!text.bytes.empty()) text.origin = Origin::chat_template;
  spans->erase(spans->begin(), text.bytes.empty() ? std::next(answer) : answer);
  return without_end(*std::move(spans), vocabulary, state);
}

std::vector<Span> result_turn(const TemplateDialect& dialect, const Vocabulary& vocabulary,
                              const ControlSpellings& controls,
                              const std::vector<TemplateResult>& results, ResultPlace place,
                              TurnState state) {
  std::vector<Span> out;
  const ResultForm& form = dialect.result;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const TemplatePieces pieces =
        i == 0 ? (place == ResultPlace::after_calls ? form.first : after_other_text(dialect))
        : form.between.empty() ? after_result(dialect)
                               : form.between;
    append_result(pieces, dialect, controls, results[i], results[i == 0 ? 0 : i - 1].call, out);
  }
  if (!results.empty()) {
    append_result(form.last, dialect, controls, results.back(), results.back().call, out);
  }
  out.append_range(template_spans(controls, form.prompt));
  return without_end(std::move(out), vocabulary, state);
}

}  // namespace asynclm
