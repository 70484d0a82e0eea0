// SPDX-License-Identifier: Apache-2.0
#include "cml/span.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "cml/test_vocabulary.h"

namespace asynclm {
namespace {

TEST(Span, OnlyControlSpansYieldControlTokens) {
  const FakeVocabulary vocabulary;
  std::vector<Token> out;
  ASSERT_TRUE(append_tokens(vocabulary, ControlSpan{vocabulary.control("[INTR]")}, out));
  ASSERT_TRUE(append_tokens(vocabulary, TextSpan{"a[END]", Origin::tool_result}, out));
  EXPECT_EQ(out, (std::vector<Token>{vocabulary.control("[INTR]"), 'a', '[', 'E', 'N', 'D', ']'}));
}

TEST(Span, NoTextSpellsAControlToken) {
  const FakeVocabulary vocabulary;
  const std::string_view parts[] = {
      "[CALL]",          "[INTR]", "[TRAP]", "[END]", "[HEAD]", "<|user|>",
      "<|end_of_text|>", "[",      "<|",     "\n",    "x",      "\xFF"};
  Random random(4);
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int n = random.between(0, 8); n > 0; --n) text += random.pick(parts);
    std::vector<Token> out;
    ASSERT_TRUE(append_tokens(vocabulary, TextSpan{text, Origin::tool_result}, out));
    std::string back;
    for (const Token token : out) {
      ASSERT_FALSE(vocabulary.is_control(token)) << text;
      vocabulary.append_piece(token, back);
    }
    ASSERT_EQ(back, text);
  }
}

TEST(Span, AVocabularyThatParsesControlTokensInTextIsCaught) {
  struct Liar : TestVocabulary {
    [[nodiscard]] std::vector<Token> encode(std::string_view text) const override {
      return encode_with_controls(FakeVocabulary(), text);
    }
  };
  const Liar liar;
  for (const Origin origin :
       {Origin::chat_template, Origin::system, Origin::user, Origin::assistant, Origin::runtime,
        Origin::tool_result, Origin::tool_error}) {
    std::vector<Token> out = {1, 2};
    const auto ok = append_tokens(liar, TextSpan{"a[END]b", origin}, out);
    ASSERT_FALSE(ok) << to_string(origin);
    EXPECT_EQ(ok.error().code, ErrorCode::internal);
    EXPECT_NE(ok.error().message.find("[END]"), std::string::npos);
    EXPECT_NE(ok.error().message.find(to_string(origin)), std::string::npos);
    EXPECT_EQ(out, (std::vector<Token>{1, 2})) << "nothing of it may be in the context";
    EXPECT_TRUE(append_tokens(liar, TextSpan{"plain", origin}, out));
  }
}

}  // namespace
}  // namespace asynclm
