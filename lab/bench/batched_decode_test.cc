// SPDX-License-Identifier: Apache-2.0
#include "bench/batched_decode.h"

#include <gtest/gtest.h>

namespace asynclm::bench {
namespace {

Result<std::unique_ptr<Engine>> default_model(std::int32_t sequences) {
  return make_llama_engine({.model_path = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf",
                            .context_tokens = 256,
                            .max_sequences = sequences,
                            .threads = 1});
}

TEST(BatchedDecodeBench, CountsTheStepsThatAllSessionsShare) {
  auto engine = default_model(3);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto result = measure_batched_decode(
      std::move(*engine), {.sessions = 3, .prompt_tokens = 100, .generated_tokens = 24});
  ASSERT_TRUE(result) << result.error().message;
  EXPECT_GE(result->prompt_tokens, 100);
  EXPECT_LT(result->prompt_tokens, 120);
  EXPECT_GT(result->steps, 10);
  EXPECT_LT(result->steps, 24);
  EXPECT_GT(result->tokens_per_second, 0);
  EXPECT_GT(result->own_us_per_token, 0);
}

TEST(BatchedDecodeBench, AnEngineThatIsTooSmallIsRefused) {
  auto engine = default_model(2);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto result = measure_batched_decode(std::move(*engine), {.sessions = 3});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::limit_exceeded);
}

}  // namespace
}  // namespace asynclm::bench
