// SPDX-License-Identifier: Apache-2.0
// Low-rank adapters over a model: they change what it says, and whose saved sequences it takes.
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <ggml.h>
#include <gguf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <asynclm/engine.h>

#include "base/test_folder.h"
#include "engine/test_llama_model.h"

namespace asynclm {
namespace {

// Of rank 1, for the queries of the first layer.
void write_adapter(const std::string& path, std::int64_t embedding, const char* architecture) {
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors(
      ggml_init({.mem_size = std::size_t{1} << 20, .mem_buffer = nullptr, .no_alloc = false}),
      ggml_free);
  const std::unique_ptr<gguf_context, void (*)(gguf_context*)> file(gguf_init_empty(), gguf_free);
  gguf_set_val_str(file.get(), "general.type", "adapter");
  gguf_set_val_str(file.get(), "general.architecture", architecture);
  gguf_set_val_str(file.get(), "adapter.type", "lora");
  gguf_set_val_f32(file.get(), "adapter.lora.alpha", 1.0F);
  const std::array<std::pair<const char*, std::array<std::int64_t, 2>>, 2> parts = {
      {{"blk.0.attn_q.weight.lora_a", {embedding, 1}},
       {"blk.0.attn_q.weight.lora_b", {1, embedding}}}};
  for (const auto& [name, size] : parts) {
    ggml_tensor* tensor = ggml_new_tensor_2d(tensors.get(), GGML_TYPE_F32, size[0], size[1]);
    auto* values = static_cast<float*>(tensor->data);
    for (std::int64_t i = 0; i < embedding; ++i) values[i] = i % 3 == 0 ? 9.0F : -5.0F;
    ggml_set_name(tensor, name);
    gguf_add_tensor(file.get(), tensor);
  }
  ASSERT_TRUE(gguf_write_to_file(file.get(), path.c_str(), false));
}

class LlamaAdapterTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(test_model::write_test_model({}, folder_.file("model.gguf")));
  }
  Result<std::unique_ptr<Engine>> make(std::vector<LoraAdapter> adapters) {
    return make_llama_engine({.model_path = folder_.file("model.gguf"),
                              .context_tokens = 128,
                              .max_sequences = 1,
                              .batch_tokens = 64,
                              .threads = 1,
                              .adapters = std::move(adapters)});
  }
  static std::vector<Token> written(Engine& engine) {
    const Result<SequenceId> sequence = engine.create({});
    EXPECT_TRUE(sequence.has_value());
    std::vector<Token> out = engine.vocabulary().encode("hello the");
    std::vector<Token> next = out;
    for (int i = 0; i < 24; ++i) {
      Token sampled = kNoToken;
      const DecodeItem item{.sequence = *sequence, .append = next, .banned = {}};
      const Result<void> done = engine.decode({&item, 1}, {&sampled, 1});
      EXPECT_TRUE(done.has_value()) << done.error().message;
      if (!done) break;
      next = {sampled};
      out.push_back(sampled);
    }
    return out;
  }

  TemporaryFolder folder_;
};

TEST_F(LlamaAdapterTest, AnAdapterActs) {
  const std::string path = folder_.file("adapter.gguf");
  write_adapter(path, test_model::kTestEmbedding, "llama");
  const auto plain = make({});
  const auto none = make({{.path = path, .scale = 0}});
  const auto strong = make({{.path = path, .scale = 2}});
  for (const auto* engine : {&plain, &none, &strong}) {
    ASSERT_TRUE(engine->has_value()) << engine->error().message;
  }
  const std::vector<Token> said = written(**plain);
  EXPECT_EQ(said, written(**none));
  EXPECT_NE(said, written(**strong));
  EXPECT_THAT((*strong)->info().model, ::testing::HasSubstr("adapter.gguf:2"));
  // A state of one is none of the other.
  EXPECT_NE((*plain)->info().fingerprint, (*strong)->info().fingerprint);
  EXPECT_NE((*none)->info().fingerprint, (*strong)->info().fingerprint);
  const auto saved = (*plain)->save(0);
  ASSERT_TRUE(saved.has_value());
  EXPECT_FALSE((*strong)->restore(0, *saved).has_value());
}

TEST_F(LlamaAdapterTest, WhatIsNoAdapter) {
  const auto error = [&](const LoraAdapter& adapter) {
    const auto engine = make({adapter});
    EXPECT_FALSE(engine.has_value());
    return engine ? std::string() : engine.error().message;
  };
  EXPECT_THAT(error({.path = folder_.file("nothing.gguf")}), ::testing::HasSubstr("nothing.gguf"));
  EXPECT_THAT(error({.path = folder_.file("model.gguf")}), ::testing::HasSubstr("no adapter"));
  const std::string other = folder_.file("other.gguf");
  write_adapter(other, test_model::kTestEmbedding / 2, "llama");
  EXPECT_THAT(error({.path = other}), ::testing::HasSubstr("other.gguf"));
  write_adapter(other, test_model::kTestEmbedding, "gpt2");
  EXPECT_THAT(error({.path = other}), ::testing::HasSubstr("other.gguf"));
}

}  // namespace
}  // namespace asynclm
