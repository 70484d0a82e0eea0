// SPDX-License-Identifier: Apache-2.0
#include "oracle/synthetic.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "cml/test_vocabulary.h"
#include "oracle/test_oracle.h"

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

TEST(Synthetic, NoFunctionIsInTwoSplits) {
  std::map<std::string, Split> seen;
  for (const auto& [name, split] : kSplits) {
    const WordList list = test_words(split);
    for (int level = 1; level <= kLevels; ++level) {
      Random random(static_cast<std::uint64_t>(level));
      for (int i = 0; i < 400; ++i) {
        for (const ToolSpec& tool : make_tasks(list, level, random).tools) {
          EXPECT_EQ(seen.try_emplace(tool.name, split).first->second, split) << tool.name;
        }
      }
    }
  }
  EXPECT_GT(seen.size(), 5000U);
}

// A token has to be in training to be known: then a word that it is cannot be held out.
TEST(Synthetic, WordsThatAreTokensAreNotHeldOut) {
  WordList test = test_words(Split::test), train = test_words(Split::train);
  Random random(1);
  TestVocabulary vocabulary;
  vocabulary.pieces = {test.pick(random), "xyz"};
  vocabulary.pieces.push_back(" " + test.pick(random));
  ASSERT_NE(" " + vocabulary.pieces[0], vocabulary.pieces[2]);
  const std::size_t before = test.size();
  ASSERT_TRUE(test.fit(vocabulary));
  ASSERT_TRUE(train.fit(vocabulary));
  EXPECT_EQ(test.size(), before - 2);
  std::set<std::string> held_out, learned;
  for (int i = 0; i < 20'000; ++i) {
    held_out.insert(test.pick(random));
    learned.insert(train.pick(random));
  }
  EXPECT_EQ(held_out.size(), test.size());
  for (const std::string& word : held_out) EXPECT_FALSE(learned.contains(word)) << word;
  EXPECT_TRUE(learned.contains(vocabulary.pieces[0]));
  EXPECT_TRUE(learned.contains("xyz"));

  vocabulary.pieces.assign(held_out.begin(), held_out.end());
  const auto none_left = test.fit(vocabulary);
  ASSERT_FALSE(none_left);
  EXPECT_TRUE(none_left.error().message.contains("only 0 words")) << none_left.error().message;
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
          const bool may_be_impossible = level == 5 || level == 7;
          EXPECT_TRUE(has_tool || (may_be_impossible && call.tool.empty() && !call.label.empty()));
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
        // At levels 5 and 7 one may be tried again, one be impossible, and two be asked for later.
        constexpr std::array kMost = {0U, 1U, 5U, 5U, 5U, 9U, 16U, 9U, 17U, 5U};
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

TEST(Synthetic, LongListsHaveManyCallsThatComeAfterOthersAndFewWords) {
  const WordList list = test_words(Split::train);
  const auto count = [&](int level) {
    Random random(1);
    std::size_t calls = 0, later = 0, tasks = 0, characters = 0;
    for (int i = 0; i < 200; ++i) {
      const TaskSequence sequence = make_tasks(list, level, random);
      for (const ToolSpec& tool : sequence.tools) characters += tool.description.size();
      for (const Task& task : sequence.tasks) {
        ++tasks;
        characters += task.user.size();
        calls += task.calls.size();
        for (const TaskCall& call : task.calls) later += call.after.empty() ? 0 : 1;
      }
    }
    const auto share = [](std::size_t a, std::size_t b) {
      return static_cast<double>(a) / static_cast<double>(b);
    };
    return std::array{share(calls, tasks), share(later, calls), share(characters, calls)};
  };
  const auto varied = count(kDictatedLevel), terse = count(kLongListsLevel);
  EXPECT_GT(terse[0], 1.5 * varied[0]) << "calls of a task";
  EXPECT_GT(terse[1], 0.4);
  EXPECT_GT(terse[1], varied[1]) << "calls after others";
  EXPECT_LT(terse[2], varied[2] / 2) << "characters of a call";
}

TEST(Synthetic, DataFlowTakesOneOfSeveralValues) {
  const WordList list = test_words(Split::train);
  Random random(1);
  int whole = 0, part = 0;
  std::set<std::size_t> sizes;
  for (int i = 0; i < 200; ++i) {
    for (const Task& task : make_tasks(list, kDataFlowLevel, random).tasks) {
      for (const TaskCall& call : task.calls) {
        for (const TaskArgument& argument : call.arguments) {
          if (!argument.from) continue;
          ++(argument.path.empty() ? whole : part);
          if (argument.path.empty()) continue;
          const Json result = Json::parse(task.calls[*argument.from].result.text);
          sizes.insert(result.size());
          EXPECT_EQ(result.at(argument.path.substr(1)), argument.value);
        }
      }
    }
  }
  EXPECT_GT(part, whole);
  EXPECT_EQ(sizes, (std::set<std::size_t>{2, 3, 4}));
}

TEST(Synthetic, LevelSevenHasOrderPartsAndWishesWhenToBeTold) {
  const WordList list = test_words(Split::train);
  Random random(1);
  int tasks = 0, ordered = 0, in_parts = 0, together = 0, first = 0;
  for (int i = 0; i < 500; ++i) {
    for (const Task& task : make_tasks(list, 7, random).tasks) {
      ++tasks;
      together += task.together ? 1 : 0;
      first += task.first.empty() ? 0 : 1;
      EXPECT_TRUE(!task.together || task.first.empty());
      for (const std::size_t one : task.first) EXPECT_LT(one, task.calls.size());
      for (const TaskCall& call : task.calls) {
        ordered += call.after.empty() ? 0 : 1;
        in_parts += call.parts.empty() ? 0 : 1;
        for (const ResultPart& part : call.parts) EXPECT_LT(part.at, call.duration);
      }
    }
  }
  for (const int count : {ordered, in_parts, together, first}) EXPECT_GT(count, tasks / 20);
}

}  // namespace
}  // namespace asynclm
