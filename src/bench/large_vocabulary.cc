// SPDX-License-Identifier: Apache-2.0
#include "bench/large_vocabulary.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <format>
#include <fstream>
#include <unordered_set>
#include <utility>

#include "cml/markers.h"

namespace asynclm::bench {
namespace {

constexpr std::string_view kEnd = "<|end_of_text|>";

}  // namespace

Result<std::vector<std::string>> vocabulary_pieces(const std::string& words, std::size_t count) {
  std::ifstream file(words);
  if (!file) return fail(ErrorCode::not_found, "cannot read the word list '" + words + "'");
  std::vector<std::string> pieces;
  std::unordered_set<std::string> known;
  const auto add = [&](const std::string& piece) {
    if (piece.empty() || pieces.size() >= count || !known.insert(piece).second) return;
    pieces.push_back(piece);
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (int number = 0; number < 1000; ++number) add(std::to_string(number));
  // What vocabularies made from code and text have: runs of space, and punctuation that often
  // stands together.
  for (std::size_t length = 2; length <= 16; ++length) add(std::string(length, ' '));
  constexpr auto kSigns =
      std::to_array<std::string_view>({"\"", "'", "(", ")", "[", "]", "{", "}", ",", ".", ":", ";",
                                       "=", "-", "_", "/", "\\", "\n", " "});
  for (const std::string_view a : kSigns) {
    for (const std::string_view b : kSigns) {
      add(std::string(a) + std::string(b));
      for (const std::string_view c : kSigns) add(std::string(a) + std::string(b) + std::string(c));
    }
  }
  std::vector<std::string> list;
  for (std::string word; std::getline(file, word);) list.push_back(word);
  std::ranges::stable_sort(list, {}, [](const std::string& word) { return word.size(); });
  for (const std::string& word : list) {
    add(" " + word);
    add(word);
    std::string capital = word;
    if (!word.empty()) {
      capital[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(capital[0])));
    }
    add(capital);
  }
  return pieces;
}

Result<LargeVocabulary> LargeVocabulary::create(const std::string& words, Token size) {
  auto pieces = vocabulary_pieces(words, static_cast<std::size_t>(size) - kMarkerCount - 1);
  if (!pieces) return std::unexpected(pieces.error());
  LargeVocabulary out;
  out.pieces_ = std::move(*pieces);
  for (std::size_t i = 0; i < out.pieces_.size(); ++i) {
    out.add_piece(out.pieces_[i], static_cast<Token>(i));
  }
  out.first_control_ = static_cast<Token>(out.pieces_.size());
  for (const std::string_view marker : kMarkerSpellings) out.pieces_.emplace_back(marker);
  out.pieces_.emplace_back(kEnd);
  return out;
}

void LargeVocabulary::add_piece(std::string_view piece, Token token) {
  Node node = 0;
  for (const char byte : piece) {
    const auto [next, is_new] = nodes_.try_emplace(edge(node, byte), ends_.size());
    if (is_new) ends_.push_back(kNoToken);
    node = next->second;
  }
  ends_[node] = token;
}

std::vector<Token> LargeVocabulary::encode(std::string_view text) const {
  std::vector<Token> out;
  while (!text.empty()) {
    Token best = kNoToken;
    std::size_t length = 0;
    Node node = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      const auto next = nodes_.find(edge(node, text[i]));
      if (next == nodes_.end()) break;
      node = next->second;
      if (ends_[node] == kNoToken) continue;
      best = ends_[node];
      length = i + 1;
    }
    out.push_back(best);  // each byte is a piece
    text.remove_prefix(length);
  }
  return out;
}

Token LargeVocabulary::control(std::string_view spelling) const {
  for (Token token = first_control_; token < size(); ++token) {
    if (pieces_[static_cast<std::size_t>(token)] == spelling) return token;
  }
  return kNoToken;
}

void LargeVocabulary::append_piece(Token token, std::string& out) const {
  if (token >= 0 && token < first_control_) out += pieces_[static_cast<std::size_t>(token)];
}

std::string LargeVocabulary::spelling(Token token) const {
  return token >= 0 && token < size() ? pieces_[static_cast<std::size_t>(token)] : std::string();
}

std::string LargeVocabulary::chat_template() const {
  return "{% for m in messages %}{{ m.content }}{% endfor %}";
}

}  // namespace asynclm::bench
