// SPDX-License-Identifier: Apache-2.0
// How one model calls tools: what its chat template says, made ready for sessions. Immutable;
// shared by all sessions of the model.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/protocol.h>

#include "dialect/reader.h"
#include "dialect/template_dialect.h"
#include "dialect/template_render.h"
#include "grammar/grammar.h"

namespace asynclm {

// A call in the template's own form, as a grammar can hold it. The texts may have control tokens.
struct CallBlock {
  std::string open_first;  // up to where the grammar begins: of the first call of a section
  std::string open_next;   // … and of a further one, behind the call before
  JsonCallForm form;       // what the grammar takes: no control token is in it
  TemplatePieces close;    // from where the grammar ends to the end of the call
  // The marks that open or close a call are tokens that the model was never trained on, so that it
  // cannot say by them whether another call follows. Then calls stand in one block, a line each:
  // what the model would write in the next line is its answer.
  bool lines = false;
};

class ModelDialect {
 public:
  // `generic`: the generic form, whatever the template says of calls. `vocabulary` must outlive the
  // dialect. `now`: what a template's clock tells. unsupported: there is no chat template, or it
  // cannot be used.
  [[nodiscard]] static Result<std::shared_ptr<const ModelDialect>> find(
      const Vocabulary& vocabulary, bool generic, std::chrono::sys_seconds now);

  [[nodiscard]] const ChatTemplate& chat() const { return chat_; }
  [[nodiscard]] const TemplateDialect& form() const { return form_; }
  [[nodiscard]] const ControlSpellings& controls() const { return controls_; }
  [[nodiscard]] RenderOptions render_options() const;
  // Empty where calls are not constrained: their form is not one that the grammar has.
  [[nodiscard]] const std::optional<CallBlock>& block() const { return block_; }
  [[nodiscard]] dialect::ReaderOptions reader_options(bool strict) const;

  // Control tokens that the model must not write: roles, others' marks, those never trained.
  [[nodiscard]] std::span<const Token> banned() const { return banned_; }
  // Ends the model's turn; kNoToken: nothing does.
  [[nodiscard]] Token end_of_turn() const { return end_of_turn_; }
  // The model was not trained on this form of calls: it needs words on what to do with results.
  [[nodiscard]] bool needs_advice() const {
    return !untrained_.empty() || form_.call.source == CallForm::Source::generic;
  }
  // Control tokens of the form that the model was never trained on, by their spelling.
  [[nodiscard]] const std::vector<std::string>& untrained() const { return untrained_; }

 private:
  ModelDialect(ChatTemplate chat, TemplateDialect form, const Vocabulary& vocabulary,
               std::chrono::sys_seconds now);
  void find_block(const Vocabulary& vocabulary);
  void find_tokens(const Vocabulary& vocabulary);

  ChatTemplate chat_;
  TemplateDialect form_;
  ControlSpellings controls_;
  std::chrono::sys_seconds now_;
  std::optional<CallBlock> block_;
  std::vector<Token> banned_;
  Token end_of_turn_ = kNoToken;
  std::vector<std::string> untrained_;
};

// The tools as chat templates take them: [{"type": "function", "function": {…}}, …].
[[nodiscard]] nlohmann::ordered_json template_tools(std::span<const ToolSpec> tools);

}  // namespace asynclm
