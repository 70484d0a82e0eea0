// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <ftxui/screen/string.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace asynclm {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

TEST(Printable, TextStaysAsItIs) {
  EXPECT_EQ(printable("plain, Grüße, 漢字, 🙂", LineBreaks::escape), "plain, Grüße, 漢字, 🙂");
}

TEST(Printable, ControlCharactersAreShown) {
  EXPECT_EQ(printable("\x1b[2Ja\rb\x07", LineBreaks::escape), "\\x1b[2Ja\\x0db\\x07");
  EXPECT_EQ(printable(std::string("a\0b", 3), LineBreaks::escape), "a\\x00b");
  EXPECT_EQ(printable("\xc2\x9b[2J", LineBreaks::escape), "\\u{9b}[2J");  // CSI as one character
  EXPECT_EQ(printable("a\u202Eb\u200D", LineBreaks::escape), "a\\u{202e}b\\u{200d}");
}

TEST(Printable, LineBreaks) {
  EXPECT_EQ(printable("a\nb\tc", LineBreaks::keep), "a\nb c");
  EXPECT_EQ(printable("a\nb", LineBreaks::escape), "a\\nb");
}

TEST(Printable, WhatIsNotUtf8IsReplaced) {
  EXPECT_EQ(printable("\xff", LineBreaks::escape), "\uFFFD");
  EXPECT_EQ(printable("a\xe6\xbc", LineBreaks::escape), "a\uFFFD\uFFFD");          // cut off
  EXPECT_EQ(printable("\xc0\xaf", LineBreaks::escape), "\uFFFD\uFFFD");            // overlong
  EXPECT_EQ(printable("\xed\xa0\x80", LineBreaks::escape), "\uFFFD\uFFFD\uFFFD");  // surrogate
  EXPECT_EQ(printable("\xf5\x80\x80\x80", LineBreaks::escape),
            "\uFFFD\uFFFD\uFFFD\uFFFD");  // too large
}

TEST(CutToColumns, CutsOnlyWhatIsTooLong) {
  EXPECT_EQ(cut_to_columns("abc", 3), "abc");
  EXPECT_EQ(cut_to_columns("abcd", 3), "ab…");
  EXPECT_EQ(cut_to_columns("漢字漢", 4), "漢…");
  EXPECT_EQ(cut_to_columns("abcd", 0), "");
}

TEST(Wrap, AtBlanks) {
  EXPECT_THAT(wrap("one two three", 8), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("one two three", 7), ElementsAre("one two", "three"));
  EXPECT_THAT(wrap("", 7), ElementsAre(""));
  EXPECT_THAT(wrap("a\n\nb", 7), ElementsAre("a", "", "b"));
  EXPECT_THAT(wrap("  a b", 7), ElementsAre("  a b"));
}

TEST(Wrap, LongWordsAreCut) {
  EXPECT_THAT(wrap("abcdefgh", 3), ElementsAre("abc", "def", "gh"));
  EXPECT_THAT(wrap("ab cdefgh", 3), ElementsAre("ab", "cde", "fgh"));
  EXPECT_THAT(wrap("漢字漢字", 5), ElementsAre("漢字", "漢字"));
}

TEST(Wrap, NoLineIsTooWide) {
  const std::string text = "The result of 'abcdefghijklmnopqrstuvwxyz' is 漢字漢字漢字,    or so.";
  for (int columns = 2; columns < 40; ++columns) {
    for (const std::string& line : wrap(text, columns)) {
      EXPECT_LE(ftxui::string_width(line), columns) << line;
    }
  }
}

TEST(DurationText, Units) {
  EXPECT_EQ(duration_text(0ms), "0.0 ms");
  EXPECT_EQ(duration_text(12340us), "12.3 ms");
  EXPECT_EQ(duration_text(999ms), "999 ms");
  EXPECT_EQ(duration_text(999600us), "1.00 s");
  EXPECT_EQ(duration_text(12340ms), "12.34 s");
  EXPECT_EQ(duration_text(123s), "2 min 3 s");
}

}  // namespace
}  // namespace asynclm
