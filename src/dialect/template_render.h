// SPDX-License-Identifier: Apache-2.0
// A model's chat template: conversations become the text that transformers' apply_chat_template
// makes of them, or the typed spans of that text.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "cml/span.h"
#include "dialect/jinja.h"
#include "dialect/template_marks.h"
#include "dialect/template_message.h"

namespace asynclm {

struct RenderOptions {
  bool generation_prompt = true;
  nlohmann::ordered_json tools = {};      // OpenAI form; null: none
  nlohmann::ordered_json variables = {};  // further ones ("enable_thinking": false); null: none
  std::chrono::sys_seconds now{};         // what a template's clock tells; one value per session
  MessageForm form = {};
};

class ChatTemplate {
 public:
  // unsupported: the template cannot be parsed. `bos`, `eos`: how the tokens are spelled.
  [[nodiscard]] static Result<ChatTemplate> parse(const std::string& source, std::string bos,
                                                  std::string eos);

  // Transformers' text. Errors as of JinjaTemplate::render.
  [[nodiscard]] Result<std::string> render(const std::vector<ChatMessage>& messages,
                                           const RenderOptions& options) const;
  // The same of messages in the template's own form.
  [[nodiscard]] Result<std::string> render(const nlohmann::ordered_json& messages,
                                           const RenderOptions& options) const;

  // The same text in spans. Whatever people, tools and results wrote is text, whatever it spells.
  // A template that looks at such spellings itself sees them marked. Where that changes what it
  // does with an assistant's earlier text (`</think>`), that text is taken as transformers takes
  // it; elsewhere the text may then differ from transformers'.
  [[nodiscard]] Result<std::vector<Span>> render_spans(const ControlSpellings& controls,
                                                       const std::vector<ChatMessage>& messages,
                                                       const RenderOptions& options) const;

  [[nodiscard]] const std::string& source() const { return jinja_.source(); }
  [[nodiscard]] const std::string& eos() const { return eos_; }

 private:
  ChatTemplate(JinjaTemplate jinja, std::string bos, std::string eos);

  JinjaTemplate jinja_;
  std::string bos_;
  std::string eos_;
};

// The text of spans, control tokens by their spelling.
[[nodiscard]] std::string spelled_spans(const Vocabulary& vocabulary,
                                        const std::vector<Span>& spans);

}  // namespace asynclm
