// SPDX-License-Identifier: Apache-2.0
#include "dialect/model_dialect.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "dialect/forms.h"
#include "dialect/template_increment.h"
#include "dialect/template_probe.h"

namespace asynclm {
namespace {

using Kind = TemplatePiece::Kind;

// For models without a chat template.
constexpr const char* kPlainTemplate =
    "{% for m in messages %}### {{ m.role }}\n{{ m.content }}{{ eos_token }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant\n{% endif %}";

// What a template's `eos_token` is: of the tokens that end a turn the one that it spells most
// often; where it spells none, the one with the lowest id.
Token end_token(const Vocabulary& vocabulary, std::string_view source) {
  Token best = kNoToken;
  std::size_t most = 0;
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (!vocabulary.is_end_of_generation(token)) continue;
    const std::string spelling = vocabulary.spelling(token);
    std::size_t count = 0;
    for (std::size_t at = source.find(spelling); !spelling.empty() && at != source.npos;
         at = source.find(spelling, at + spelling.size())) {
      ++count;
    }
    if (best == kNoToken || count > most) {
      best = token;
      most = count;
    }
  }
  return best;
}

// All that a template writes around calls, results' openings and reasoning: what the model may
// write itself.
std::vector<std::string_view> own_texts(const TemplateDialect& form) {
  std::vector<std::string_view> out = {form.call.after_text, form.call.section_open,
                                       form.call.between,    form.call.section_close,
                                       form.reasoning.open,  form.reasoning.close};
  for (const TemplatePiece& piece : form.call.call) {
    if (piece.kind == Kind::literal) out.push_back(piece.text);
  }
  return out;
}

}  // namespace

nlohmann::ordered_json template_tools(std::span<const ToolSpec> tools) {
  auto out = nlohmann::ordered_json::array();
  for (const ToolSpec& tool : tools) {
    out.push_back({{"type", "function"},
                   {"function",
                    {{"name", tool.name},
                     {"description", tool.description},
                     {"parameters", tool.parameters}}}});
  }
  return out;
}

Result<std::shared_ptr<const ModelDialect>> ModelDialect::find(const Vocabulary& vocabulary,
                                                               bool generic,
                                                               std::chrono::sys_seconds now) {
  std::string source = vocabulary.chat_template();
  if (source.empty() && generic) source = kPlainTemplate;
  if (source.empty()) {
    return fail(
        ErrorCode::unsupported,
        "the model has no chat template: it is a base model, or its file lacks it. Name a "
        "file with one (--chat-template FILE), or take --dialect generic, which needs none");
  }
  const Token bos = vocabulary.begin_of_text();
  const Token eos = end_token(vocabulary, source);
  auto chat = ChatTemplate::parse(source, bos == kNoToken ? "" : vocabulary.spelling(bos),
                                  eos == kNoToken ? "" : vocabulary.spelling(eos));
  if (!chat) return std::unexpected(chat.error());
  auto form = probe_template(*chat, now);
  if (!form) return std::unexpected(form.error());
  if (generic) {
    form->family = "generic";
    form->call = generic_call_form();
    form->tools = {};
    form->result.native = false;
  }
  return std::shared_ptr<const ModelDialect>(
      new ModelDialect(std::move(*chat), std::move(*form), vocabulary, now));
}

ModelDialect::ModelDialect(ChatTemplate chat, TemplateDialect form, const Vocabulary& vocabulary,
                           std::chrono::sys_seconds now)
    : chat_(std::move(chat)), form_(std::move(form)), controls_(vocabulary), now_(now) {
  find_tokens(vocabulary);
  find_block(vocabulary);
}

RenderOptions ModelDialect::render_options() const { return {.now = now_, .form = form_.form}; }

