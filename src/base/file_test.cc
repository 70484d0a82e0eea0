// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <sys/stat.h>

#include <filesystem>

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace asynclm {
namespace {

std::size_t files_in(const TemporaryFolder& folder) {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    ++count;
  }
  return count;
}

TEST(File, WhatWasWrittenIsRead) {
  const TemporaryFolder folder;
  const std::string path = folder.file("x");
  const std::string bytes("a\0\xFF\n", 4);
  ASSERT_TRUE(replace_file(path, bytes));
  EXPECT_EQ(read_whole_file(path, 4), bytes);
  ASSERT_TRUE(replace_file(path, "new"));
  EXPECT_EQ(read_whole_file(path, 4), "new");
  EXPECT_EQ(files_in(folder), 1U);
}

TEST(File, WhatCannotBeReadIsNamed) {
  const TemporaryFolder folder;
  const auto missing = read_whole_file(folder.file("none"), 10);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_TRUE(missing.error().message.contains(folder.file("none")));
  EXPECT_EQ(read_whole_file(folder.path(), 10).error().code, ErrorCode::io);
  EXPECT_EQ(read_whole_file(folder.write("long", "12345"), 4).error().code,
            ErrorCode::limit_exceeded);
  ASSERT_EQ(mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(read_whole_file(folder.file("pipe"), 10).error().code, ErrorCode::io);
}

TEST(File, WhatCannotBeWrittenLeavesNothingBehind) {
  const TemporaryFolder folder;
  EXPECT_FALSE(replace_file(folder.file("no/such/folder"), "x"));
  std::filesystem::create_directory(folder.file("taken"));
  EXPECT_FALSE(replace_file(folder.file("taken"), "x"));
  EXPECT_EQ(files_in(folder), 1U);
}

}  // namespace
}  // namespace asynclm
