// SPDX-License-Identifier: Apache-2.0
#include "oracle/synthetic.h"

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "oracle/oracle_test_support.h"

namespace asynclm {
namespace {

TEST(Synthetic, EachWordIsInOneSplit) {
  std::size_t sum = 0;
  std::set<std::string> seen;
  for (const auto& [name, split] : kSplits) {
    const WordList list = test_words(split);
    sum += list.size();
    std::set<std::string> picked;
    Random random(1);
    for (int i = 0; i < 50'000; ++i) picked.insert(list.pick(random));
    EXPECT_EQ(picked.size(), list.size());
    for (const std::string& word : picked) EXPECT_TRUE(seen.insert(word).second) << word;
  }
  EXPECT_EQ(sum, 26U * 26 * 3);
  EXPECT_GT(test_words(Split::train).size(), sum * 6 / 10);
}

TEST(Synthetic, CallsComeAfterThoseTheyTakeResultsOf) {
  const WordList list = test_words(Split::train);
  std::array<int, kLevels + 1> chained{};
  int parts = 0;
  for (int level = 1; level <= kLevels; ++level) {
    Random random(static_cast<std::uint64_t>(level));
    for (int i = 0; i < 300; ++i) {
      const TaskSequence sequence = make_tasks(list, level, random);
      ASSERT_FALSE(sequence.tasks.empty());
      for (const Task& task : sequence.tasks) {
        for (std::size_t k = 0; k < task.calls.size(); ++k) {
          const TaskCall& call = task.calls[k];
          const bool has_tool = std::ranges::contains(sequence.tools, call.tool, &ToolSpec::name);
          EXPECT_TRUE(has_tool || (level == 5 && call.tool.empty() && !call.label.empty()));
          // Said in time, and once.
          for (const auto& by : {call.asked_by, call.withdrawn_by}) {
            EXPECT_TRUE(!by || *by < task.interruptions.size());
          }
          if (call.retry_of) {
            EXPECT_LT(*call.retry_of, k);
          }
          for (const std::size_t before : call.after) EXPECT_LT(before, k);
          for (const TaskArgument& argument : call.arguments) {
            // Of a part of a result the value is known too.
            EXPECT_EQ(argument.value.is_null(), argument.from && argument.path.empty());
            if (!argument.from) continue;
            EXPECT_LT(*argument.from, k);
            ++chained[static_cast<std::size_t>(level)];
            parts += argument.path.empty() ? 0 : 1;
          }
        }
        // At level 5 one may be tried again, one be impossible, and two be asked for later.
        constexpr std::array kMost = {0U, 1U, 5U, 5U, 5U, 9U, 16U};
        EXPECT_LE(task.calls.size(), kMost[static_cast<std::size_t>(level)]);
        EXPECT_TRUE(level >= 5 || task.interruptions.empty());
      }
    }
  }
  EXPECT_EQ(chained[1] + chained[2], 0);
  EXPECT_GT(chained[3], 100);
  EXPECT_GT(chained[4], chained[3]);
  EXPECT_GT(parts, 50);
}

}  // namespace
}  // namespace asynclm