void ModelDialect::find_tokens(const Vocabulary& vocabulary) {
  std::vector<Token> own;
  for (const std::string_view text : own_texts(form_)) {
    for (const auto& control : controls_.all_in(text)) own.push_back(control.token);
  }
  std::ranges::sort(own);
  own.erase(std::ranges::unique(own).begin(), own.end());
  for (const Token token : own) {
    if (vocabulary.is_untrained(token)) untrained_.push_back(vocabulary.spelling(token));
  }
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (!vocabulary.is_control(token) || vocabulary.is_end_of_generation(token)) continue;
    const dialect::Mark* mark = dialect::find_mark(vocabulary.spelling(token));
    const bool may_be_written = mark != nullptr && mark->role != dialect::MarkRole::turn_end &&
                                mark->role != dialect::MarkRole::result_open &&
                                mark->role != dialect::MarkRole::result_close;
    const bool allowed = may_be_written || std::ranges::binary_search(own, token);
    if (!allowed || vocabulary.is_untrained(token)) banned_.push_back(token);
  }
  for (const std::string* end : {&form_.call.turn_end, &form_.text_turn_end}) {
    for (const auto& control : controls_.all_in(*end)) {
      const bool ends = vocabulary.is_end_of_generation(control.token);
      if (ends && end_of_turn_ == kNoToken) end_of_turn_ = control.token;
    }
  }
  if (end_of_turn_ == kNoToken) end_of_turn_ = end_token(vocabulary, chat_.source());
}

// [literal] name literal arguments …, with JSON arguments and no control token between the name and
// the arguments.
void ModelDialect::find_block(const Vocabulary& vocabulary) {
  const CallForm& call = form_.call;
  const TemplatePieces& pieces = call.call;
  // A fence around a list has no mark that ends a call.
  if ((call.after_text + call.section_open + call.section_close).contains("```")) return;
  if (call.arguments.kind != ArgumentsForm::Kind::json || call.arguments.sorted) return;
  std::size_t at = 0;
  std::string before;
  if (!pieces.empty() && pieces[0].kind == Kind::literal) before = pieces[at++].text;
  if (pieces.size() < at + 3 || pieces[at].kind != Kind::name ||
      pieces[at + 1].kind != Kind::literal || pieces[at + 2].kind != Kind::arguments) {
    return;
  }
  const std::string& between = pieces[at + 1].text;
  if (!controls_.all_in(between).empty()) return;
  CallBlock block;
  const auto before_controls = controls_.all_in(before);
  const std::size_t head = before_controls.empty() ? 0 : before_controls.back().end;
  block.open_first = call.section_open + before.substr(0, head);
  block.open_next = call.between + before.substr(0, head);
  block.form = {.before_name = before.substr(head),
                .before_arguments = between,
                .after_arguments = {},
                .item_separator = call.arguments.item_separator,
                .key_separator = call.arguments.key_separator};
  block.close.assign(pieces.begin() + static_cast<std::ptrdiff_t>(at) + 3, pieces.end());
  if (!block.close.empty() && block.close.front().kind == Kind::literal) {
    std::string& text = block.close.front().text;
    const auto controls = controls_.all_in(text);
    const std::size_t end = controls.empty() ? text.size() : controls.front().begin;
    block.form.after_arguments = text.substr(0, end);
    text.erase(0, end);
    if (text.empty()) block.close.erase(block.close.begin());
  }
  const auto has_untrained = [&](std::string_view text) {
    return std::ranges::any_of(controls_.all_in(text), [&](const auto& control) {
      return vocabulary.is_untrained(control.token);
    });
  };
  block.lines = (has_untrained(block.open_next) || has_untrained(filled(block.close, {}))) &&
                block.form.before_name.starts_with('\n') &&
                block.form.after_arguments.ends_with('\n') && !block.close.empty();
  block_ = std::move(block);
}

dialect::ReaderOptions ModelDialect::reader_options(bool strict) const {
  using Template = dialect::ReaderOptions::Template;
  dialect::ReaderOptions options{
      .reasoning_open = form_.reasoning.prompt_opens, .habits = !strict, .own_marks = {}};
  std::string text = form_.call.section_open;
  for (const TemplatePiece& piece : form_.call.call) {
    if (piece.kind == Kind::literal) text += piece.text;
  }
  for (const dialect::Mark& mark : dialect::all_marks()) {
    const bool opens =
        mark.role == dialect::MarkRole::block_open || mark.role == dialect::MarkRole::call_open;
    if (opens && text.contains(mark.text)) options.own_marks.emplace_back(mark.text);
  }
  if (form_.family == "harmony") {
    options.own = Template::recipients;
  } else if (form_.family == "command-r" && options.own_marks.empty()) {
    options.own = Template::action;
  } else if (options.own_marks.empty() && form_.call.source == CallForm::Source::printed) {
    options.own = Template::no_mark;
  }
  return options;
}

}  // namespace asynclm
