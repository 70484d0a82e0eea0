// SPDX-License-Identifier: Apache-2.0
#include "oracle/evaluate.h"

#include <algorithm>
#include <format>
#include <optional>
#include <set>
#include <vector>

#include "oracle/oracle.h"
#include "oracle/simulator.h"

namespace asynclm {
namespace {

// One token takes 10 ms: between the tools' times, so that interrupts land in mid-generation.
constexpr SimulationCosts kCosts{.per_token = from_ms(10), .per_appended_token = from_ms(0.2)};

struct Expected {
  CallRecord call;                 // name, arguments and what it returns
  std::vector<std::size_t> needs;  // calls whose result it uses
  bool possible = true;            // false: a call that it needs fails
  std::optional<CallKey> made;
};

std::vector<Expected> solution(const Task& task, const std::vector<ToolSpec>& tools) {
  std::vector<Expected> expected;
  for (const TaskCall& call : task.calls) {
    Expected e;
    e.call.name = call.tool;
    e.call.outcome = call.result.outcome;
    e.call.result = call.result.text;
    const ToolSpec& tool = *std::ranges::find(tools, call.tool, &ToolSpec::name);
    for (const TaskArgument& argument : call.arguments) {
      if (argument.from) {
        const Expected& source = expected[*argument.from];
        e.needs.push_back(*argument.from);
        e.possible = e.possible && source.possible && source.call.outcome == Outcome::returned;
        e.call.arguments[argument.name] =
            result_as_argument(source.call.result, tool, argument.name);
      } else {
        e.call.arguments[argument.name] = argument.value;
      }
    }
    expected.push_back(std::move(e));
  }
  return expected;
}

std::multiset<std::string> lines(std::string_view text) {
  std::multiset<std::string> result;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size() - 1);
    result.emplace(text.substr(0, end + 1));
    text.remove_prefix(end + 1);
  }
  return result;
}

std::multiset<std::string> expected_answer(const Task& task,
                                           const std::vector<Expected>& expected) {
  std::multiset<std::string> result;
  if (!task.say.empty()) result.insert(task.say + "\n");
  for (std::size_t i = 0; i < expected.size(); ++i) {
    result.insert(expected[i].possible ? report_line(expected[i].call)
                                       : not_run_line(task.calls[i]));
  }
  return result;
}

// Of the calls that could be made when this one was made, was it one with the longest estimate?
void score_choice(const Session& session, const std::vector<Expected>& expected,
                  const std::vector<ToolSpec>& tools, const Expected& chosen, Score& score) {
  const Time now = *session.calls()[*chosen.made].emitted;
  const auto estimate = [&](const Expected& e) {
    return std::ranges::find(tools, e.call.name, &ToolSpec::name)->estimate;
  };
  int callable = 0;
  bool best = true;
  for (const Expected& e : expected) {
    const bool open = !e.made || *e.made >= *chosen.made;
    const bool ready = e.possible && std::ranges::all_of(e.needs, [&](std::size_t need) {
                         const auto made = expected[need].made;
                         return made && session.calls()[*made].delivered &&
                                *session.calls()[*made].delivered <= now;
                       });
    if (!open || !ready) continue;
    ++callable;
    if (estimate(e) > estimate(chosen)) best = false;
  }
  if (callable < 2) return;
  ++score.choices;
  score.choices_right += best ? 1 : 0;
}

bool used_before_delivery(const Session& session, const std::vector<Expected>& expected) {
  for (const Expected& e : expected) {
    if (!e.made) continue;
    const Time emitted = *session.calls()[*e.made].emitted;
    for (const std::size_t need : e.needs) {
      const auto made = expected[need].made;
      if (!made || !session.calls()[*made].delivered ||
          *session.calls()[*made].delivered > emitted) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace

Score& Score::operator+=(const Score& other) {
  runs += other.runs;
  runs_right += other.runs_right;
  calls += other.calls;
  calls_right += other.calls_right;
  calls_extra += other.calls_extra;
  refused += other.refused;
  forged += other.forged;
  answers_right += other.answers_right;
  stopped += other.stopped;
  choices += other.choices;
  choices_right += other.choices_right;
  return *this;
}

Result<EvaluatedRun> evaluate(Engine& engine, const WordList& words, const EvaluatedTask& which,
                              SessionConfig config, SamplingParams sampling) {
  Random random(Random(which.seed + which.index * 0x9E3779B97F4A7C15ULL).next());
  const TaskSequence sequence = make_tasks(words, which.level, random);
  const Task& task = sequence.tasks.front();
  std::vector<Expected> expected = solution(task, sequence.tools);

  config.context_tokens = engine.info().context_tokens;
  auto session =
      Session::create(engine.vocabulary(), sequence.tools, {{"user", task.user}}, config);
  if (!session) return std::unexpected(session.error());
  sampling.seed += which.index;
  const auto id = engine.create(sampling);
  if (!id) return std::unexpected(id.error());

  const auto tool = [&](CallKey key, const CallRecord& call) -> SimulatedReturn {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      Expected& e = expected[i];
      if (!e.possible || e.made || e.call.name != call.name) continue;
      if (e.call.arguments != call.arguments) continue;
      e.made = key;
      e.call.id = call.id;
      return {task.calls[i].duration, task.calls[i].result};
    }
    return {from_ms(100), {Outcome::failed, "nothing is known of these arguments"}};
  };
  std::int64_t delivered = 0;
  const auto report =
      simulate(*session, engine, *id, Time{}, kCosts, tool, [&](const Event& event) {
        delivered += std::holds_alternative<InterruptDelivered>(event.what) ? 1 : 0;
      });
  engine.drop(*id);
  if (!report) return std::unexpected(report.error());

  EvaluatedRun run;
  Score& score = run.score;
  score.runs = 1;
  std::int64_t wanted = 0;
  for (const Expected& e : expected) {
    wanted += e.possible ? 1 : 0;
    if (!e.made) continue;
    ++score.calls_right;
    score_choice(*session, expected, sequence.tools, e, score);
  }
  score.calls_extra = static_cast<std::int64_t>(session->calls().size()) - score.calls_right;
  score.calls = wanted + score.calls_extra;
  score.refused = std::ranges::count_if(session->calls(), &CallRecord::rejected);
  const Token interrupt = engine.vocabulary().control("[INTR]");
  score.forged = std::ranges::count(session->context(), interrupt) - delivered;
  score.stopped = std::get<Done>(session->step()).reason == FinishReason::stop ? 1 : 0;
  const auto answer = expected_answer(task, expected);
  score.answers_right = lines(session->answer()) == answer ? 1 : 0;
  const bool right = score.calls_right == score.calls && score.answers_right == 1 &&
                     score.stopped == 1 && !used_before_delivery(*session, expected);
  score.runs_right = right ? 1 : 0;

  run.transcript = std::format("task {} mode {} {}\n", which.index, to_string(config.mode),
                               right ? "right" : "WRONG");
  for (const Token token : session->context()) {
    run.transcript += engine.vocabulary().spelling(token);
  }
  run.transcript += "\nexpected answer:\n";
  for (const std::string& line : answer) run.transcript += line;
  return run;
}

}  // namespace asynclm
