// SPDX-License-Identifier: Apache-2.0
#include "session/marker_filter.h"

namespace asynclm {

bool MarkerFilter::allows(Token token, std::size_t /*drafted*/) {
  piece_.clear();
  vocabulary_->append_piece(token, piece_);
  return (!piece_.contains(']') && !parser_->awaits_end()) || parser_->allows(token);
}

std::span<const std::uint64_t> MarkerFilter::allowed(std::size_t drafted) {
  if (closing_.empty()) sort_tokens();
  const bool only_end = parser_->awaits_end();
  const auto words = (static_cast<std::size_t>(vocabulary_->size()) + 63) / 64;
  allowed_.assign(words, only_end ? 0 : ~std::uint64_t{0});
  for (const Token token : only_end ? ending_ : closing_) {
    const std::uint64_t bit = std::uint64_t{1} << (token % 64);
    std::uint64_t& word = allowed_[static_cast<std::size_t>(token) / 64];
    word = allows(token, drafted) ? word | bit : word & ~bit;
  }
  return allowed_;
}

void MarkerFilter::sort_tokens() {
  for (Token token = 0; token < vocabulary_->size(); ++token) {
    piece_.clear();
    vocabulary_->append_piece(token, piece_);
    if (piece_.contains(']')) closing_.push_back(token);
    if (piece_.find_first_of("[END] \t\r\n") == 0) ending_.push_back(token);
  }
}

}  // namespace asynclm
