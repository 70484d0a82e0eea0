// SPDX-License-Identifier: Apache-2.0
// Special tokens that a model was never trained on: their rows are those of padding. Such a model
// can neither read nor write them, whatever its chat template says.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <asynclm/types.h>

namespace asynclm {

// Those of `tokens` whose row, in the input or the output matrix, points the same way as the row of
// one of `others` (other special and unused tokens). Empty where the file does not say: no tensors,
// or a split file with the matrices elsewhere.
[[nodiscard]] std::vector<Token> untrained_tokens(const std::string& model_path,
                                                  std::span<const Token> tokens,
                                                  std::span<const Token> others);

}  // namespace asynclm
