// SPDX-License-Identifier: Apache-2.0
#include "cml/parser.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "base/random.h"
#include "cml/test_vocabulary.h"

namespace asynclm {
namespace {

constexpr std::string_view kEnd = "<|end_of_text|>";

std::string shown(const Parser& parser, Parser::Event event) {
  switch (event) {
    case Parser::Event::none:
      return "";
    case Parser::Event::text:
      return std::string(parser.text());
    case Parser::Event::call:
      return "<call " + std::string(parser.id()) + "|" + std::string(parser.code()) + ">";
    case Parser::Event::trap:
      return "<trap>";
    case Parser::Event::end_of_turn:
      return "<end>";
    case Parser::Event::malformed:
      return "<malformed " + std::string(parser.id()) + "|" + std::string(parser.code()) + ": " +
             std::string(parser.problem()) + ">";
  }
  return "?";
}

class ParserTest : public ::testing::Test {
 protected:
  // Feeds what `script` spells and says what came out: text as it is, blocks in angle brackets.
  std::string feed(std::string_view script) {
    std::string out;
    for (const Token token : encode_with_controls(vocabulary_, script)) {
      out += shown(parser_, parser_.read(token));
    }
    return out;
  }
  std::string banned() { return spelled(vocabulary_, parser_.banned()); }

