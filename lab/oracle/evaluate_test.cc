// SPDX-License-Identifier: Apache-2.0
#include "oracle/evaluate.h"

#include <algorithm>
#include <cstdint>
#include <format>
#include <ranges>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "fixtures/fake_engine.h"
#include "oracle/synthetic.h"
#include "oracle/test_oracle.h"

namespace asynclm {
namespace {

constexpr std::string_view kEnd = "<|end_of_text|>";

class Evaluate : public ::testing::TestWithParam<Mode> {
 protected:
  // The first of a seed's tasks; what is written by mistake is no right call.
  [[nodiscard]] static TaskSequence make(int level, std::uint64_t seed, bool whole = false) {
    Random random(seed);
    TaskSequence sequence = make_tasks(test_words(Split::train), level, random);
    if (!whole) sequence.tasks.resize(1);
    for (Task& task : sequence.tasks) {
      for (TaskCall& call : task.calls) call.mistake.clear();
    }
    return sequence;
  }
  [[nodiscard]] static std::string solve(const TaskSequence& sequence) {
    const OracleRun run = run_oracle(GetParam(), sequence.tools, sequence.tasks, kEvaluationCosts,
                                     Policy::as_written);
    EXPECT_FALSE(run.error) << run.error->message;
    return run.written;
  }
  // Of a model that writes `text` and then ends its turn.
  [[nodiscard]] static EvaluatedRun score(const TaskSequence& sequence, std::string_view text) {
    return std::move(scores(sequence, text).front());
  }
  // Of each task.
  [[nodiscard]] static std::vector<EvaluatedRun> scores(const TaskSequence& sequence,
                                                        std::string_view text) {
    const Vocabulary& vocabulary = quick_vocabulary();
    const FakeScript script =
        play(encode_with_controls(vocabulary, text), vocabulary.control(kEnd));
    constexpr std::int32_t kNoLimit = 1 << 20;
    FakeEngine engine(vocabulary, {.context_tokens = kNoLimit,
                                   .max_sequences = 1,
                                   .scripts = [&](SequenceId) { return script; }});
    EvaluationOptions options{.turns = 100};
    options.config.mode = GetParam();
    options.config.max_generated = kNoLimit;
    auto runs = evaluate(engine, sequence, options);
    EXPECT_TRUE(runs) << runs.error().message;
    return std::move(*runs);
  }
};

TEST_P(Evaluate, TheOracleIsRight) {
  int interrupted = 0;
  for (int level = 1; level <= kLevels; ++level) {
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
      const TaskSequence sequence = make(level, seed);
      interrupted += sequence.tasks.front().interruptions.empty() ? 0 : 1;
      const EvaluatedRun run = score(sequence, solve(sequence));
      ASSERT_EQ(run.score.runs_right, 1) << "level " << level << " seed " << seed << '\n'
                                         << run.transcript;
      EXPECT_EQ(run.score.early, 0);
      EXPECT_EQ(run.score.invented, 0) << run.transcript;
      EXPECT_EQ(run.score.calls_extra, 0);
      EXPECT_EQ(run.score.repeated, 0) << "a retry that the user wants is none";
      EXPECT_EQ(run.score.traps_right, run.score.traps);
    }
  }
  EXPECT_GT(interrupted, 10);
}

// Whole conversations, and ones in which the model writes nothing in the second turn.
TEST_P(Evaluate, EachTaskOfAConversationIsScoredByItself) {
  std::size_t tasks = 0;
  for (int level = 1; level <= kLevels; ++level) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      TaskSequence sequence = make(level, seed, /*whole=*/true);
      const std::string written = solve(sequence);
      const std::vector<EvaluatedRun> runs = scores(sequence, written);
      ASSERT_EQ(runs.size(), sequence.tasks.size());
      for (const EvaluatedRun& run : runs) {
        EXPECT_EQ(run.score.runs_right, 1) << "level " << level << " seed " << seed << '\n'
                                           << run.transcript;
        EXPECT_EQ(run.score.forged, 0);
      }
      tasks += runs.size();
      if (runs.size() < 2) continue;
      const auto end = written.find(kEnd) + kEnd.size();
      const auto half = scores(sequence, written.substr(0, end));
      ASSERT_EQ(half.size(), runs.size());
      EXPECT_EQ(half[0].score.runs_right, 1);
      EXPECT_EQ(half[1].score.calls_right, 0);
      // Of a model that stops at once the user asks no more, and withdraws nothing.
      if (sequence.tasks[1].interruptions.empty()) {
        EXPECT_EQ(half[1].score.calls, runs[1].score.calls);
      }
    }
  }
  EXPECT_GT(tasks, 200U);
}

