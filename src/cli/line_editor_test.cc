// SPDX-License-Identifier: Apache-2.0
#include "cli/line_editor.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/utf8.h"

namespace asynclm {
namespace {

class LineEditorTest : public ::testing::Test {
 protected:
  // The last key that was not none.
  LineEditor::Key type(std::string_view bytes) {
    LineEditor::Key last = LineEditor::Key::none;
    for (const char byte : bytes) {
      const LineEditor::Key key = editor.feed(byte);
      if (key != LineEditor::Key::none) last = key;
    }
    return last;
  }
  LineEditor editor;
};

TEST_F(LineEditorTest, ALine) {
  EXPECT_EQ(type("hello\r"), LineEditor::Key::enter);
  EXPECT_EQ(editor.take_line(), "hello");
  EXPECT_EQ(editor.text(), "");
}

TEST_F(LineEditorTest, CharactersAreErasedWhole) {
  type("aä漢\x7f");
  EXPECT_EQ(editor.text(), "aä");
  type("\x7f\x7f\x7f");
  EXPECT_EQ(editor.text(), "");
}

TEST_F(LineEditorTest, TheCursorMoves) {
  type("äc\x1b[Db");
  EXPECT_EQ(editor.text(), "äbc");
  type("\x01x\x05y");
  EXPECT_EQ(editor.text(), "xäbcy");
  type("\x1b[H\x1b[C\x1b[3~");
  EXPECT_EQ(editor.text(), "xbcy");
  type("\x1b[F\x15z");
  EXPECT_EQ(editor.text(), "z");
  type("\x1bOHfirst word \x0b");
  EXPECT_EQ(editor.text(), "first word ");
  type("\x17");
  EXPECT_EQ(editor.text(), "first ");
}

TEST_F(LineEditorTest, EarlierLinesComeBack) {
  for (const char* line : {"one", "two", "two"}) {
    type(line);
    (void)editor.take_line();
  }
  type("now\x1b[A");
  EXPECT_EQ(editor.text(), "two");
  type("\x1b[A\x1b[A\x1b[A");
  EXPECT_EQ(editor.text(), "one");
  type("\x1b[B\x1b[B\x1b[B");
  EXPECT_EQ(editor.text(), "now");
}

TEST_F(LineEditorTest, KeysThatEnd) {
  EXPECT_EQ(type("a\x03"), LineEditor::Key::interrupt);
  EXPECT_EQ(type("\x04"), LineEditor::Key::none);  // deletes; there is nothing
  type("\x7f");
  EXPECT_EQ(type("\x04"), LineEditor::Key::end_of_input);
}

TEST_F(LineEditorTest, UnknownKeysDoNothing) {
  type("a\x1b[1;5Q\x1b[200~\x1bx\x07\x1b[99999999999999999Rb");
  EXPECT_EQ(editor.text(), "ab");
}

TEST_F(LineEditorTest, WhateverIsTypedTheCursorIsWithinTheLine) {
  Random random(1);
  for (int i = 0; i < 20'000; ++i) {
    constexpr std::string_view kBytes = "\x1b[ABCDHF~3\x7f\x15\x0b\x17\x01\x05\xE6\xBC\xA2 a\r";
    if (editor.feed(random.pick(kBytes)) == LineEditor::Key::enter) (void)editor.take_line();
    ASSERT_LE(editor.cursor(), editor.text().size());
  }
}

}  // namespace
}  // namespace asynclm
