// SPDX-License-Identifier: Apache-2.0
// For tests: the fake engine's vocabulary, of which a test changes what it needs to be different.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>

#include "fixtures/fake_engine.h"

namespace asynclm {

class TestVocabulary : public Vocabulary {
 public:
  [[nodiscard]] Token size() const override {
    return fake_.size() + static_cast<Token>(pieces.size());
  }
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const override {
    return fake_.encode(text);
  }
  [[nodiscard]] Token control(std::string_view spelling) const override {
    return fake_.control(spelling);
  }
  [[nodiscard]] bool is_control(Token token) const override { return fake_.is_control(token); }
  [[nodiscard]] bool is_end_of_generation(Token token) const override {
    return std::ranges::contains(ends, token) || fake_.is_end_of_generation(token);
  }
  [[nodiscard]] Token begin_of_text() const override { return begin; }
  void append_piece(Token token, std::string& out) const override {
    if (token >= fake_.size()) {
      out += pieces[static_cast<std::size_t>(token - fake_.size())];
    } else {
      fake_.append_piece(token, out);
    }
  }
  [[nodiscard]] std::string spelling(Token token) const override {
    if (token < fake_.size()) return fake_.spelling(token);
    return pieces[static_cast<std::size_t>(token - fake_.size())];
  }
  // The token of one of the pieces.
  [[nodiscard]] Token piece(std::string_view text) const {
    return fake_.size() + static_cast<Token>(std::ranges::find(pieces, text) - pieces.begin());
  }
  [[nodiscard]] std::string chat_template() const override { return jinja; }

  std::vector<std::string> pieces;  // further tokens, which encode() does not use
  std::vector<Token> ends;          // further tokens that end a turn
  Token begin = kNoToken;
  std::string jinja = FakeVocabulary().chat_template();

 private:
  FakeVocabulary fake_;
};

// With a chat template that is parsed in a fifth of the time, for tests that make thousands of
// sessions.
[[nodiscard]] inline const TestVocabulary& quick_vocabulary() {
  static const TestVocabulary vocabulary = [] {
    TestVocabulary out;
    out.jinja = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}";
    return out;
  }();
  return vocabulary;
}

// The spelling of tokens, control tokens among them; the inverse of encode_with_controls.
[[nodiscard]] inline std::string spelled(const Vocabulary& vocabulary,
                                         std::span<const Token> tokens) {
  std::string text;
  for (const Token token : tokens) text += vocabulary.spelling(token);
  return text;
}

}  // namespace asynclm
