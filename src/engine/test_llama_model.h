// SPDX-License-Identifier: Apache-2.0
// For tests: a llama model of a few layers with random weights, so that the engine is tested
// without a trained one. Same seed, same file.
#pragma once

#include <cstdint>
#include <format>
#include <string>
#include <string_view>
#include <vector>

#include "fixtures/random_weights.h"

namespace asynclm::test_model {

inline constexpr std::string_view kTestTemplate =
    "{%- for message in messages -%}<|{{ message.role }}|>{{ message.content }}{%- endfor -%}";

inline constexpr std::uint32_t kTestEmbedding = 64;

struct TestModel {
  std::uint32_t context = 1024;  // n_ctx_train
  std::uint64_t seed = 1;
  bool tensors = true;      // false: a vocabulary only
  bool end_token = true;    // declare one
  bool byte_tokens = true;  // all 256
  bool chat_template = true;
  std::string architecture = "llama";
  std::vector<std::string> more_tokens = {};  // further plain pieces
};

inline std::vector<std::string> test_model_controls() {
  return {"[CALL]",     "[INTR]",   "[TRAP]",        "[END]",          "[HEAD]",
          "<|system|>", "<|user|>", "<|assistant|>", "<|end_of_text|>"};
}

inline ModelTokens test_model_tokens(const TestModel& model) {
  ModelTokens out{.kind = "llama", .texts = {}, .types = {}, .unknown = 0};
  const auto add = [&out](std::string text, TokenType type, float score) {
    out.texts.push_back(std::move(text));
    out.types.push_back(type);
    out.scores.push_back(score);
  };
  add("<unk>", TokenType::unknown, 0);
  for (const std::string& text : test_model_controls()) {
    if (!model.end_token && text == "<|end_of_text|>") continue;
    add(text, TokenType::control, 0);
  }
  if (model.end_token) out.end = 9;
  if (model.byte_tokens) {
    for (int byte = 0; byte < 256; ++byte) {
      add(std::format("<0x{:02X}>", byte), TokenType::byte, 0);
    }
  }
  float score = -1;
  for (const std::string text : {"\xE2\x96\x81", "a", "b", "c", "d", "e", "h", "l", "o", "t", "he",
                                 "the", "\xE2\x96\x81the", "hello", "[", "]", "E", "N", "D"}) {
    add(text, TokenType::normal, score--);
  }
  for (const std::string& text : model.more_tokens) add(text, TokenType::normal, score--);
  if (model.chat_template) out.chat_template = kTestTemplate;
  return out;
}

[[nodiscard]] inline Result<void> write_test_model(const TestModel& model,
                                                   const std::string& path) {
  return write_random_model({.name = "test model",
                             .architecture = model.architecture,
                             .shape = {.context = model.context,
                                       .embedding = kTestEmbedding,
                                       .layers = 2,
                                       .heads = 4,
                                       .kv_heads = 2,
                                       .feed_forward = 128},
                             .tokens = test_model_tokens(model),
                             .weights = WeightType::f32,
                             .tensors = model.tensors,
                             .seed = model.seed},
                            path, {});
}

}  // namespace asynclm::test_model
