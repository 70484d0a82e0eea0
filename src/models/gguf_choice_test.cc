// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace asynclm {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> choose(const std::vector<std::string>& paths,
                                const std::string& quant = "", const std::string& file = "") {
  std::vector<RepoFile> files;
  for (const std::string& path : paths) files.push_back({.path = path});
  const auto chosen = choose_gguf(files, quant, file);
  if (!chosen) return {"error: " + chosen.error().message};
  std::vector<std::string> out;
  for (const RepoFile& each : *chosen) out.push_back(each.path);
  return out;
}

TEST(GgufChoice, QuantisationsAreWholeWords) {
  EXPECT_TRUE(has_quant("x-q4_k_m.gguf", "Q4_K_M"));
  EXPECT_TRUE(has_quant("x.Q4_K_M.gguf", "q4_k_m"));
  EXPECT_TRUE(has_quant("Q4_K_M/x-00001-of-00002.gguf", "Q4_K_M"));
  EXPECT_TRUE(has_quant("x-UD-Q4_K_XL.gguf", "Q4_K_XL"));
  EXPECT_FALSE(has_quant("x-Q4_K_M.gguf", "Q4_K"));
  EXPECT_FALSE(has_quant("x-IQ4_NL.gguf", "Q4_NL"));
  EXPECT_FALSE(has_quant("x-Q4_0_4_4.gguf", "Q4_0"));
  EXPECT_FALSE(has_quant("x-Q4_0", "Q4_0"));
  EXPECT_EQ(quant_of("dir-x/model-7B-q5_k_m.gguf"), "q5_k_m");
  EXPECT_EQ(quant_of("m-BF16-00001-of-00002.gguf"), "BF16");
  EXPECT_EQ(quant_of("model-question.gguf"), "");
}

TEST(GgufChoice, WithoutAWishTheUsualOnes) {
  EXPECT_THAT(choose({"a-Q2_K.gguf", "a-Q8_0.gguf", "a-q4_k_m.gguf"}),
              ElementsAre("a-q4_k_m.gguf"));
  EXPECT_THAT(choose({"a-Q2_K.gguf", "a-Q8_0.gguf"}), ElementsAre("a-Q8_0.gguf"));
  EXPECT_THAT(choose({"README.md", "b.gguf", "a.gguf"}), ElementsAre("a.gguf"));
  EXPECT_THAT(choose({"mmproj-Q4_K_M.gguf", "imatrix-Q8_0.gguf", "z.gguf"}), ElementsAre("z.gguf"));
  EXPECT_THAT(choose({"README.md", "mmproj.gguf"}), ElementsAre(HasSubstr("no GGUF file")));
}

TEST(GgufChoice, SplitModelsAreWhole) {
  const std::vector<std::string> split = {"m-Q8_0-00002-of-00002.gguf",
                                          "m-Q8_0-00001-of-00002.gguf"};
  EXPECT_THAT(choose(split), ElementsAre(split[1], split[0]));
  EXPECT_THAT(choose(split, "", split[0]), ElementsAre(split[1], split[0]));
  EXPECT_THAT(choose({split[1]}), ElementsAre(HasSubstr(split[0] + " is missing")));
  EXPECT_THAT(choose({split[0], split[1], "z-Q8_0.gguf"}, "Q8_0"), ElementsAre("z-Q8_0.gguf"));
}

TEST(GgufChoice, SplitNames) {
  const auto split = parse_split_name("a/b-00002-of-00010.gguf");
  ASSERT_TRUE(split);
  EXPECT_EQ(split->number, 2);
  EXPECT_EQ(split->count, 10);
  EXPECT_EQ(split->file(10), "a/b-00010-of-00010.gguf");
  for (const char* name :
       {"b.gguf", "-00001-of-00002.gguf", "b-00003-of-00002.gguf", "b-00000-of-00002.gguf",
        "b-0001-of-00002.gguf", "b-00001-of-00002.bin"}) {
    EXPECT_FALSE(parse_split_name(name)) << name;
  }
}

TEST(GgufChoice, WhatIsMissingIsNamedWithWhatIsThere) {
  EXPECT_THAT(choose({"a-Q2_K.gguf", "a-Q8_0.gguf"}, "Q6_K"),
              ElementsAre(AllOf(HasSubstr("no Q6_K"), HasSubstr("Q2_K, Q8_0"))));
  EXPECT_THAT(choose({"a-Q2_K.gguf"}, "", "b.gguf"), ElementsAre(HasSubstr("a-Q2_K.gguf")));
}

}  // namespace
}  // namespace asynclm
