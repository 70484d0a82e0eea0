// SPDX-License-Identifier: Apache-2.0
// A vocabulary of the size that large models have, for benchmarks of what is done for each token of
// it: all bytes, words with and without a space before them, numbers, punctuation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

namespace asynclm::bench {

// The plain pieces, so many at most, each once: all bytes come first, then what is common, then
// words of the file (one a line), short ones first. not_found if it cannot be read.
[[nodiscard]] Result<std::vector<std::string>> vocabulary_pieces(const std::string& words,
                                                                 std::size_t count);

class LargeVocabulary final : public Vocabulary {
 public:
  // `words`: a file, one word a line. not_found if it cannot be read.
  [[nodiscard]] static Result<LargeVocabulary> create(const std::string& words, Token size);

  [[nodiscard]] Token size() const override { return static_cast<Token>(pieces_.size()); }
  // The longest token that fits, again and again.
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const override;
  [[nodiscard]] Token control(std::string_view spelling) const override;
  [[nodiscard]] bool is_control(Token token) const override { return token >= first_control_; }
  [[nodiscard]] bool is_end_of_generation(Token token) const override {
    return token + 1 == size();
  }
  void append_piece(Token token, std::string& out) const override;
  [[nodiscard]] std::string spelling(Token token) const override;
  [[nodiscard]] std::string chat_template() const override;

 private:
  // A trie of the pieces: the node behind a node and a byte, and each node's piece.
  using Node = std::uint32_t;
  [[nodiscard]] static std::uint64_t edge(Node from, char byte) {
    return std::uint64_t{from} << 8U | static_cast<unsigned char>(byte);
  }
  void add_piece(std::string_view piece, Token token);

  std::vector<std::string> pieces_;
  std::unordered_map<std::uint64_t, Node> nodes_;
  std::vector<Token> ends_ = {kNoToken};
  Token first_control_ = 0;
};

}  // namespace asynclm::bench
