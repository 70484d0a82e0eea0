// SPDX-License-Identifier: Apache-2.0
#include "cml/chat_template.h"

#include <algorithm>
#include <exception>
#include <format>
#include <memory>
#include <mutex>
#include <utility>

#include <minja/minja.hpp>

namespace asynclm {
namespace {

// Private-use characters: no template text holds them, and Jinja filters such as trim keep them.
constexpr std::string_view kOpen = "\xEE\x80\x80";
constexpr std::string_view kClose = "\xEE\x80\x81";

std::string placeholder(std::size_t index) {
  return std::string(kOpen) + std::to_string(index) + std::string(kClose);
}

// Parsing costs far more than rendering, and a program has few templates.
std::shared_ptr<minja::TemplateNode> parse_template(const std::string& source) {
  thread_local std::string last_source;
  thread_local std::shared_ptr<minja::TemplateNode> last;
  if (!last || source != last_source) {
    // minja's parser uses std::regex, and that a cache of the locale's, which it fills without a
    // lock.
    static std::mutex one_at_a_time;
    const std::lock_guard lock(one_at_a_time);
    last = minja::Parser::parse(
        source, {.trim_blocks = true, .lstrip_blocks = true, .keep_trailing_newline = false});
    last_source = source;
  }
  return last;
}

Result<std::string> render(const Vocabulary& vocabulary, const std::vector<std::string>& roles,
                           bool add_generation_prompt) {
  const std::string source = vocabulary.chat_template();
  if (source.empty()) {
    return fail(ErrorCode::unsupported, "the model file carries no chat template");
  }
  try {
    nlohmann::ordered_json messages = nlohmann::ordered_json::array();
    for (std::size_t i = 0; i < roles.size(); ++i) {
      messages.push_back({{"role", roles[i]}, {"content", placeholder(i)}});
    }
    const Token bos = vocabulary.begin_of_text();
    const auto context = minja::Context::make(
        nlohmann::ordered_json{{"messages", messages},
                               {"add_generation_prompt", add_generation_prompt},
                               {"bos_token", bos == kNoToken ? "" : vocabulary.spelling(bos)}});
    return parse_template(source)->render(context);
  } catch (const std::exception& e) {
    return fail(ErrorCode::unsupported,
                std::format("the model's chat template cannot be rendered: {}", e.what()));
  }
}

// Where the template writes the message, or an error.
Result<std::size_t> find_message(std::string_view rendered, std::size_t index,
                                 const std::string& role) {
  const auto position = rendered.find(placeholder(index));
  if (position == std::string_view::npos) {
    return fail(ErrorCode::unsupported,
                std::format("the model's chat template drops the message of role '{}'", role));
  }
  return position;
}

// Template text may spell control tokens; it comes from the model file and is trusted.
void append_template_text(const std::vector<std::pair<std::string, Token>>& controls,
                          std::string_view text, std::vector<Span>& out) {
  std::string plain;
  const auto flush = [&] {
    if (!plain.empty()) out.emplace_back(TextSpan{std::exchange(plain, {}), Origin::chat_template});
  };
  while (!text.empty()) {
    const auto match = std::ranges::find_if(
        controls, [&](const auto& control) { return text.starts_with(control.first); });
    if (match == controls.end()) {
      plain.push_back(text.front());
      text.remove_prefix(1);
      continue;
    }
    flush();
    out.emplace_back(ControlSpan{match->second});
    text.remove_prefix(match->first.size());
  }
  flush();
}

// Longest spelling first, so that no control token hides a longer one.
std::vector<std::pair<std::string, Token>> control_spellings(const Vocabulary& vocabulary) {
  std::vector<std::pair<std::string, Token>> controls;
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (!vocabulary.is_control(token)) continue;
    std::string spelling = vocabulary.spelling(token);
    if (!spelling.empty()) controls.emplace_back(std::move(spelling), token);
  }
  std::ranges::stable_sort(
      controls, [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return controls;
}

std::unexpected<Error> written_twice() {
  return fail(
      ErrorCode::unsupported,
      "the model's chat template writes a message twice or changes the order of the messages");
}

Result<std::vector<Span>> fill(const Vocabulary& vocabulary, std::string_view rendered,
                               const std::vector<TypedMessage>& messages, std::size_t first) {
  const auto controls = control_spellings(vocabulary);
  std::vector<Span> spans;
  for (std::size_t i = first; i < messages.size(); ++i) {
    const auto position = find_message(rendered, i, messages[i].role);
    if (!position) return std::unexpected(position.error());
    if (rendered.substr(0, *position).contains(kOpen)) return written_twice();
    append_template_text(controls, rendered.substr(0, *position), spans);
    spans.append_range(messages[i].content);
    rendered.remove_prefix(*position + placeholder(i).size());
  }
  if (rendered.contains(kOpen)) return written_twice();
  append_template_text(controls, rendered, spans);
  return spans;
}

auto ends_generation(const Vocabulary& vocabulary) {
  return [&vocabulary](const Span& span) {
    const auto* control = std::get_if<ControlSpan>(&span);
    return control != nullptr && vocabulary.is_end_of_generation(control->token);
  };
}

}  // namespace

Result<std::vector<Span>> render_chat(const Vocabulary& vocabulary,
                                      const std::vector<TypedMessage>& messages) {
  std::vector<std::string> roles;
  for (const TypedMessage& message : messages) roles.push_back(message.role);
  const auto rendered = render(vocabulary, roles, /*add_generation_prompt=*/true);
  if (!rendered) return std::unexpected(rendered.error());
  auto spans = fill(vocabulary, *rendered, messages, 0);
  // Most templates leave the first token to whoever tokenises the prompt.
  if (const Token bos = vocabulary.begin_of_text(); spans && bos != kNoToken) {
    const auto* first = spans->empty() ? nullptr : std::get_if<ControlSpan>(&spans->front());
    if (first == nullptr || first->token != bos) spans->insert(spans->begin(), ControlSpan{bos});
  }
  return spans;
}

Result<std::vector<Span>> render_next_turn(const Vocabulary& vocabulary,
                                           const std::vector<Span>& user_message, bool ended) {
  const auto before = render(vocabulary, {"user", "assistant"}, false);
  if (!before) return std::unexpected(before.error());
  const auto after = render(vocabulary, {"user", "assistant", "user"}, true);
  if (!after) return std::unexpected(after.error());
  if (!after->starts_with(*before)) {
    return fail(ErrorCode::unsupported,
                "the model's chat template rewrites earlier turns; start a new conversation");
  }
  const std::vector<TypedMessage> messages = {
      {"user", {}}, {"assistant", {}}, {"user", user_message}};
  // Where the template writes the token that ends the assistant's turn, what it writes after it
  // (often a line break) is still missing.
  const auto assistant = find_message(*after, 1, "assistant");
  if (!assistant) return std::unexpected(assistant.error());
  auto spans = fill(vocabulary, std::string_view(*after).substr(*assistant + placeholder(1).size()),
                    messages, 2);
  if (!spans || !ended) return spans;
  const auto user = std::ranges::find_if(*spans, [](const Span& span) {
    const auto* text = std::get_if<TextSpan>(&span);
    return text != nullptr && text->origin != Origin::chat_template;
  });
  const auto end = std::find_if(spans->begin(), user, ends_generation(vocabulary));
  if (end != user) {
    spans->erase(spans->begin(), end + 1);
    return spans;
  }
  return fill(vocabulary, std::string_view(*after).substr(before->size()), messages, 2);
}

Token end_of_turn(const Vocabulary& vocabulary) {
  if (const auto rendered = render(vocabulary, {"user", "assistant"}, false)) {
    if (const auto assistant = find_message(*rendered, 1, "assistant")) {
      std::vector<Span> spans;
      append_template_text(control_spellings(vocabulary),
                           std::string_view(*rendered).substr(*assistant + placeholder(1).size()),
                           spans);
      const auto end = std::ranges::find_if(spans, ends_generation(vocabulary));
      if (end != spans.end()) return std::get<ControlSpan>(*end).token;
    }
  }
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (vocabulary.is_end_of_generation(token)) return token;
  }
  return kNoToken;
}

}  // namespace asynclm
