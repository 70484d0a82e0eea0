// SPDX-License-Identifier: Apache-2.0
// An engine that does what another one does: the base of engines that change or watch a part of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <asynclm/engine.h>

namespace asynclm {

class ForwardingEngine : public Engine {
 public:
  explicit ForwardingEngine(std::unique_ptr<Engine> inner) : inner_(std::move(inner)) {}

  [[nodiscard]] const EngineInfo& info() const override { return inner_->info(); }
  [[nodiscard]] const Vocabulary& vocabulary() const override { return inner_->vocabulary(); }
  [[nodiscard]] Result<SequenceId> create(const SamplingParams& params) override {
    return inner_->create(params);
  }
  [[nodiscard]] Result<SequenceId> fork(SequenceId sequence) override {
    return inner_->fork(sequence);
  }
  void drop(SequenceId sequence) override { inner_->drop(sequence); }
  [[nodiscard]] std::int32_t length(SequenceId sequence) const override {
    return inner_->length(sequence);
  }
  [[nodiscard]] Result<std::vector<std::byte>> save(SequenceId sequence) const override {
    return inner_->save(sequence);
  }
  [[nodiscard]] Result<void> restore(SequenceId sequence,
                                     std::span<const std::byte> state) override {
    return inner_->restore(sequence, state);
  }
  [[nodiscard]] Result<std::vector<std::byte>> save_sampler(SequenceId sequence) const override {
    return inner_->save_sampler(sequence);
  }
  [[nodiscard]] Result<void> restore_tokens(SequenceId sequence,
                                            std::span<const std::byte> state) override {
    return inner_->restore_tokens(sequence, state);
  }
  [[nodiscard]] Result<void> decode(std::span<const DecodeItem> items,
                                    std::span<Token> sampled) override {
    return inner_->decode(items, sampled);
  }
  void request_abort() noexcept override { inner_->request_abort(); }

 protected:
  [[nodiscard]] Engine& inner() { return *inner_; }
  [[nodiscard]] const Engine& inner() const { return *inner_; }

 private:
  std::unique_ptr<Engine> inner_;
};

}  // namespace asynclm
