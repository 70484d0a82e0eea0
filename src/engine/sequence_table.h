// SPDX-License-Identifier: Apache-2.0
// The sequences of an engine: ids, lengths, samplers, and the checks that every engine makes before
// it decodes. Never allocates after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <asynclm/engine.h>

#include "engine/sampler.h"

namespace asynclm {

class SequenceTable {
 public:
  // `info` must outlive the table.
  SequenceTable(const EngineInfo& info, Token vocabulary_size);

  // The lowest free id, so that those in use stay close together.
  [[nodiscard]] Result<SequenceId> add(const SamplerState& sampler);
  void remove(SequenceId id);  // unknown ids are ignored

  [[nodiscard]] bool contains(SequenceId id) const;
  [[nodiscard]] Result<void> check(SequenceId id) const;   // invalid_argument if it is not there
  [[nodiscard]] std::int32_t length(SequenceId id) const;  // -1 if it is not there

  // Of sequences that are there.
  void set_length(SequenceId id, std::int32_t length) { at(id).length = length; }
  [[nodiscard]] SamplerState& sampler(SequenceId id) { return at(id).sampler; }
  [[nodiscard]] const SamplerState& sampler(SequenceId id) const { return at(id).sampler; }

  // Everything about a decode call that can be known before it.
  [[nodiscard]] Result<void> check(std::span<const DecodeItem> items, std::size_t sampled_size);

 private:
  struct Entry {
    std::int32_t length = -1;
    SamplerState sampler{SamplingParams{}};
    std::uint64_t last_call = 0;  // the check() call that saw it last
  };
  [[nodiscard]] Entry& at(SequenceId id) { return entries_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] const Entry& at(SequenceId id) const {
    return entries_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] Result<void> check_token(SequenceId id, const char* what, Token token) const;

  const EngineInfo& info_;
  Token vocabulary_size_;
  std::vector<Entry> entries_;
  std::uint64_t calls_ = 0;
};

}  // namespace asynclm
