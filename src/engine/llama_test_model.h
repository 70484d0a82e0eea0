// SPDX-License-Identifier: Apache-2.0
// For tests: writes a llama model of a few layers with random weights, so that the engine is tested
// without a trained one. Same seed, same file.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <format>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gguf.h>

#include "base/random.h"

namespace asynclm::test_model {

inline constexpr std::string_view kTestTemplate =
    "{%- for message in messages -%}<|{{ message.role }}|>{{ message.content }}{%- endfor -%}";

struct TestModel {
  std::uint32_t context = 1024;  // n_ctx_train
  std::uint32_t embedding = 64;
  std::uint32_t layers = 2;
  std::uint32_t heads = 4;
  std::uint32_t kv_heads = 2;
  std::uint32_t feed_forward = 128;
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

class TestModelWriter {
 public:
  explicit TestModelWriter(const TestModel& model) : model_(model), random_(model.seed) {
    add_vocabulary();
    add_shape();
    if (model_.tensors) add_tensors();
  }

  [[nodiscard]] bool write(const std::filesystem::path& path) const {
    return gguf_write_to_file(gguf_.get(), path.c_str(), false);
  }

 private:
  struct CloseGguf {
    void operator()(gguf_context* file) const { gguf_free(file); }
  };
  struct CloseGgml {
    void operator()(ggml_context* context) const { ggml_free(context); }
  };

  void add_token(std::string text, std::int32_t type, float score) {
    tokens_.push_back(std::move(text));
    types_.push_back(type);
    scores_.push_back(score);
  }

  void add_vocabulary() {
    constexpr std::int32_t kNormal = 1;
    constexpr std::int32_t kUnknown = 2;
    constexpr std::int32_t kControl = 3;
    constexpr std::int32_t kByte = 6;
    add_token("<unk>", kUnknown, 0);
    for (const std::string& text : test_model_controls()) {
      if (!model_.end_token && text == "<|end_of_text|>") continue;
      add_token(text, kControl, 0);
    }
    if (model_.byte_tokens) {
      for (int byte = 0; byte < 256; ++byte) add_token(std::format("<0x{:02X}>", byte), kByte, 0);
    }
    float score = -1;
    for (const std::string text :
         {"\xE2\x96\x81", "a", "b", "c", "d", "e", "h", "l", "o", "t", "he", "the",
          "\xE2\x96\x81the", "hello", "[", "]", "E", "N", "D"}) {
      add_token(text, kNormal, score--);
    }
    for (const std::string& text : model_.more_tokens) add_token(text, kNormal, score--);

    gguf_context* const g = gguf_.get();
    std::vector<const char*> texts;
    for (const std::string& text : tokens_) texts.push_back(text.c_str());
    gguf_set_val_str(g, "tokenizer.ggml.model", "llama");
    gguf_set_arr_str(g, "tokenizer.ggml.tokens", texts.data(), texts.size());
    gguf_set_arr_data(g, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, scores_.data(),
                      scores_.size());
    gguf_set_arr_data(g, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, types_.data(),
                      types_.size());
    gguf_set_val_u32(g, "tokenizer.ggml.unknown_token_id", 0);
    if (model_.end_token) gguf_set_val_u32(g, "tokenizer.ggml.eos_token_id", 9);
    gguf_set_val_bool(g, "tokenizer.ggml.add_bos_token", false);
    gguf_set_val_bool(g, "tokenizer.ggml.add_space_prefix", false);
    if (model_.chat_template) {
      gguf_set_val_str(g, "tokenizer.chat_template", std::string(kTestTemplate).c_str());
    }
  }

