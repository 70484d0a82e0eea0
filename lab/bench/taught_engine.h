// SPDX-License-Identifier: Apache-2.0
// An engine that is kept to a teacher's tokens: it decodes for real, at its own cost, and whatever
// it would have sampled, the teacher's token comes out (teacher forcing). Without a teacher its own
// tokens do.
#pragma once

#include <functional>
#include <span>
#include <utility>

#include <asynclm/engine.h>

#include "fixtures/forwarding_engine.h"
#include "runtime/draft_policy.h"

namespace asynclm::bench {

// For one sequence at a time: decode calls have one item. Drafts are cut to what pays on the engine
// (runtime/draft_policy.h), as the runtime does it.
class TaughtEngine final : public ForwardingEngine {
 public:
  using ForwardingEngine::ForwardingEngine;

  // Gives the next token, each once. It must be one that is not banned, and that the item's own
  // filter allows; if not, decode fails as `engine`. An empty function: no teacher.
  void teach(std::function<Token()> next) { next_ = std::move(next); }
  // What is known of drafts so far; one for each way in which they are used.
  void use(DraftPolicy& drafts) { drafts_ = &drafts; }

  [[nodiscard]] Result<void> decode(std::span<const DecodeItem> items,
                                    std::span<Token> sampled) override;

 private:
  std::function<Token()> next_;
  DraftPolicy* drafts_ = nullptr;
};

}  // namespace asynclm::bench
