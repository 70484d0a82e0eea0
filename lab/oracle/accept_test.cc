// SPDX-License-Identifier: Apache-2.0
#include "oracle/accept.h"

#include <gtest/gtest.h>

namespace asynclm {
namespace {

bool fits(const char* accept, const char* arguments) {
  return accepts(Json::parse(accept), Json::parse(arguments));
}

TEST(Accept, TextsAndNumbers) {
  constexpr const char* kAccept = R"({"city": ["New York, NY", "NYC"], "days": [3]})";
  EXPECT_TRUE(fits(kAccept, R"({"city": "new york NY", "days": 3})"));
  EXPECT_TRUE(fits(kAccept, R"({"days": 3.0, "city": "n.y.c."})"));
  EXPECT_FALSE(fits(kAccept, R"({"city": "York", "days": 3})"));
  EXPECT_FALSE(fits(kAccept, R"({"city": "NYC", "days": "3"})")) << "a type counts";
  EXPECT_FALSE(fits(kAccept, R"({"city": "NYC"})")) << "nothing may be left out";
  EXPECT_FALSE(fits(kAccept, R"({"city": "NYC", "days": 3, "unit": "C"})")) << "not known";
}

TEST(Accept, WhatMayBeLeftOut) {
  constexpr const char* kAccept = R"({"x": [1], "unit": ["", "units"]})";
  EXPECT_TRUE(fits(kAccept, R"({"x": 1})"));
  EXPECT_TRUE(fits(kAccept, R"({"x": 1, "unit": "Units"})"));
  EXPECT_FALSE(fits(kAccept, R"({"x": 1, "unit": "metres"})"));
  EXPECT_FALSE(fits(kAccept, R"({"unit": "units"})"));
}

TEST(Accept, ListsAndObjects) {
  constexpr const char* kLists = R"({"of": [["price", "volume"], ["volume", "price"]]})";
  EXPECT_TRUE(fits(kLists, R"({"of": ["Volume", "price"]})"));
  EXPECT_FALSE(fits(kLists, R"({"of": ["price"]})"));
  EXPECT_FALSE(fits(kLists, R"({"of": "price"})"));
  constexpr const char* kObjects = R"({"who": [{"adults": [2], "singles": [0, ""]}]})";
  EXPECT_TRUE(fits(kObjects, R"({"who": {"adults": 2}})"));
  EXPECT_TRUE(fits(kObjects, R"({"who": {"singles": 0, "adults": 2}})"));
  EXPECT_FALSE(fits(kObjects, R"({"who": {"adults": 3}})"));
  EXPECT_FALSE(fits(kObjects, R"({"who": {"adults": 2, "singles": 1}})"));
  EXPECT_FALSE(fits(kObjects, R"({"who": {"singles": 0}})"));
  EXPECT_TRUE(fits(R"({"a": [[{"b": [1, 2]}]]})", R"({"a": [{"b": 2}]})"));
}

}  // namespace
}  // namespace asynclm
