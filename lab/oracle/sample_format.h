// SPDX-License-Identifier: Apache-2.0
// Training samples in the forms that trainers read: one JSON object each.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include <asynclm/engine.h>
#include <asynclm/protocol.h>

#include "oracle/dataset.h"
#include "oracle/task.h"

namespace asynclm {

enum class SampleFormat : std::uint8_t {
  tokens,    // token ids, and the ranges of them that the loss counts on (our own trainer)
  spans,     // text with its author, and whether the loss counts on it
  messages,  // OpenAI messages: TRL and most trainers
  sharegpt,  // LLaMA-Factory
};
struct NamedFormat {
  std::string_view name;
  SampleFormat format;
};
inline constexpr std::array<NamedFormat, 4> kSampleFormats = {
    {{"tokens", SampleFormat::tokens},
     {"spans", SampleFormat::spans},
     {"messages", SampleFormat::messages},
     {"sharegpt", SampleFormat::sharegpt}}};

// In text the markers are spelled, and what only looks like one is disarmed (oracle/disarm.h).
// `messages` and `sharegpt` are without the chat template's marks, and do not say of a refused call
// in a message that it is not to be learned.
[[nodiscard]] Json format_sample(const Sample& sample, SampleFormat format,
                                 const TaskSequence& sequence, const Vocabulary& vocabulary);

}  // namespace asynclm
