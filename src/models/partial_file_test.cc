// SPDX-License-Identifier: Apache-2.0
#include "models/partial_file.h"

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace asynclm {
namespace {

TEST(Sha256, KnownValues) {
  EXPECT_EQ(sha256_hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 hash;
  hash.add("ab");
  hash.add("c");
  EXPECT_EQ(hash.take_hex(), sha256_hex("abc"));
  EXPECT_EQ(hash.take_hex(), sha256_hex(""));
}

TEST(PartialFile, GoesOnBehindWhatIsThere) {
  const TemporaryFolder folder;
  const PullEvents events;
  PullWatch watch(events);
  const std::string path = folder.file("part");
  {
    auto file = PartialFile::open(path, watch);
    ASSERT_TRUE(file && file->append("ab"));
  }
  auto file = PartialFile::open(path, watch);
  ASSERT_TRUE(file);
  EXPECT_EQ(file->size(), 2U);
  ASSERT_TRUE(file->append("c"));
  EXPECT_EQ(file->close(), sha256_hex("abc"));
  EXPECT_EQ(sha256_of_file(path, watch), sha256_hex("abc"));
}

TEST(PartialFile, Clear) {
  const TemporaryFolder folder;
  const PullEvents events;
  PullWatch watch(events);
  auto file = PartialFile::open(folder.write("part", "wrong"), watch);
  ASSERT_TRUE(file && file->clear() && file->append("abc"));
  EXPECT_EQ(file->size(), 3U);
  EXPECT_EQ(file->close(), sha256_hex("abc"));
}

TEST(PartialFile, StopsWhileItHashes) {
  const TemporaryFolder folder;
  std::stop_source stop;
  const PullEvents events{.stop = stop.get_token()};
  PullWatch watch(events);
  const std::string path = folder.write("part", "abc");
  stop.request_stop();
  const auto file = PartialFile::open(path, watch);
  ASSERT_FALSE(file);
  EXPECT_EQ(file.error().code, ErrorCode::cancelled);
}

TEST(PartialFile, Sizes) {
  EXPECT_EQ(bytes_text(0), "0 bytes");
  EXPECT_EQ(bytes_text(999), "999 bytes");
  EXPECT_EQ(bytes_text(1000), "1.00 kB");
  EXPECT_EQ(bytes_text(99'960), "100 kB");
  EXPECT_EQ(bytes_text(999'600), "1.00 MB");
  EXPECT_EQ(bytes_text(491'400'064), "491 MB");
  EXPECT_EQ(bytes_text(1'117'320'768), "1.12 GB");
}

}  // namespace
}  // namespace asynclm
