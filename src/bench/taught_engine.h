// SPDX-License-Identifier: Apache-2.0
// An engine that is kept to a teacher's tokens: it decodes for real, at its own cost, and whatever
// it would have sampled, the teacher's token comes out (teacher forcing).
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <asynclm/engine.h>

#include "runtime/draft_policy.h"

namespace asynclm::bench {

// For one sequence at a time: decode calls have one item. Drafts are cut to what pays on the engine
// (runtime/draft_policy.h), as the runtime does it.
class TaughtEngine final : public Engine {
 public:
  explicit TaughtEngine(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  // Gives the next token, each once. It must be one that is not banned, and that the item's own
  // filter allows; if not, decode fails as `engine`.
  void teach(std::function<Token()> next) { next_ = std::move(next); }
  // What is known of drafts so far; one for each way in which they are used.
  void use(DraftPolicy& drafts) { drafts_ = &drafts; }

  [[nodiscard]] const EngineInfo& info() const override { return engine_->info(); }
  [[nodiscard]] const Vocabulary& vocabulary() const override { return engine_->vocabulary(); }
  [[nodiscard]] Result<SequenceId> create(const SamplingParams& params) override {
    return engine_->create(params);
  }
  [[nodiscard]] Result<SequenceId> fork(SequenceId sequence) override {
    return engine_->fork(sequence);
  }
  void drop(SequenceId sequence) override { engine_->drop(sequence); }
  [[nodiscard]] std::int32_t length(SequenceId sequence) const override {
    return engine_->length(sequence);
  }
  [[nodiscard]] Result<std::vector<std::byte>> save(SequenceId sequence) const override {
    return engine_->save(sequence);
  }
  [[nodiscard]] Result<void> restore(SequenceId sequence,
                                     std::span<const std::byte> state) override {
    return engine_->restore(sequence, state);
  }
  [[nodiscard]] Result<std::vector<std::byte>> save_sampler(SequenceId sequence) const override {
    return engine_->save_sampler(sequence);
  }
  [[nodiscard]] Result<void> restore_tokens(SequenceId sequence,
                                            std::span<const std::byte> state) override {
    return engine_->restore_tokens(sequence, state);
  }
  [[nodiscard]] Result<void> decode(std::span<const DecodeItem> items,
                                    std::span<Token> sampled) override;
  void request_abort() noexcept override { engine_->request_abort(); }

 private:
  std::unique_ptr<Engine> engine_;
  std::function<Token()> next_;
  DraftPolicy* drafts_ = nullptr;
};

}  // namespace asynclm::bench