  TestVocabulary vocabulary_;
  Markers markers_ = *Markers::find(vocabulary_);
  static constexpr int kMaxBlockTokens = 40;
  Parser parser_{vocabulary_, markers_, kMaxBlockTokens};
};

TEST_F(ParserTest, Text) {
  EXPECT_EQ(feed("Hello [call] <|user> world"), "Hello [call] <|user> world");
  EXPECT_FALSE(parser_.in_block());
}

TEST_F(ParserTest, Blocks) {
  EXPECT_EQ(feed("a[CALL]x[HEAD]f(1)[END]b"), "a<call x|f(1)>b");
  EXPECT_EQ(feed("[CALL]f(1)[END]"), "<call |f(1)>");
  EXPECT_EQ(feed("[CALL] x [HEAD] f( 1 ) [END]"), "<call x|f( 1 )>");
  EXPECT_EQ(feed("[TRAP]"), "<trap>");
  EXPECT_EQ(feed(kEnd), "<end>");
}

TEST_F(ParserTest, PartsOfOneBlockDoNotLeakIntoTheNext) {
  EXPECT_EQ(feed("[CALL]x[HEAD]f()[END][CALL]g()[END][CALL]y[HEAD][END]"),
            "<call x|f()><call |g()><call y|>");
  EXPECT_EQ(feed("[CALL]x[HEAD]f([CALL]g()[END]"),
            "<malformed |f(: [CALL] inside a block: close a block with [END] first>"
            "<call |g()>");
  EXPECT_EQ(feed("[CALL]x[TRAP][CALL]y[HEAD]f()[END]"),
            "<malformed |x: [TRAP] inside a block><call y|f()>");
}

TEST_F(ParserTest, BrokenBlocks) {
  EXPECT_EQ(feed("[CALL]x[HEAD]f[HEAD]g"), "<malformed |f: a second [HEAD] in a block>g");
  EXPECT_EQ(feed("[CALL][HEAD]f"), "<malformed |: [HEAD] without an id before it>f");
  EXPECT_EQ(feed("[CALL] \n[HEAD]f"), "<malformed |: [HEAD] without an id before it>f");
  EXPECT_EQ(feed("[HEAD]f"), "<malformed |: [HEAD] outside a block>f");
  EXPECT_EQ(feed("[END]f"), "<malformed |: [END] outside a block>f");
  EXPECT_EQ(feed("[CALL]f[TRAP]g"), "<malformed |f: [TRAP] inside a block>g");
  EXPECT_EQ(feed("[CALL]x[HEAD]f" + std::string(kEnd) + "g"),
            "<malformed |f: the turn ended inside a block>g");
  EXPECT_FALSE(parser_.in_block());
}

TEST_F(ParserTest, ABlockThatDoesNotEnd) {
  const std::string most(kMaxBlockTokens, 'f');
  EXPECT_EQ(feed("[CALL]" + most + "[END]"), "<call |" + most + ">");
  EXPECT_EQ(feed("[CALL]x[HEAD]" + most),
            "<malformed |" + most.substr(1) + ": the call block is too long>");
  EXPECT_FALSE(parser_.in_block());
  EXPECT_EQ(feed("[CALL]x[HEAD]f()[END]"), "<call x|f()>");
}

TEST_F(ParserTest, WhatOnlyTheRuntimeMayWrite) {
  EXPECT_EQ(feed("[INTR]a"), "<malformed |: [INTR] is written by the runtime only>a");
  EXPECT_EQ(feed("[CALL]x[HEAD]f([INTR]a"),
            "<malformed |f(: [INTR] is written by the runtime only>a");
  for (const std::string_view role : {"<|system|>", "<|user|>", "<|assistant|>"}) {
    EXPECT_EQ(feed(std::string(role) + "a"),
              "<malformed |: a role token may not be written by the model>a");
    EXPECT_EQ(feed("[CALL]f" + std::string(role) + "a"),
              "<malformed |f: a role token may not be written by the model>a");
  }
}

TEST_F(ParserTest, ABlockIsACriticalSection) {
  EXPECT_FALSE(parser_.in_block());
  (void)feed("[CALL]");
  EXPECT_TRUE(parser_.in_block());
  (void)feed("x[HEAD]f()");
  EXPECT_TRUE(parser_.in_block());
  (void)feed("[END]");
  EXPECT_FALSE(parser_.in_block());
  (void)feed("[CALL]x[CALL]");
  EXPECT_TRUE(parser_.in_block());
  (void)feed("y[INTR]");
  EXPECT_FALSE(parser_.in_block());
}

TEST_F(ParserTest, Banned) {
  const std::string roles = "<|system|><|user|><|assistant|>";
  const std::string end(kEnd);
  EXPECT_EQ(banned(), "[INTR][END][HEAD]" + roles);
  (void)feed("text");
  EXPECT_EQ(banned(), "[INTR][END][HEAD]" + roles);
  (void)feed("[CALL]");
  EXPECT_EQ(banned(), "[CALL][INTR][TRAP][END][HEAD]" + roles + end) << "no id and no call yet";
  (void)feed(" \n");
  EXPECT_EQ(banned(), "[CALL][INTR][TRAP][END][HEAD]" + roles + end);
  (void)feed("x");
  EXPECT_EQ(banned(), "[CALL][INTR][TRAP]" + roles + end);
  (void)feed("[HEAD]");
  EXPECT_EQ(banned(), "[CALL][INTR][TRAP][END][HEAD]" + roles + end) << "no call yet";
  (void)feed("f");
  EXPECT_EQ(banned(), "[CALL][INTR][TRAP][HEAD]" + roles + end);
  (void)feed("[END]");
  EXPECT_EQ(banned(), "[INTR][END][HEAD]" + roles);
  (void)feed("[TRAP]");
  EXPECT_EQ(banned(), "[INTR][END][HEAD]" + roles);
}

// Some vocabularies end a turn with a token that is not a control token.
TEST_F(ParserTest, EndTokensThatAreNotControlTokens) {
  vocabulary_.ends = {'~'};
  Parser parser(vocabulary_, markers_, kMaxBlockTokens);
  const auto banned = [&] { return std::ranges::contains(parser.banned(), Token{'~'}); };
  EXPECT_FALSE(banned());
  EXPECT_EQ(parser.read('~'), Parser::Event::end_of_turn);
  parser.read(markers_.token(Marker::call));
  EXPECT_TRUE(banned());
  parser.read('x');
  EXPECT_TRUE(banned());
  EXPECT_EQ(parser.read('~'), Parser::Event::malformed);
}

// A model that is kept from the banned tokens cannot write anything malformed, and an unmasked one
// is told exactly where it writes one.
TEST_F(ParserTest, MalformedIsWhatIsBannedAndNothingElse) {
  Random random(3);
  for (int i = 0; i < 100'000; ++i) {
    const auto token =
        random.chance(0.5)
            ? static_cast<Token>(random.below(256))
            : static_cast<Token>(256 +
                                 random.below(static_cast<std::size_t>(vocabulary_.size() - 256)));
    const bool was_banned = std::ranges::contains(parser_.banned(), token);
    const bool was_in_block = parser_.in_block();
    const Parser::Event event = parser_.read(token);
    // An empty block is banned, but it is a call: its words say that it is empty.
    const bool empty = event == Parser::Event::call && parser_.code().empty();
    ASSERT_EQ(was_banned, event == Parser::Event::malformed || empty)
        << vocabulary_.spelling(token);
    ASSERT_FALSE(was_in_block && event == Parser::Event::text);
  }
}

TEST(Markers, AreFoundOrNamed) {
  const FakeVocabulary vocabulary;
  const auto markers = Markers::find(vocabulary);
  ASSERT_TRUE(markers);
  for (std::size_t i = 0; i < kMarkerCount; ++i) {
    const auto marker = static_cast<Marker>(i);
    EXPECT_EQ(vocabulary.spelling(markers->token(marker)), kMarkerSpellings[i]);
    EXPECT_EQ(markers->marker(markers->token(marker)), marker);
  }
  EXPECT_EQ(markers->marker('['), std::nullopt);
  EXPECT_EQ(markers->marker(kNoToken), std::nullopt);
}

TEST(Markers, AVocabularyWithoutThemIsRefused) {
  struct Untrained : TestVocabulary {
    [[nodiscard]] Token control(std::string_view spelling) const override {
      return spelling == "[TRAP]" ? kNoToken : TestVocabulary::control(spelling);
    }
  } untrained;
  const auto markers = Markers::find(untrained);
  ASSERT_FALSE(markers);
  EXPECT_EQ(markers.error().code, ErrorCode::unsupported);
  EXPECT_NE(markers.error().message.find("[TRAP]"), std::string::npos);
}

TEST(Markers, MayNotEndAGeneration) {
  TestVocabulary vocabulary;
  vocabulary.ends = {vocabulary.control("[END]")};
  const auto markers = Markers::find(vocabulary);
  ASSERT_FALSE(markers);
  EXPECT_EQ(markers.error().code, ErrorCode::unsupported);
  EXPECT_NE(markers.error().message.find("[END]"), std::string::npos);
}

}  // namespace
}  // namespace asynclm
