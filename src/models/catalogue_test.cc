// SPDX-License-Identifier: Apache-2.0
#include "models/catalogue.h"

#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "models/hub_cache.h"
#include "models/model_name.h"
#include "models/sha256.h"

namespace asynclm {
namespace {

using ::testing::HasSubstr;

TEST(Catalogue, TheBuiltInEntriesAreSound) {
  std::set<std::string> names, hashes;
  const Catalogue catalogue = Catalogue::builtin();
  for (const CatalogueEntry& entry : catalogue.entries()) {
    EXPECT_TRUE(names.insert(entry.name).second) << entry.name;
    EXPECT_TRUE(hashes.insert(entry.sha256).second) << entry.name;
    EXPECT_TRUE(is_repo_name(entry.repo) && is_repo_file(entry.file)) << entry.name;
    EXPECT_TRUE(is_sha256_hex(entry.sha256)) << entry.name;
    EXPECT_TRUE(entry.revision == "main" || is_commit(entry.revision)) << entry.name;
    EXPECT_FALSE(entry.licence.empty() || entry.summary.empty()) << entry.name;
    for (const PackageMirror& mirror : entry.mirrors) {
      // All parts but the last are full, and the last one is not empty.
      const auto full = mirror.part_bytes * static_cast<std::uint64_t>(mirror.parts() - 1);
      EXPECT_LT(full, entry.size) << entry.name;
      EXPECT_TRUE(mirror.parts() == 1 || entry.size - full <= mirror.part_bytes) << entry.name;
    }
  }
  ASSERT_NE(catalogue.find(kDefaultModelName), nullptr);
  ASSERT_NE(catalogue.find(kSmallModelName), nullptr);
  EXPECT_FALSE(catalogue.find(kDefaultModelName)->tests_only);
  EXPECT_EQ(catalogue.find("x"), nullptr);
}

TEST(Catalogue, NamesOfParts) {
  const PackageMirror mirror{.package = "p-part#",
                             .version = "1.2",
                             .last = 22,
                             .member = "data/part##.bin",
                             .part_bytes = 1};
  EXPECT_EQ(mirror.requirement(0), "p-part1==1.2");
  EXPECT_EQ(mirror.requirement(21), "p-part22==1.2");
  EXPECT_EQ(mirror.member_of(8), "data/part09.bin");
  const PackageMirror from_zero{
      .package = "p", .version = "1", .member = "x.##", .first_member = 0};
  EXPECT_EQ(from_zero.member_of(0), "x.00");
}

TEST(Catalogue, AFileOfOnesOwnComesFirst) {
  const TemporaryFolder folder;
  const std::string hash(64, 'a');
  Catalogue catalogue = Catalogue::builtin();
  const std::string text = R"({"models": [{"name": "qwen2.5-coder-1.5b", "repo": "o/r",
      "file": "x.gguf", "size": 3, "sha256": ")" +
                           hash + R"("}]})";
  ASSERT_TRUE(catalogue.add_file(folder.write("catalogue.json", text)));
  EXPECT_EQ(catalogue.find(kDefaultModelName)->repo, "o/r");
  EXPECT_EQ(catalogue.find_hash(hash)->size, 3U);
  EXPECT_EQ(catalogue.find_file("o/r", "x.gguf")->sha256, hash);
  const auto bad = catalogue.add_file(folder.write("bad.json", R"({"models": [{"name": "x"}]})"));
  ASSERT_FALSE(bad);
  EXPECT_THAT(bad.error().message, HasSubstr("model 1: \"repo\" is missing"));
}

}  // namespace
}  // namespace asynclm
