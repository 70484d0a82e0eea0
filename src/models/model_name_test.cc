// SPDX-License-Identifier: Apache-2.0
#include "models/model_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace asynclm {
namespace {

using ::testing::HasSubstr;

Result<ModelName> parse(const std::string& text, const std::string& endpoint = "https://hub.test") {
  static const Catalogue catalogue = Catalogue::builtin();
  return parse_model_name(text, catalogue, endpoint);
}

template <class T>
T parsed(const std::string& text) {
  const Result<ModelName> name = parse(text);
  EXPECT_TRUE(name) << text << ": " << name.error().message;
  if (!name || !std::holds_alternative<T>(*name)) {
    ADD_FAILURE() << text << " is of another kind";
    return {};
  }
  return std::get<T>(*name);
}

TEST(ModelNames, PathsAndTheCatalogue) {
  EXPECT_EQ(parsed<PathName>("/models/x.gguf").path, "/models/x.gguf");
  EXPECT_EQ(parsed<PathName>("./qwen2.5-coder-1.5b").path, "./qwen2.5-coder-1.5b");
  EXPECT_EQ(parsed<PathName>("Org/Repo").path, "Org/Repo");
  EXPECT_EQ(parsed<CatalogueName>(std::string(kDefaultModelName)).entry->name, kDefaultModelName);
  EXPECT_FALSE(parse(""));
}

TEST(ModelNames, TheHub) {
  const auto plain = parsed<HubName>("hf:Org/Repo-GGUF");
  EXPECT_EQ(plain.repo, "Org/Repo-GGUF");
  EXPECT_EQ(plain.revision, "main");
  EXPECT_TRUE(plain.quant.empty() && plain.file.empty());
  EXPECT_EQ(parsed<HubName>("hf:o/r:q4_k_m").quant, "q4_k_m");
  EXPECT_EQ(parsed<HubName>("hf:o/r:sub/x.gguf").file, "sub/x.gguf");
  const auto full = parsed<HubName>("hf:o/r@refs/pr/1:X.GGUF");
  EXPECT_EQ(full.revision, "refs/pr/1");
  EXPECT_EQ(full.file, "X.GGUF");
}

TEST(ModelNames, AreWrittenAsTheyAreRead) {
  for (const char* text : {"hf:o/r", "hf:o/r:Q4_0", "hf:o/r@v1:x.gguf", "hf:o/r@v1"}) {
    EXPECT_EQ(parsed<HubName>(text).text(), text);
  }
}

TEST(ModelNames, WhatCouldLeaveAFolderIsNoName) {
  for (const char* text : {"hf:",
                           "hf:o",
                           "hf:/r",
                           "hf:o/",
                           "hf:../r",
                           "hf:o/..",
                           "hf:.o/r",
                           "hf:-o/r",
                           "hf:o--p/r",
                           "hf:o/r/s",
                           "hf:o/r:",
                           "hf:o/r:../x.gguf",
                           "hf:o/r:/x.gguf",
                           "hf:o/r:a//x.gguf",
                           "hf:o/r:a\\x.gguf",
                           "hf:o/r:\x1b.gguf",
                           "hf:o/r@",
                           "hf:o/r@../x",
                           "hf:o/r@-x",
                           "hf:o r/s",
                           "hf:o/r:Q4/0"}) {
    const auto name = parse(text);
    ASSERT_FALSE(name) << text;
    EXPECT_EQ(name.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(name.error().message, HasSubstr(text));
  }
}

TEST(ModelNames, UrlsOfTheHubAreItsNames) {
  for (const char* url : {"https://hub.test/o/r/resolve/v1/sub/x%20y.gguf?download=true",
                          "https://huggingface.co/o/r/blob/v1/sub/x%20y.gguf"}) {
    const auto name = parsed<HubName>(url);
    EXPECT_EQ(name.repo, "o/r");
    EXPECT_EQ(name.revision, "v1");
    EXPECT_EQ(name.file, "sub/x y.gguf");
  }
  EXPECT_EQ(parsed<HubName>("https://huggingface.co/o/r").repo, "o/r");
  EXPECT_EQ(parsed<UrlName>("https://hub.test:444/o/r/resolve/v1/x.gguf").file, "x.gguf");
}

TEST(ModelNames, OtherUrls) {
  EXPECT_EQ(parsed<UrlName>("https://example.org/a/b%20c.gguf").file, "b c.gguf");
  EXPECT_EQ(parsed<UrlName>("http://localhost:80/x.gguf").file, "x.gguf");
  EXPECT_EQ(parsed<UrlName>("http://[::1]:81/x.gguf").file, "x.gguf");
  for (const char* url :
       {"http://example.org/x.gguf", "https://example.org/", "https://e.org/x.bin",
        "https://user@example.org/x.gguf", "https://", "http://127.evil.org/x.gguf",
        "https://example.org/..%2fx.gguf/", "https://example.org/a%5Cx.gguf"}) {
    EXPECT_FALSE(parse(url)) << url;
  }
}

}  // namespace
}  // namespace asynclm
