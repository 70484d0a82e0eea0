// SPDX-License-Identifier: Apache-2.0
// Filling a sequence before what is measured.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include <asynclm/engine.h>
#include <asynclm/error.h>

namespace asynclm::bench {

// Appends the tokens, in decode calls as large as the engine takes; nothing is sampled. Errors as
// Engine::decode; what was appended before one stays.
[[nodiscard]] inline Result<void> prefill(Engine& engine, SequenceId sequence,
                                          std::span<const Token> tokens) {
  const auto limit = static_cast<std::size_t>(engine.info().max_batch_tokens);
  while (!tokens.empty()) {
    Token none = kNoToken;
    const DecodeItem item{.sequence = sequence,
                          .append = tokens.first(std::min(limit, tokens.size())),
                          .sample = false,
                          .banned = {}};
    tokens = tokens.subspan(item.append.size());
    if (auto ok = engine.decode({&item, 1}, {&none, 1}); !ok) return ok;
  }
  return {};
}

}  // namespace asynclm::bench
