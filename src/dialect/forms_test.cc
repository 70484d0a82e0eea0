// SPDX-License-Identifier: Apache-2.0
#include "dialect/forms.h"

#include <algorithm>

#include <gtest/gtest.h>

namespace asynclm::dialect {
namespace {

TEST(Forms, EveryMarkIsFoundAndBeginsAsTheReaderExpects) {
  for (const Mark& mark : all_marks()) {
    EXPECT_EQ(find_mark(mark.text), &mark);
    EXPECT_TRUE(may_begin_mark(mark.text[0])) << mark.text;
  }
  EXPECT_TRUE(std::ranges::is_sorted(all_marks(), {}, &Mark::text));
  EXPECT_EQ(find_mark("<tool_cal"), nullptr);
  EXPECT_EQ(find_mark(""), nullptr);
}

}  // namespace
}  // namespace asynclm::dialect
