// SPDX-License-Identifier: Apache-2.0
#include "models/hub_cache.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "models/sha256.h"

namespace asynclm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::string kFirst(40, 'a');
const std::string kSecond(40, 'b');

class HubCacheTest : public ::testing::Test {
 protected:
  void add(const std::string& commit, const std::string& file, const std::string& etag) {
    folder_.write("models--o--r/blobs/" + etag, etag);
    ASSERT_TRUE(repo_.link(commit, file, etag));
  }
  [[nodiscard]] bool has(const std::string& path) const {
    return std::filesystem::exists(std::filesystem::symlink_status(folder_.file(path)));
  }

  TemporaryFolder folder_;
  HubCache cache_{folder_.path()};
  CachedRepo repo_ = cache_.repo("o/r");
};

TEST_F(HubCacheTest, Layout) {
  EXPECT_EQ(repo_.blob("e"), folder_.file("models--o--r/blobs/e"));
  EXPECT_EQ(repo_.partial("e"), folder_.file("models--o--r/blobs/e.incomplete"));
  EXPECT_EQ(repo_.lock("e"), folder_.file(".locks/models--o--r/e.lock"));
  add(kFirst, "sub/x.gguf", "e");
  EXPECT_EQ(std::filesystem::read_symlink(
                folder_.file("models--o--r/snapshots/" + kFirst + "/sub/x.gguf")),
            "../../../blobs/e");
  ASSERT_TRUE(repo_.set_ref("main", kFirst, true));
  EXPECT_THAT(cache_.repos(), ElementsAre("o/r"));
}

TEST_F(HubCacheTest, FilesWhoseBytesAreThere) {
  add(kFirst, "sub/x.gguf", std::string(64, 'c'));
  add(kFirst, "README.md", "d");
  ASSERT_TRUE(repo_.link(kFirst, "gone.gguf", "gone"));
  const auto files = repo_.files(kFirst);
  ASSERT_THAT(files, SizeIs(1));
  EXPECT_EQ(files[0].path, "sub/x.gguf");
  EXPECT_EQ(files[0].size, 64U);
  EXPECT_EQ(files[0].sha256(), std::string(64, 'c'));
  EXPECT_THAT(repo_.files(kSecond), IsEmpty());
}

TEST_F(HubCacheTest, CommitsOfARevision) {
  EXPECT_THAT(repo_.commits("main"), IsEmpty());
  add(kFirst, "x.gguf", "e");
  add(kSecond, "x.gguf", "f");
  ASSERT_TRUE(repo_.set_ref("main", kFirst, true));
  ASSERT_TRUE(repo_.set_ref("v1", kSecond, true));
  EXPECT_THAT(repo_.commits("main"), ElementsAre(kFirst, kSecond));
  EXPECT_THAT(repo_.commits("v1"), ElementsAre(kSecond));
  EXPECT_THAT(repo_.commits(kSecond), ElementsAre(kSecond));
  EXPECT_THAT(repo_.commits("v2"), IsEmpty());
  ASSERT_TRUE(repo_.set_ref("main", kSecond, false));
  EXPECT_EQ(repo_.commits("main").front(), kFirst);
  ASSERT_TRUE(repo_.set_ref("main", kSecond, true));
  EXPECT_EQ(repo_.commits("main").front(), kSecond);
  // A commit is its own name.
  ASSERT_TRUE(repo_.set_ref(kFirst, kFirst, true));
  EXPECT_FALSE(has("models--o--r/refs/" + kFirst));
}

TEST_F(HubCacheTest, RemovingKeepsWhatOthersNeed) {
  add(kFirst, "a.gguf", "e");
  add(kSecond, "b.gguf", "e");
  add(kSecond, "sub/a.gguf", "f");
  ASSERT_TRUE(repo_.set_ref("main", kSecond, true));
  EXPECT_EQ(repo_.remove("a.gguf"), 0U);
  EXPECT_FALSE(has("models--o--r/snapshots/" + kFirst));
  EXPECT_TRUE(has("models--o--r/blobs/e"));
  EXPECT_EQ(repo_.remove("b.gguf"), 1U);
  EXPECT_FALSE(has("models--o--r/blobs/e"));
  EXPECT_EQ(repo_.remove("sub/a.gguf"), 1U);
  EXPECT_FALSE(has("models--o--r"));
}

TEST_F(HubCacheTest, RemovingFollowsNoLinkOutOfTheCache) {
  const std::string mine = folder_.write("mine.gguf", "mine");
  folder_.write("models--o--r/snapshots/" + kFirst + "/README.md", "");
  std::filesystem::create_symlink(mine,
                                  folder_.file("models--o--r/snapshots/" + kFirst + "/x.gguf"));
  EXPECT_EQ(repo_.remove("x.gguf"), 0U);
  EXPECT_TRUE(has("mine.gguf"));
}

TEST_F(HubCacheTest, PartsOfDownloads) {
  ASSERT_TRUE(repo_.prepare());
  folder_.write("models--o--r/blobs/e.incomplete", "12345");
  const auto parts = repo_.parts();
  ASSERT_THAT(parts, SizeIs(1));
  EXPECT_EQ(parts[0].etag, "e");
  EXPECT_EQ(parts[0].size, 5U);
  EXPECT_EQ(repo_.remove_part(parts[0]), 5U);
  EXPECT_FALSE(has("models--o--r"));
}

TEST(EtagNames, AreNamesOfFiles) {
  EXPECT_EQ(etag_name("\"abc-1\""), "abc-1");
  EXPECT_EQ(etag_name("W/\"abc\""), "abc");
  for (const char* etag : {"", "\"\"", "..", ".x", "a/b", "a b"}) {
    EXPECT_TRUE(is_sha256_hex(etag_name(etag))) << etag;
  }
}

}  // namespace
}  // namespace asynclm
