// SPDX-License-Identifier: Apache-2.0
#include "models/store_options.h"

#include <map>

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace asynclm {
namespace {

StoreOptions options_of(const std::map<std::string, std::string>& variables) {
  return store_options([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(StoreOptions, TheCacheIsWhereTheHubsLibraryHasIt) {
  EXPECT_EQ(options_of({{"HOME", "/h"}}).hub_cache, "/h/.cache/huggingface/hub");
  EXPECT_EQ(options_of({{"HOME", "/h"}, {"XDG_CACHE_HOME", "/c"}}).hub_cache, "/c/huggingface/hub");
  EXPECT_EQ(options_of({{"HF_HOME", "/f"}, {"XDG_CACHE_HOME", "/c"}}).hub_cache, "/f/hub");
  EXPECT_EQ(options_of({{"HUGGINGFACE_HUB_CACHE", "/g"}, {"HF_HOME", "/f"}}).hub_cache, "/g");
  EXPECT_EQ(options_of({{"HF_HUB_CACHE", "/d"}, {"HUGGINGFACE_HUB_CACHE", "/g"}}).hub_cache, "/d");
  EXPECT_EQ(options_of({{"HOME", "/h"}, {"HF_HOME", "~/f"}}).hub_cache, "/h/f/hub");
  EXPECT_TRUE(options_of({{"HF_HUB_CACHE", "relative"}}).hub_cache.is_absolute());
}

TEST(StoreOptions, Endpoint) {
  EXPECT_EQ(options_of({}).endpoint, "https://huggingface.co");
  EXPECT_EQ(options_of({{"HF_ENDPOINT", "https://mirror.test/hub//"}}).endpoint,
            "https://mirror.test/hub");
}

TEST(StoreOptions, Token) {
  const TemporaryFolder folder;
  folder.write("hf/token", "from-home\n");
  const std::string file = folder.write("elsewhere", " from-path ");
  const std::string home = folder.file("hf");
  EXPECT_EQ(options_of({{"HF_HOME", "/no/such/folder"}}).token, "");
  EXPECT_EQ(options_of({{"HF_HOME", home}}).token, "from-home");
  EXPECT_EQ(options_of({{"HF_HOME", home}, {"HF_TOKEN_PATH", file}}).token, "from-path");
  EXPECT_EQ(options_of({{"HF_HOME", home}, {"HF_TOKEN", "given"}}).token, "given");
  EXPECT_EQ(options_of({{"HF_HOME", home}, {"HF_TOKEN", "two\r\nlines"}}).token, "");
}

TEST(StoreOptions, Offline) {
  EXPECT_FALSE(options_of({}).offline);
  for (const char* yes : {"1", "ON", "yes", "True"}) {
    EXPECT_TRUE(options_of({{"HF_HUB_OFFLINE", yes}}).offline);
  }
  for (const char* no : {"", "0", "no", "false"}) {
    EXPECT_FALSE(options_of({{"HF_HUB_OFFLINE", no}}).offline);
  }
}

}  // namespace
}  // namespace asynclm
