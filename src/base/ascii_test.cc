// SPDX-License-Identifier: Apache-2.0
#include "base/ascii.h"

#include <string>

#include <gtest/gtest.h>

namespace asynclm::ascii {
namespace {

// The values, of all bytes and the end, that are of a class.
template <class Class>
std::string members(Class is_member) {
  std::string out;
  for (int c = -1; c < 256; ++c) {
    if (is_member(c)) out += static_cast<char>(c);
  }
  return out;
}

TEST(Ascii, Classes) {
  EXPECT_EQ(members(is_digit), "0123456789");
  EXPECT_EQ(members(is_name_start), "ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz");
  EXPECT_EQ(members(is_space), "\t\n\r ");
  EXPECT_EQ(members(is_python_space), "\t\n\v\f\r ");
}

}  // namespace
}  // namespace asynclm::ascii
