// SPDX-License-Identifier: Apache-2.0
#include "engine/llama_vocabulary.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "engine/llama_library.h"
#include "engine/test_llama_model.h"

namespace asynclm {
namespace {

using test_model::TestModel;
using test_model::write_test_model;

class LlamaVocabularyTest : public ::testing::Test {
 protected:
  std::string write(const TestModel& model, const std::string& name = "vocabulary.gguf") {
    const std::string path = folder_.file(name);
    EXPECT_TRUE(write_test_model(model, path));
    return path;
  }
  std::unique_ptr<Vocabulary> load(TestModel model = {}) {
    model.tensors = false;
    Result<std::unique_ptr<Vocabulary>> vocabulary = load_vocabulary(write(model));
    EXPECT_TRUE(vocabulary.has_value()) << vocabulary.error().message;
    return vocabulary ? std::move(*vocabulary) : nullptr;
  }
  Error error_of(const TestModel& model) {
    Result<std::unique_ptr<Vocabulary>> vocabulary = load_vocabulary(write(model));
    EXPECT_FALSE(vocabulary.has_value());
    return vocabulary ? Error{} : vocabulary.error();
  }
  static std::string text_of(const Vocabulary& vocabulary, const std::vector<Token>& tokens) {
    std::string out;
    for (const Token token : tokens) vocabulary.append_piece(token, out);
    return out;
  }

