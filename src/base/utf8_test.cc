// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <cstdint>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace asynclm {
namespace {

using namespace std::string_view_literals;

TEST(Utf8, FindsTheFirstBadByte) {
  const std::string_view valid[] = {"",
                                    "plain",
                                    "\0"sv,
                                    "caf\xC3\xA9",
                                    "\xE2\x82\xAC",
                                    "\xF0\x9F\x98\x80",
                                    "\xEF\xBF\xBF",
                                    "\xF4\x8F\xBF\xBF"};
  for (const auto text : valid) EXPECT_EQ(find_invalid_utf8(text), text.size()) << text;

  EXPECT_EQ(find_invalid_utf8("ab\x80z"), 2U);           // begins with a continuation byte
  EXPECT_EQ(find_invalid_utf8("ab\xC3"), 2U);            // ends inside a character
  EXPECT_EQ(find_invalid_utf8("ab\xC3z"), 2U);           // another character inside
  EXPECT_EQ(find_invalid_utf8("\xC3\xA9\xC0\xAF"), 2U);  // a longer form than needed
  EXPECT_EQ(find_invalid_utf8("\xE0\x80\xAF"), 0U);
  EXPECT_EQ(find_invalid_utf8("\xED\xA0\x80"), 0U);      // half of a surrogate pair
  EXPECT_EQ(find_invalid_utf8("\xF4\x90\x80\x80"), 0U);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("z\xFF"), 1U);
}

TEST(Utf8, CutsBeforeACharacterThatIsNotComplete) {
  const auto prefix = [](std::string_view text) { return complete_utf8_prefix(text, 0); };
  EXPECT_EQ(prefix(""), 0U);
  EXPECT_EQ(prefix("abc"), 3U);
  for (const std::string_view character : {"\xC3\xA9"sv, "\xE2\x82\xAC"sv, "\xF0\x9F\x98\x80"sv}) {
    for (std::size_t length = 1; length < character.size(); ++length) {
      EXPECT_EQ(prefix("ab" + std::string(character.substr(0, length))), 2U);
      EXPECT_EQ(prefix(character.substr(0, length)), 0U);
    }
    EXPECT_EQ(prefix("ab" + std::string(character)), 2 + character.size());
  }
}

TEST(Utf8, BytesThatCannotBeginACharacterAreNotWaitedFor) {
  for (const std::string_view text :
       {"a\xFF"sv, "a\xC0"sv, "a\xF5"sv, "\x80\x80\x80"sv, "\x80"sv, "\xC3z"sv, "\xC3\xA9\xA9"sv}) {
    EXPECT_EQ(complete_utf8_prefix(text, 0), text.size());
  }
}

TEST(Utf8, NeverGoesBackBeforeWhatWasTaken) {
  EXPECT_EQ(complete_utf8_prefix("ab\xE2\x82", 2), 2U);
  EXPECT_EQ(complete_utf8_prefix("ab\xE2\x82", 3), 4U);
  EXPECT_EQ(complete_utf8_prefix("ab\xE2", 3), 3U);
}

TEST(Utf8, TextThatArrivesByteByByteIsCutAtCharactersOnly) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z";
  std::size_t sent = 0;
  for (std::size_t size = 1; size <= text.size(); ++size) {
    const auto next = complete_utf8_prefix(std::string_view(text).substr(0, size), sent);
    const auto part = std::string_view(text).substr(sent, next - sent);
    EXPECT_EQ(find_invalid_utf8(part), part.size());
    sent = next;
  }
  EXPECT_EQ(sent, text.size());
}

TEST(Utf8, WritesEveryWidth) {
  const auto utf8 = [](std::uint32_t code) {
    std::string out;
    append_utf8(code, out);
    return out;
  };
  EXPECT_EQ(utf8(0), "\0"sv);
  EXPECT_EQ(utf8(0x7F), "\x7F");
  EXPECT_EQ(utf8(0x80), "\xC2\x80");
  EXPECT_EQ(utf8(0x7FF), "\xDF\xBF");
  EXPECT_EQ(utf8(0x800), "\xE0\xA0\x80");
  EXPECT_EQ(utf8(0xFFFF), "\xEF\xBF\xBF");
  EXPECT_EQ(utf8(0x10000), "\xF0\x90\x80\x80");
  EXPECT_EQ(utf8(0x10FFFF), "\xF4\x8F\xBF\xBF");
  EXPECT_TRUE(is_unicode(0x10FFFF));
  EXPECT_FALSE(is_unicode(0x110000));
  EXPECT_FALSE(is_unicode(0xD800));
  EXPECT_FALSE(is_unicode(0xDFFF));
}

}  // namespace
}  // namespace asynclm
