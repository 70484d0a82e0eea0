// SPDX-License-Identifier: Apache-2.0
// Writes GGUF files of the llama architecture with random weights: real shapes and speed, no
// meaning. For measurements (asynclm make-model) and tests. Same seed, same file.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>

namespace asynclm {

struct ModelShape {
  std::uint32_t context;  // tokens that the model claims to be trained for
  std::uint32_t embedding;
  std::uint32_t layers;
  std::uint32_t heads;
  std::uint32_t kv_heads;
  std::uint32_t feed_forward;
  float rope_base = 10'000;
  bool tied = false;  // the output is the transposed token embedding
};

enum class WeightType : std::uint8_t { f32, f16, q8_0, q4_0 };
struct NamedWeightType {
  std::string_view name;
  WeightType type;
};
inline constexpr std::array<NamedWeightType, 4> kWeightTypes = {{{"f32", WeightType::f32},
                                                                 {"f16", WeightType::f16},
                                                                 {"q8_0", WeightType::q8_0},
                                                                 {"q4_0", WeightType::q4_0}}};

// GGUF's numbers of token types.
enum class TokenType : std::int32_t { normal = 1, unknown = 2, control = 3, byte = 6 };

struct ModelTokens {
  std::string kind;      // tokenizer.ggml.model: "gpt2" (byte-level pairs) or "llama"
  std::string pre = {};  // tokenizer.ggml.pre: how text is cut before pairs are merged
  std::vector<std::string> texts;
  std::vector<TokenType> types;          // one for each text
  std::vector<float> scores = {};        // kind "llama": one for each text
  std::vector<std::string> merges = {};  // kind "gpt2": "left right", the first come first
  std::optional<std::uint32_t> unknown = {}, end = {};
  std::string chat_template = {};  // empty: none
};

struct RandomModel {
  std::string name;  // general.name
  std::string architecture = "llama";
  ModelShape shape;
  ModelTokens tokens;
  WeightType weights = WeightType::f16;  // of the matrices; norms are f32
  bool tensors = true;                   // false: a vocabulary only
  std::uint64_t seed = 1;
};

// Replaces `path` in one step: until the file is whole it is PATH.partial, and nothing of it stays
// after an error. Holds a few rows of weights at a time. `progress` (may be empty) is told the
// share that is written. invalid_argument: a shape that libllama would not take; io, with the
// system's words.
[[nodiscard]] Result<void> write_random_model(const RandomModel& model, const std::string& path,
                                              const std::function<void(double)>& progress);

}  // namespace asynclm
