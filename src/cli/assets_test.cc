// SPDX-License-Identifier: Apache-2.0
#include "cli/assets.h"

#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace asynclm {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(AssetPlaces, CheckoutPrefixAndCurrentFolder) {
  const auto in_build = asset_places("/home/u/asynclm/build/dev/asynclm", "/tmp", "models/m", "m");
  EXPECT_THAT(in_build, Contains("/home/u/asynclm/models/m"));
  EXPECT_EQ(in_build.back(), "/tmp/models/m");
  const auto installed = asset_places("/usr/local/bin/asynclm", "/tmp", "models/m", "m");
  EXPECT_THAT(installed, Contains("/usr/local/share/asynclm/m"));
  EXPECT_THAT(asset_places("", "/tmp", "models/m", "m"), Contains("/tmp/models/m"));
}

TEST(FindModel, WhatWasNamedMustBeThere) {
  const auto model = find_model("/nonexistent.gguf");
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::not_found);
  EXPECT_THAT(model.error().message, HasSubstr("/nonexistent.gguf"));
  setenv("ASYNCLM_MODEL", "/also/nonexistent.gguf", 1);
  const auto by_variable = find_model(std::nullopt);
  unsetenv("ASYNCLM_MODEL");
  ASSERT_FALSE(by_variable);
  EXPECT_THAT(by_variable.error().message, HasSubstr("ASYNCLM_MODEL"));
}

}  // namespace
}  // namespace asynclm
