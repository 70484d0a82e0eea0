// SPDX-License-Identifier: Apache-2.0
#include "oracle/synthetic.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "base/temporary_folder.h"

namespace asynclm {
namespace {

class Synthetic : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream file(path_);
    for (char a = 'a'; a <= 'z'; ++a) {
      for (char b = 'a'; b <= 'z'; ++b) {
        for (const char* rest : {"lo", "rin", "spet"}) file << a << b << rest << '\n';
      }
    }
  }
  [[nodiscard]] WordList words(Split split) const {
    auto list = WordList::load(path_, split);
    EXPECT_TRUE(list) << list.error().message;
    return std::move(*list);
  }

 private:
  TemporaryFolder folder_;
  std::string path_ = folder_.file("words");
};

TEST_F(Synthetic, EachWordIsInOneSplit) {
  std::size_t sum = 0;
  std::set<std::string> seen;
  for (const auto& [name, split] : kSplits) {
    const WordList list = words(split);
    sum += list.size();
    std::set<std::string> picked;
    Random random(1);
    for (int i = 0; i < 50'000; ++i) picked.insert(list.pick(random));
    EXPECT_EQ(picked.size(), list.size());
    for (const std::string& word : picked) EXPECT_TRUE(seen.insert(word).second) << word;
  }
  EXPECT_EQ(sum, 26U * 26 * 3);
  EXPECT_GT(words(Split::train).size(), sum * 6 / 10);
}

TEST_F(Synthetic, CallsComeAfterThoseTheyTakeResultsOf) {
  const WordList list = words(Split::train);
  std::array<int, kLevels + 1> chained{};
  for (int level = 1; level <= kLevels; ++level) {
    Random random(static_cast<std::uint64_t>(level));
    for (int i = 0; i < 300; ++i) {
      const TaskSequence sequence = make_tasks(list, level, random);
      ASSERT_FALSE(sequence.tasks.empty());
      for (const Task& task : sequence.tasks) {
        for (std::size_t k = 0; k < task.calls.size(); ++k) {
          const TaskCall& call = task.calls[k];
          EXPECT_TRUE(std::ranges::contains(sequence.tools, call.tool, &ToolSpec::name));
          for (const TaskArgument& argument : call.arguments) {
            EXPECT_NE(argument.value.is_null(), !argument.from);
            if (!argument.from) continue;
            EXPECT_LT(*argument.from, k);
            ++chained[static_cast<std::size_t>(level)];
          }
        }
        EXPECT_TRUE(level == 1 || task.calls.size() <= 5);
        EXPECT_TRUE(level > 1 || task.calls.size() == 1);
      }
    }
  }
  EXPECT_EQ(chained[1] + chained[2], 0);
  EXPECT_GT(chained[3], 100);
  EXPECT_GT(chained[4], chained[3]);
}

}  // namespace
}  // namespace asynclm
