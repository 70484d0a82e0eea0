// SPDX-License-Identifier: Apache-2.0
// The shipped vocabulary through libllama against the tokenizer that training data and Python use:
// tests/data/tokenizer_hostile.json, made by `./dev train hostile`, holds what Python said.
#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/llama_vocabulary.h"

namespace asynclm {
namespace {

TEST(TokenizerParityTest, LibllamaGivesPythonsTokensForHostileText) {
  const auto loaded = load_vocabulary(ASYNCLM_SOURCE_DIR "/lab/train/tokenizer/vocab.gguf");
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  const Vocabulary& vocabulary = **loaded;
  std::ifstream file(ASYNCLM_SOURCE_DIR "/tests/data/tokenizer_hostile.json");
  const auto cases = nlohmann::json::parse(file, nullptr, false);
  ASSERT_TRUE(cases.is_array());
  ASSERT_GT(cases.size(), 200U);

  for (const nlohmann::json& expected : cases) {
    const auto text = expected.at("text").get<std::string>();
    const std::vector<Token> tokens = vocabulary.encode(text);
    EXPECT_EQ(tokens, expected.at("ids").get<std::vector<Token>>()) << expected.at("text");
    EXPECT_TRUE(std::ranges::none_of(tokens, [&](Token t) { return vocabulary.is_control(t); }))
        << expected.at("text");
    std::string back;
    for (const Token token : tokens) vocabulary.append_piece(token, back);
    EXPECT_EQ(back, text);
  }
}

}  // namespace
}  // namespace asynclm