  void add_shape() {
    gguf_context* const g = gguf_.get();
    const auto key = [this](std::string_view name) {
      return std::format("{}.{}", model_.architecture, name);
    };
    gguf_set_val_str(g, "general.architecture", model_.architecture.c_str());
    gguf_set_val_str(g, "general.name", "test model");
    gguf_set_val_u32(g, key("context_length").c_str(), model_.context);
    gguf_set_val_u32(g, key("embedding_length").c_str(), model_.embedding);
    gguf_set_val_u32(g, key("block_count").c_str(), model_.layers);
    gguf_set_val_u32(g, key("feed_forward_length").c_str(), model_.feed_forward);
    gguf_set_val_u32(g, key("vocab_size").c_str(), static_cast<std::uint32_t>(tokens_.size()));
    gguf_set_val_u32(g, key("attention.head_count").c_str(), model_.heads);
    gguf_set_val_u32(g, key("attention.head_count_kv").c_str(), model_.kv_heads);
    gguf_set_val_f32(g, key("attention.layer_norm_rms_epsilon").c_str(), 1e-5F);
    gguf_set_val_u32(g, key("rope.dimension_count").c_str(), model_.embedding / model_.heads);
    gguf_set_val_f32(g, key("rope.freq_base").c_str(), 10000.0F);
  }

  // A weight of `rows` outputs from `columns` inputs; rows 0: a norm (all ones).
  void add_tensor(const std::string& name, std::int64_t columns, std::int64_t rows = 0) {
    ggml_tensor* const t = rows == 0
                               ? ggml_new_tensor_1d(ggml_.get(), GGML_TYPE_F32, columns)
                               : ggml_new_tensor_2d(ggml_.get(), GGML_TYPE_F32, columns, rows);
    ggml_set_name(t, name.c_str());
    auto* const values = static_cast<float*>(t->data);
    // Larger than a trained model's, so that the logits of different contexts differ clearly.
    const float scale = 3.0F / std::sqrt(static_cast<float>(columns));
    for (std::int64_t i = 0; i < ggml_nelements(t); ++i) {
      values[i] = rows == 0 ? 1.0F : scale * (2.0F * static_cast<float>(random_.uniform()) - 1.0F);
    }
    gguf_add_tensor(gguf_.get(), t);
  }

  void add_tensors() {
    const std::int64_t embedding = model_.embedding;
    const std::int64_t kv = embedding / model_.heads * model_.kv_heads;
    const std::int64_t feed_forward = model_.feed_forward;
    const auto vocabulary = static_cast<std::int64_t>(tokens_.size());
    const std::size_t floats = static_cast<std::size_t>(
        2 * embedding * vocabulary +
        model_.layers * (4 * embedding * embedding + 3 * embedding * feed_forward + 4 * embedding));
    ggml_.reset(ggml_init({.mem_size = floats * sizeof(float) + (std::size_t{1} << 20U),
                           .mem_buffer = nullptr,
                           .no_alloc = false}));
    add_tensor("token_embd.weight", embedding, vocabulary);
    add_tensor("output_norm.weight", embedding);
    add_tensor("output.weight", embedding, vocabulary);
    for (std::uint32_t layer = 0; layer < model_.layers; ++layer) {
      const std::string block = std::format("blk.{}.", layer);
      add_tensor(block + "attn_norm.weight", embedding);
      add_tensor(block + "attn_q.weight", embedding, embedding);
      add_tensor(block + "attn_k.weight", embedding, kv);
      add_tensor(block + "attn_v.weight", embedding, kv);
      add_tensor(block + "attn_output.weight", embedding, embedding);
      add_tensor(block + "ffn_norm.weight", embedding);
      add_tensor(block + "ffn_gate.weight", embedding, feed_forward);
      add_tensor(block + "ffn_up.weight", embedding, feed_forward);
      add_tensor(block + "ffn_down.weight", feed_forward, embedding);
    }
  }

  TestModel model_;
  Random random_;
  std::vector<std::string> tokens_;
  std::vector<std::int32_t> types_;
  std::vector<float> scores_;
  std::unique_ptr<ggml_context, CloseGgml> ggml_;
  std::unique_ptr<gguf_context, CloseGguf> gguf_{gguf_init_empty()};
};

}  // namespace asynclm::test_model
