// SPDX-License-Identifier: Apache-2.0
#include "bench/random_models.h"

#include <format>
#include <fstream>
#include <iterator>
#include <string>
#include <variant>

#include <gtest/gtest.h>

#include <asynclm/engine.h>

#include "base/temporary_folder.h"
#include "cml/markers.h"

namespace asynclm::bench {
namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class RandomModels : public testing::Test {
 protected:
  // Enough words for the small shape, of letters only.
  std::string words() const {
    std::string text;
    for (char a = 'a'; a <= 'z'; ++a) {
      for (char b = 'a'; b <= 'z'; ++b) {
        for (char c = 'a'; c <= 'i'; ++c) text += std::format("{}{}{}\n", a, b, c);
      }
    }
    return folder_.write("words", text);
  }
  std::string make(WeightType type, std::uint64_t seed, const std::string& name) const {
    const auto model = random_model("tiny", type, words(), seed);
    EXPECT_TRUE(model) << model.error().message;
    const std::string path = folder_.file(name);
    double share = 0;
    const auto written = write_random_model(*model, path, [&](double s) { share = s; });
    EXPECT_TRUE(written) << written.error().message;
    EXPECT_DOUBLE_EQ(share, 1.0);
    return path;
  }

  TemporaryFolder folder_;
};

TEST_F(RandomModels, EachTypeOfWeightsGivesAModelThatDecodes) {
  for (const NamedWeightType& named : kWeightTypes) {
    const auto engine = make_llama_engine(
        {.model_path = make(named.type, 1, "m.gguf"), .context_tokens = 64, .threads = 1});
    ASSERT_TRUE(engine) << named.name << ": " << engine.error().message;
    EXPECT_EQ((*engine)->vocabulary().size(), 16'016);
    EXPECT_TRUE(Markers::find((*engine)->vocabulary()));
    const auto sequence = (*engine)->create({});
    ASSERT_TRUE(sequence);
    const auto prompt = (*engine)->vocabulary().encode("abc and more");
    const DecodeItem item{.sequence = *sequence, .append = prompt, .banned = {}};
    Token sampled = kNoToken;
    ASSERT_TRUE((*engine)->decode({&item, 1}, {&sampled, 1})) << named.name;
    EXPECT_GE(sampled, 0);
  }
}

TEST_F(RandomModels, TheTokenizerGivesTextBackAndKnowsWholeWords) {
  const auto vocabulary = load_vocabulary(make(WeightType::q4_0, 1, "m.gguf"));
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  const std::string text = "abc def 2026 {\"x\": [1, 2]}\n\n  caf\xC3\xA9 [CALL] zzz\x01";
  std::string back;
  for (const Token token : (*vocabulary)->encode(text)) (*vocabulary)->append_piece(token, back);
  EXPECT_EQ(back, text);
  EXPECT_EQ((*vocabulary)->encode(" abc").size(), 1U);
  EXPECT_EQ((*vocabulary)->encode("Abc").size(), 1U);
  EXPECT_TRUE((*vocabulary)->is_end_of_generation((*vocabulary)->control("<|end_of_text|>")));
}

TEST_F(RandomModels, ItsChatTemplateIsTheDefaultModels) {
  const auto made = load_vocabulary(make(WeightType::q4_0, 1, "m.gguf"));
  const auto shipped = load_vocabulary(ASYNCLM_SOURCE_DIR "/models/asynclm.gguf");
  ASSERT_TRUE(made && shipped);
  EXPECT_EQ((*made)->chat_template(), (*shipped)->chat_template());
}

TEST_F(RandomModels, SameSeedSameFile) {
  const std::string first = bytes_of(make(WeightType::q8_0, 7, "a.gguf"));
  EXPECT_EQ(first, bytes_of(make(WeightType::q8_0, 7, "b.gguf")));
  EXPECT_NE(first, bytes_of(make(WeightType::q8_0, 8, "c.gguf")));
}

TEST_F(RandomModels, WhatIsWrongIsSaid) {
  const auto unknown = random_model("llama-9", WeightType::f16, words(), 1);
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("llama-3.2-1b"), std::string::npos);
  const auto no_list = random_model("tiny", WeightType::f16, folder_.file("none"), 1);
  ASSERT_FALSE(no_list);
  EXPECT_EQ(no_list.error().code, ErrorCode::not_found);
  const auto few = random_model("tiny", WeightType::f16, folder_.write("few", "one\ntwo\n"), 1);
  ASSERT_FALSE(few);
  EXPECT_NE(few.error().message.find("too short"), std::string::npos);

  auto model = random_model("tiny", WeightType::f16, words(), 1);
  ASSERT_TRUE(model);
  const auto no_folder = write_random_model(*model, folder_.file("no/m.gguf"), {});
  ASSERT_FALSE(no_folder);
  EXPECT_EQ(no_folder.error().code, ErrorCode::io);
  model->shape.heads = 3;
  const auto shape = write_random_model(*model, folder_.file("m.gguf"), {});
  ASSERT_FALSE(shape);
  EXPECT_EQ(shape.error().code, ErrorCode::invalid_argument);
}

}  // namespace
}  // namespace asynclm::bench
