// SPDX-License-Identifier: Apache-2.0
#include "session/draft_source.h"

#include <gtest/gtest.h>

namespace asynclm {
namespace {

DraftSource source_of(std::initializer_list<std::string_view> texts) {
  DraftSource source;
  for (const auto text : texts) source.add(text);
  return source;
}

TEST(DraftSource, IsEmptyAtFirst) {
  EXPECT_EQ(DraftSource().continuation("f(x=\"a"), "");
  EXPECT_EQ(DraftSource().continuation(""), "");
}

TEST(DraftSource, GoesOnWhereTheValueStands) {
  const auto source = source_of({"Book a table at Luigi's in San Francisco, please."});
  EXPECT_EQ(source.continuation("book(city=\"San"), " Francisco, please.");
  EXPECT_EQ(source.continuation("book(city=\"San Fr"), "ancisco, please.");
  EXPECT_EQ(source.continuation("book(city=\"Oslo"), "");
}

TEST(DraftSource, WordsAreFoundAtTheirBeginning) {
  const auto source = source_of({"partial art"});
  EXPECT_EQ(source.continuation("f(\"ar"), "t");  // not the one within "partial"
  EXPECT_EQ(source.continuation("f(\"tial"), "");
  EXPECT_EQ(source.continuation("f(\""), "");  // nothing is written yet
}

TEST(DraftSource, TheLatestOccurrenceCounts) {
  const auto source = source_of({"file src/a.cc", "src/b.cc"});
  EXPECT_EQ(source.continuation("f(path=\"src/"), "b.cc");
}

TEST(DraftSource, TheLongestEndDecides) {
  const auto source = source_of({"New York, then New Haven"});
  EXPECT_EQ(source.continuation("f(\"New Y"), "ork, then New Haven");
}

TEST(DraftSource, AValueDoesNotGoOnInAnotherText) {
  const auto source = source_of({"count 12", "34"});
  EXPECT_EQ(source.continuation("f(n=1"), "2");
  EXPECT_EQ(source.continuation("f(n=12"), "");
}

}  // namespace
}  // namespace asynclm