// What a turn leaves open is not the next one's: a line without an end, calls that run, their ids.
TEST_P(Evaluate, ATurnDoesNotReachIntoTheNext) {
  int conversations = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    TaskSequence sequence = make(1, seed, /*whole=*/true);
    if (sequence.tasks.size() < 2) continue;
    ++conversations;
    const std::string written = solve(sequence);
    const std::string rest = written.substr(written.find(kEnd));
    const auto runs = scores(sequence, "- " + rest);
    ASSERT_EQ(runs.size(), sequence.tasks.size());
    EXPECT_EQ(runs[0].score.runs_right, 0);
    EXPECT_EQ(runs[0].score.invented, 0);
    EXPECT_EQ(runs[1].score.invented, 0) << runs[1].transcript;
    const auto call = written.substr(0, written.find("[END]") + 5);
    const auto twice = scores(sequence, call + call + std::string(kEnd) + rest);
    EXPECT_EQ(twice[0].score.repeated, 1) << twice[0].transcript;
    for (std::size_t turn = 1; turn < twice.size(); ++turn) {
      EXPECT_EQ(twice[turn].score.repeated, 0) << twice[turn].transcript;
      EXPECT_EQ(twice[turn].score.forged, 0) << twice[turn].transcript;
    }
  }
  EXPECT_GT(conversations, 10);
}

TEST_P(Evaluate, ACallMadeOnceMoreIsRepeated) {
  const TaskSequence sequence = make(1, 1);
  const std::string written = solve(sequence);
  const std::string call = written.substr(0, written.find("[END]") + 5);
  const Score right = score(sequence, written).score;
  const EvaluatedRun run = score(sequence, call + written);
  EXPECT_EQ(run.score.repeated, right.repeated + 1) << run.transcript;
  EXPECT_EQ(run.score.calls_extra, right.calls_extra + 1);
}

TEST_P(Evaluate, AStopWithOpenCallsIsNoRightTrap) {
  const TaskSequence sequence = make(1, 1);
  const std::string written = solve(sequence);
  const Score right = score(sequence, written).score;
  EXPECT_EQ(right.traps, GetParam() == Mode::sync ? 0 : 1);
  EXPECT_EQ(right.traps_right, right.traps);
  const auto trap = written.find("[TRAP]");
  if (GetParam() == Mode::sync) return;
  const EvaluatedRun run = score(
      sequence, written.substr(0, trap) + std::string(kEnd) + written.substr(written.find("- ")));
  EXPECT_EQ(run.score.traps, 1) << run.transcript;
  EXPECT_EQ(run.score.traps_right, 0);
  EXPECT_EQ(run.score.runs_right, 1) << "its results were delivered all the same";
}

TEST_P(Evaluate, AModelThatDoesNotListenIsWrong) {
  int runs = 0;
  for (std::uint64_t seed = 0; seed < 120; ++seed) {
    TaskSequence sequence = make(5, seed);
    Task& task = sequence.tasks.front();
    if (std::ranges::none_of(task.calls,
                             [](const TaskCall& call) { return call.asked_by.has_value(); }))
      continue;
    TaskSequence unheard = sequence;
    unheard.tasks.front().interruptions.clear();
    // While the first call is written.
    for (Interruption& one : task.interruptions) one.at = Time{};
    ++runs;
    EXPECT_EQ(score(sequence, solve(unheard)).score.runs_right, 0) << seed;
  }
  EXPECT_GT(runs, 30);
}

