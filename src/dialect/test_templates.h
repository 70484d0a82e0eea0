// SPDX-License-Identifier: Apache-2.0
// For tests: the chat templates of tests/data/templates.
#pragma once

#include <algorithm>
#include <chrono>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "cml/test_vocabulary.h"
#include "dialect/template_probe.h"
#include "dialect/template_render.h"

namespace asynclm {

inline const std::string kTemplates = ASYNCLM_SOURCE_DIR "/tests/data/templates/";
// The time of the renders there.
inline constexpr std::chrono::sys_seconds kTemplateTime =
    std::chrono::sys_days{std::chrono::July / 30 / 2026} + std::chrono::hours{12} +
    std::chrono::minutes{34} + std::chrono::seconds{56};

inline std::string template_file(const std::string& name) {
  const auto text = read_whole_file(kTemplates + name, 1 << 22);
  EXPECT_TRUE(text) << name;
  return text.value_or("");
}

inline ChatTemplate chat_template(const std::string& source) {
  auto chat = ChatTemplate::parse(source, "<s>", "</s>");
  if (!chat) throw std::runtime_error(chat.error().message);
  return *chat;
}
inline ChatTemplate family_template(const std::string& family) {
  return chat_template(template_file(family + ".jinja"));
}

// Parsing takes longer than probing, and several tests look at one family.
inline TemplateDialect family_dialect(const std::string& family) {
  static std::map<std::string, TemplateDialect> known;
  const auto found = known.find(family);
  if (found != known.end()) return found->second;
  auto dialect = probe_template(family_template(family), kTemplateTime);
  if (!dialect) throw std::runtime_error(dialect.error().message);
  return known.emplace(family, *std::move(dialect)).first->second;
}

inline ChatMessage system_message(const std::string& text) {
  return {.role = ChatRole::system, .content = text};
}
inline ChatMessage user_message(const std::string& text) {
  return {.role = ChatRole::user, .content = text};
}
inline ChatMessage assistant_message(const std::string& text) {
  return {.role = ChatRole::assistant, .content = text};
}
inline ChatMessage calling_message(std::vector<ChatCall> calls) {
  return {.role = ChatRole::assistant, .calls = std::move(calls)};
}
inline ChatMessage tool_message(const std::string& id, const std::string& text,
                                const std::string& name = "") {
  return {.role = ChatRole::tool, .content = text, .call_id = id, .name = name};
}

// A vocabulary whose control tokens are given, behind the fake engine's.
class ControlVocabulary : public TestVocabulary {
 public:
  explicit ControlVocabulary(std::vector<std::string> controls) {
    first_ = TestVocabulary::size();
    pieces = std::move(controls);
  }
  [[nodiscard]] Token control(std::string_view spelling) const override {
    const auto at = std::ranges::find(pieces, spelling);
    return at == pieces.end() ? kNoToken : first_ + static_cast<Token>(at - pieces.begin());
  }
  [[nodiscard]] bool is_control(Token token) const override { return token >= first_; }
  void append_piece(Token token, std::string& out) const override {
    if (token < first_) TestVocabulary::append_piece(token, out);
  }

 private:
  Token first_ = 0;
};

}  // namespace asynclm
