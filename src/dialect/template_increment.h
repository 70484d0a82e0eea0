// SPDX-License-Identifier: Apache-2.0
// What is appended to a context that only grows: a new turn, results, the assistant's opening. It
// is what the template writes there, taken from a short conversation of the same shape, so that
// nothing that stands is rendered again, whatever the template does to older turns.
#pragma once

#include <string>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "cml/span.h"
#include "dialect/template_dialect.h"
#include "dialect/template_render.h"

namespace asynclm {

// How the assistant's turn stands at the end of the context.
enum class TurnState : std::uint8_t {
  open,   // it is not ended: what ends it is written first
  ended,  // its last token is the one that ends it (end of generation); nothing behind it
};

// Messages of a new turn (users', systems') behind a finished turn of text, and the opening of the
// assistant's. `messages` are normalised ones. unsupported: the template does not continue.
[[nodiscard]] Result<std::vector<Span>> next_turn(const ChatTemplate& chat,
                                                  const TemplateDialect& dialect,
                                                  const Vocabulary& vocabulary,
                                                  const ControlSpellings& controls,
                                                  const std::vector<ChatMessage>& messages,
                                                  const RenderOptions& options, TurnState state);

struct TemplateResult {
  ChatCall call;
  std::size_t index = 0;  // of the call, as CallForm::first_index counts
  std::string content = {};
  bool failed = false;
};

// Where results come.
enum class ResultPlace : std::uint8_t {
  after_calls,  // behind the section of the calls (section_close is written)
  after_text,   // the assistant has gone on, with text
};

// Results, and the opening of the assistant's turn behind them.
[[nodiscard]] std::vector<Span> result_turn(const TemplateDialect& dialect,
                                            const Vocabulary& vocabulary,
                                            const ControlSpellings& controls,
                                            const std::vector<TemplateResult>& results,
                                            ResultPlace place, TurnState state);

// A template's own text, control tokens in it.
[[nodiscard]] std::vector<Span> template_spans(const ControlSpellings& controls,
                                               std::string_view text);

}  // namespace asynclm
