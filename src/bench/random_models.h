// SPDX-License-Identifier: Apache-2.0
// Models of real shapes with random weights: they take the time and the memory of the real ones and
// write nonsense. Their tokenizer knows the markers, so everything of asynclm runs with them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include <asynclm/error.h>

#include "engine/llama_random_model.h"

namespace asynclm::bench {

struct NamedShape {
  std::string_view name;
  ModelShape shape;
  std::uint32_t plain_tokens, control_tokens;
};

inline constexpr std::array<NamedShape, 3> kShapes = {{
    // Meta's Llama 3.2; its vocabulary is 128,000 pieces and 256 control tokens.
    {"llama-3.2-1b",
     {.context = 131'072,
      .embedding = 2048,
      .layers = 16,
      .heads = 32,
      .kv_heads = 8,
      .feed_forward = 8192,
      .rope_base = 500'000,
      .tied = true},
     128'000,
     256},
    {"llama-3.2-3b",
     {.context = 131'072,
      .embedding = 3072,
      .layers = 28,
      .heads = 24,
      .kv_heads = 8,
      .feed_forward = 8192,
      .rope_base = 500'000,
      .tied = true},
     128'000,
     256},
    // For tests: loads in no time.
    {"tiny",
     {.context = 8192,
      .embedding = 64,
      .layers = 2,
      .heads = 4,
      .kv_heads = 2,
      .feed_forward = 128,
      .tied = true},
     16'000,
     16},
}};

// `words`: a file, one word a line, of which the vocabulary is made. invalid_argument: a shape that
// is not in kShapes, or too few words; not_found: no word list.
[[nodiscard]] Result<RandomModel> random_model(std::string_view shape, WeightType weights,
                                               const std::string& words, std::uint64_t seed);

}  // namespace asynclm::bench