  TemporaryFolder folder_;
};

TEST_F(LlamaVocabularyTest, ReadsAFileWithoutTensors) {
  const auto vocabulary = load();
  ASSERT_TRUE(vocabulary);
  EXPECT_EQ(vocabulary->size(), 1 + 9 + 256 + 19);
  EXPECT_EQ(vocabulary->chat_template(), test_model::kTestTemplate);
}

TEST_F(LlamaVocabularyTest, NoChatTemplateIsEmpty) {
  const auto vocabulary = load({.chat_template = false});
  ASSERT_TRUE(vocabulary);
  EXPECT_EQ(vocabulary->chat_template(), "");
}

TEST_F(LlamaVocabularyTest, ControlTokensAreFoundBySpelling) {
  const auto vocabulary = load();
  ASSERT_TRUE(vocabulary);
  for (const std::string& text : test_model::test_model_controls()) {
    const Token token = vocabulary->control(text);
    ASSERT_NE(token, kNoToken) << text;
    EXPECT_TRUE(vocabulary->is_control(token));
    EXPECT_EQ(vocabulary->spelling(token), text);
    EXPECT_EQ(text_of(*vocabulary, {token}), "");
    EXPECT_EQ(vocabulary->is_end_of_generation(token), text == "<|end_of_text|>") << text;
  }
  EXPECT_EQ(vocabulary->control("[NONE]"), kNoToken);
  EXPECT_EQ(vocabulary->control("the"), kNoToken);  // a token, but no control token
  EXPECT_EQ(vocabulary->control(""), kNoToken);
}

TEST_F(LlamaVocabularyTest, TextComesBackByteForByte) {
  const auto vocabulary = load();
  ASSERT_TRUE(vocabulary);
  std::string all_bytes;
  for (int byte = 0; byte < 256; ++byte) all_bytes.push_back(static_cast<char>(byte));
  for (const std::string& text :
       {std::string("the hello"), std::string(" two  spaces "), std::string("gr\xC3\xBC\xC3\x9F"),
        std::string("\xF0\x9F\x98\x80"), std::string("broken \xC3"),
        std::string("\xFF\xFE\n\t\0x", 6), std::string("\xE2\x82"), all_bytes, std::string()}) {
    const std::vector<Token> tokens = vocabulary->encode(text);
    EXPECT_EQ(text_of(*vocabulary, tokens), text);
  }
}

TEST_F(LlamaVocabularyTest, SpellingsOfControlTokensStayText) {
  // "[END" + "]" would merge to the control token's text.
  const auto vocabulary = load({.more_tokens = {"[E", "[EN", "[END"}});
  ASSERT_TRUE(vocabulary);
  std::string text;
  for (const std::string& control : test_model::test_model_controls())
    text += control + "x" + control;
  const std::vector<Token> tokens = vocabulary->encode(text);
  EXPECT_TRUE(std::ranges::none_of(tokens, [&](Token t) { return vocabulary->is_control(t); }));
  EXPECT_EQ(text_of(*vocabulary, tokens), text);
}

// The default model's, which is a byte-pair vocabulary.
TEST_F(LlamaVocabularyTest, TheDefaultVocabulary) {
  const auto loaded = load_vocabulary(ASYNCLM_SOURCE_DIR "/lab/train/tokenizer/vocab.gguf");
  ASSERT_TRUE(loaded.has_value()) << loaded.error().message;
  const Vocabulary& vocabulary = **loaded;
  std::string markers;
  for (const std::string& text : test_model::test_model_controls()) {
    const Token token = vocabulary.control(text);
    ASSERT_NE(token, kNoToken) << text;
    EXPECT_EQ(vocabulary.is_end_of_generation(token), text == "<|end_of_text|>") << text;
    markers += text + " " + text + "x";
  }
  EXPECT_FALSE(vocabulary.chat_template().empty());
  for (const std::string& text :
       {markers, std::string("call [CALL]get(x=1)[END] \n\tZ\xC3\xBCrich \xF0\x9F\x98\x80"),
        std::string("a\0b", 3)}) {
    const std::vector<Token> tokens = vocabulary.encode(text);
    EXPECT_TRUE(std::ranges::none_of(tokens, [&](Token t) { return vocabulary.is_control(t); }));
    EXPECT_EQ(text_of(vocabulary, tokens), text);
  }
  EXPECT_EQ(text_of(vocabulary, vocabulary.encode("a\xFFz")), "a\xEF\xBF\xBDz");
  for (int byte = 0; byte < 256; ++byte) {
    const std::string broken = "[" + std::string(1, static_cast<char>(byte)) + "END]\xE2\x82";
    const std::vector<Token> tokens = vocabulary.encode(broken);
    EXPECT_TRUE(std::ranges::none_of(tokens, [&](Token t) { return vocabulary.is_control(t); }));
  }
}

TEST_F(LlamaVocabularyTest, TokensOutOfRangeAreHarmless) {
  const auto vocabulary = load();
  ASSERT_TRUE(vocabulary);
  for (const Token token : {kNoToken, Token{-100}, vocabulary->size(), vocabulary->size() + 1000}) {
    EXPECT_FALSE(vocabulary->is_control(token));
    EXPECT_FALSE(vocabulary->is_end_of_generation(token));
    EXPECT_EQ(vocabulary->spelling(token), "");
    EXPECT_EQ(text_of(*vocabulary, {token}), "");
  }
}

TEST_F(LlamaVocabularyTest, MissingFile) {
  const auto vocabulary = load_vocabulary(folder_.file("nowhere.gguf"));
  ASSERT_FALSE(vocabulary.has_value());
  EXPECT_EQ(vocabulary.error().code, ErrorCode::not_found);
  EXPECT_NE(vocabulary.error().message.find("nowhere.gguf"), std::string::npos);
}

TEST_F(LlamaVocabularyTest, FolderIsNotAFile) {
  const auto vocabulary = load_vocabulary(folder_.file(""));
  ASSERT_FALSE(vocabulary.has_value());
  EXPECT_EQ(vocabulary.error().code, ErrorCode::invalid_argument);
}

TEST_F(LlamaVocabularyTest, NotAGguf) {
  const std::string path = folder_.file("text.gguf");
  for (const std::string& content : {std::string(), std::string("GG"), std::string("hello, world"),
                                     std::string("GGUF then nothing useful at all")}) {
    std::ofstream(path, std::ios::binary) << content;
    const auto vocabulary = load_vocabulary(path);
    ASSERT_FALSE(vocabulary.has_value()) << content;
    EXPECT_EQ(vocabulary.error().code, ErrorCode::invalid_argument);
  }
}

TEST_F(LlamaVocabularyTest, TruncatedFilesAreErrors) {
  const std::string path = write({});
  const auto size = std::filesystem::file_size(path);
  for (const std::uintmax_t keep : {size / 2, size / 64, std::uintmax_t{100}, std::uintmax_t{30}}) {
    std::filesystem::resize_file(path, keep);
    const auto model = load_llama_model(path, false, 0);
    EXPECT_FALSE(model.has_value()) << keep;
  }
}

TEST_F(LlamaVocabularyTest, TwoTokensOfTheSameText) {
  const Error error = error_of({.tensors = false, .more_tokens = {"twice", "twice"}});
  EXPECT_EQ(error.code, ErrorCode::unsupported);
  EXPECT_NE(error.message.find("twice"), std::string::npos);
}

TEST_F(LlamaVocabularyTest, NoEndToken) {
  const Error error = error_of({.tensors = false, .end_token = false});
  EXPECT_EQ(error.code, ErrorCode::unsupported);
  EXPECT_NE(error.message.find("end-of-text"), std::string::npos) << error.message;
}

TEST_F(LlamaVocabularyTest, NoByteTokens) {
  const Error error = error_of({.tensors = false, .byte_tokens = false});
  EXPECT_EQ(error.code, ErrorCode::unsupported);
}

TEST_F(LlamaVocabularyTest, UnknownArchitectureCarriesLibllamasWords) {
  const Error error = error_of({.tensors = false, .architecture = "nosucharch"});
  EXPECT_EQ(error.code, ErrorCode::engine);
  EXPECT_NE(error.message.find("nosucharch"), std::string::npos) << error.message;
}

TEST(LlamaVersions, TheTestedPairIsPlain) {
  EXPECT_EQ(check_llama_versions("0.7.0", "0.27.0", "0.7.0"), "libllama 0.7.0, ggml 0.27.0");
  EXPECT_EQ(check_llama_versions("0.7.0", "0.27.0", ""), "libllama 0.7.0, ggml 0.27.0");
}

TEST(LlamaVersions, NewerOnesAreNoted) {
  EXPECT_EQ(check_llama_versions("0.9.1", "0.30.0", "0.9.0"),
            "libllama 0.9.1 (tested with 0.7.0), ggml 0.30.0 (tested with 0.27.0)");
  EXPECT_TRUE(check_llama_versions("0.7.1-dirty", "0.27.0", "0.7.0").has_value());
}

TEST(LlamaVersions, OthersNameTheLibrary) {
  for (const auto& [llama, ggml] : std::vector<std::pair<std::string, std::string>>{
           {"0.6.9", "0.27.0"}, {"1.0.0", "0.27.0"}, {"b1234", "0.27.0"}, {"0.7", "0.27.0"}}) {
    const Result<std::string> result = check_llama_versions(llama, ggml, "");
    ASSERT_FALSE(result.has_value()) << llama;
    EXPECT_EQ(result.error().code, ErrorCode::unsupported);
    EXPECT_NE(result.error().message.find("libllama"), std::string::npos);
    EXPECT_NE(result.error().message.find(llama), std::string::npos);
  }
  const Result<std::string> ggml = check_llama_versions("0.7.0", "0.26.3", "");
  ASSERT_FALSE(ggml.has_value());
  EXPECT_NE(ggml.error().message.find("ggml"), std::string::npos);
}

TEST(LlamaVersions, ALibraryOtherThanBuiltWithIsRefused) {
  const Result<std::string> result = check_llama_versions("0.8.0", "0.28.0", "0.7.0");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, ErrorCode::unsupported);
  EXPECT_NE(result.error().message.find("build asynclm again"), std::string::npos);
}

}  // namespace
}  // namespace asynclm
