// SPDX-License-Identifier: Apache-2.0
// Keeps a model that spells its markers from completing one where it is not legal: above all from
// writing [INTR]. A look at one token's text; the full mask is needed only where one was refused.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <asynclm/engine.h>

#include "cml/parser.h"

namespace asynclm {

class MarkerFilter final : public TokenFilter {
 public:
  // Both must outlive the filter; what the parser has read is what the model has written.
  MarkerFilter(const Vocabulary& vocabulary, const Parser& parser)
      : vocabulary_(&vocabulary), parser_(&parser) {}

  // Drafts are not made where markers are spelled.
  [[nodiscard]] bool allows(Token token, std::size_t drafted) override;
  [[nodiscard]] std::span<const std::uint64_t> allowed(std::size_t drafted) override;

 private:
  void sort_tokens();

  const Vocabulary* vocabulary_;
  const Parser* parser_;
  std::string piece_;
  // Tokens that could complete a marker, and those that could go on with a forced [END]; empty
  // until they are first needed.
  std::vector<Token> closing_, ending_;
  std::vector<std::uint64_t> allowed_;
};

}  // namespace asynclm