TEST_P(Evaluate, ACallMadeAfterItsWithdrawalIsOneTooMany) {
  int runs = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    TaskSequence sequence = make(5, seed);
    Task& task = sequence.tasks.front();
    // The first call is begun before the user is heard.
    if (std::ranges::none_of(task.calls | std::views::drop(1), [](const TaskCall& call) {
          return call.withdrawn_by.has_value() && !call.retry_of;
        }))
      continue;
    TaskSequence unheard = sequence;
    unheard.tasks.front().interruptions.clear();
    for (Interruption& one : task.interruptions) one.at = Time{};
    ++runs;
    const EvaluatedRun run = score(sequence, solve(unheard));
    EXPECT_EQ(run.score.runs_right, 0) << run.transcript;
    EXPECT_GE(run.score.calls_extra, 1) << run.transcript;
    EXPECT_EQ(run.score.invented, 0) << run.transcript;
  }
  EXPECT_GT(runs, 10);
}

TEST_P(Evaluate, AResultThatIsNotThereIsInvented) {
  int chains = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const TaskSequence sequence = make(4, seed);
    const Task& task = sequence.tasks.front();
    const auto chained = std::ranges::find_if(task.calls, [](const TaskCall& call) {
      return std::ranges::any_of(call.arguments, [](const auto& a) { return a.from.has_value(); });
    });
    if (chained == task.calls.end() || !task.reports) continue;
    if (std::ranges::count(task.calls, chained->tool, &TaskCall::tool) > 1) continue;
    ++chains;
    // At once, with other values than the ones asked for and than those that would come.
    std::string arguments;
    for (const TaskArgument& argument : chained->arguments) {
      const ToolSpec& tool = *std::ranges::find(sequence.tools, chained->tool, &ToolSpec::name);
      const bool is_text = tool.parameters["properties"][argument.name]["type"] == "string";
      arguments += std::format("{}{}={}", arguments.empty() ? "" : ",", argument.name,
                               is_text ? "\"nowhere to be found\"" : "123454321");
    }
    const std::string call = std::format("[CALL]a[HEAD]{}({})[END]", chained->tool, arguments);
    EXPECT_EQ(score(sequence, call).score.invented, 1) << call;
    // Reports on a call that has not returned, and on one that was never made.
    const EvaluatedRun run = score(sequence, call + "- b failed: x\n- c: d: e\n");
    EXPECT_EQ(run.score.invented, 3) << run.transcript;
    EXPECT_EQ(run.score.runs_right, 0);
  }
  EXPECT_GT(chains, 20);
}

TEST_P(Evaluate, AResultToldBeforeAllAreThereIsUntimely) {
  int tasks = 0, untimely = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    TaskSequence sequence = make(7, seed);
    if (!sequence.tasks.front().together) continue;
    ++tasks;
    TaskSequence hasty = sequence;
    hasty.tasks.front().together = false;
    const EvaluatedRun run = score(sequence, solve(hasty));
    if (run.score.untimely == 0) continue;
    ++untimely;
    EXPECT_EQ(run.score.runs_right, 0);
    EXPECT_EQ(run.score.answers_right, 0);
    EXPECT_EQ(run.score.calls_right, run.score.calls) << run.transcript;
  }
  EXPECT_GT(tasks, 20);
  if (GetParam() == Mode::sync) {
    EXPECT_EQ(untimely, 0) << "the oracle makes all calls before it reports";
  } else {
    EXPECT_GT(untimely, tasks / 3);
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, Evaluate,
                         ::testing::Values(Mode::sync, Mode::sync_parallel, Mode::async,
                                           Mode::async_plus),
                         [](const auto& mode) {
                           std::string name(to_string(mode.param));
                           std::ranges::replace(name, '-', '_');
                           std::ranges::replace(name, '+', '_');
                           return name;
                         });

}  // namespace
}  // namespace asynclm
