// SPDX-License-Identifier: Apache-2.0
#include "oracle/evaluate.h"

#include <algorithm>
#include <format>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "cml/call_syntax.h"
#include "oracle/accept.h"
#include "oracle/oracle.h"
#include "oracle/simulator.h"

namespace asynclm {
namespace {

struct Expected {
  CallRecord call;                 // name, arguments and what it returns
  std::vector<std::size_t> needs;  // calls whose result it uses
  bool possible = true;            // false: a call that it needs fails, or no tool does it
  std::optional<CallKey> made;
  // While the user wants it: from the interruption that asks for it to the one that withdraws it.
  std::optional<Time> asked = Time{}, withdrawn;
};

std::vector<Expected> solution(const Task& task, const std::vector<ToolSpec>& tools) {
  std::vector<Expected> expected;
  for (const TaskCall& call : task.calls) {
    Expected e;
    e.call.name = call.tool;
    e.call.outcome = call.result.outcome;
    e.call.result = call.result.text;
    if (call.asked_by) e.asked = std::nullopt;
    if (call.tool.empty()) {
      e.possible = false;
      expected.push_back(std::move(e));
      continue;
    }
    const ToolSpec& tool = *std::ranges::find(tools, call.tool, &ToolSpec::name);
    for (const TaskArgument& argument : call.arguments) {
      e.call.arguments[argument.name] =
          argument.value.is_null()
              ? result_as_argument(expected[*argument.from].call.result, tool, argument.name)
              : argument.value;
    }
    e.needs = needs_of(call);
    e.possible = std::ranges::all_of(e.needs, [&](std::size_t need) {
      return expected[need].possible && expected[need].call.outcome == Outcome::returned;
    });
    if (call.retry_of) {
      e.possible = expected[*call.retry_of].call.outcome != Outcome::returned;
      e.needs = {*call.retry_of};
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
  if (!task.reports) return result;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const TaskCall& call = task.calls[i];
    const Expected& e = expected[i];
    if (!e.asked || e.withdrawn || (call.retry_of && !e.possible)) continue;
    if (e.call.outcome != Outcome::returned && is_tried_again(task, i)) continue;
    result.insert(call.tool.empty() ? not_possible_line(call)
                  : e.possible      ? report_line(e.call)
                                    : not_run_line(call));
  }
  return result;
}

// The lines of what was written that the answer must have; what was withdrawn may have been
// reported before.
std::multiset<std::string> written_answer(std::string_view answer,
                                          const std::vector<Expected>& expected) {
  std::multiset<std::string> result = lines(answer);
  for (const Expected& e : expected) {
    if (!e.withdrawn || !e.made) continue;
    if (const auto line = result.find(report_line(e.call)); line != result.end())
      result.erase(line);
  }
  return result;
}

bool fits(const TaskCall& right, const Expected& expected, const CallRecord& call) {
  return expected.call.name == call.name &&
         accepts(right.accept, expected.call.arguments, call.arguments);
}

bool is_matched(const std::vector<Expected>& expected, CallKey key) {
  return std::ranges::contains(expected, std::optional(key), &Expected::made);
}

bool is_wanted(const Expected& e, Time now) {
  // A block that closes at the moment of the interruption was begun before it.
  return e.asked && *e.asked <= now && !(e.withdrawn && *e.withdrawn < now);
}

bool is_delivered(const Session& session, const Expected& e, Time now) {
  if (!e.made) return false;
  const auto delivered = session.calls()[*e.made].delivered;
  return delivered && *delivered <= now;
}

// In async+: the call was written, but waits for others, or was never run because of them. Its
// arguments are not known.
bool is_held(const Expected& expected, const CallRecord& call) {
  return !call.needs.empty() && !call.dispatched && call.name == expected.call.name;
}

// Whether the model could write the call, made or not, at the time: results that it takes are
// there, or in async+ have a name.
bool is_ready(const Session& session, const std::vector<Expected>& expected, const Expected& e,
              Time now) {
  return e.possible && is_wanted(e, now) && std::ranges::all_of(e.needs, [&](std::size_t need) {
           return is_delivered(session, expected[need], now) ||
                  (session.mode() == Mode::async_plus && expected[need].made);
         });
}

// Whether the call was made without what it takes or comes after: neither delivered before nor left
// to the session.
bool is_early(const Session& session, const std::vector<Expected>& expected, const Expected& e) {
  const CallRecord& call = session.calls()[*e.made];
  return std::ranges::any_of(e.needs, [&](std::size_t need) {
    const Expected& other = expected[need];
    return !is_delivered(session, other, *call.emitted) &&
           !(other.made && std::ranges::contains(call.needs, *other.made));
  });
}

// Of a call that is none of those expected: whether an argument stands for a result that was not
// there. Where the tool could have been called for something else, it is only a wrong argument.
bool has_invented_argument(const Session& session, const Task& task,
                           const std::vector<Expected>& expected, CallKey key) {
  const CallRecord& call = session.calls()[key];
  if (!call.needs.empty()) return false;  // its arguments are left to the session
  // A wrong call of the tool has told the model something too.
  const auto is_there = [&](const TaskArgument& argument) {
    return !argument.from || std::ranges::any_of(session.calls(), [&](const CallRecord& other) {
      return other.name == expected[*argument.from].call.name && other.delivered &&
             *other.delivered <= *call.emitted;
    });
  };
  bool is_invented = false;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const Expected& e = expected[i];
    const bool was_made = e.made && *e.made < key;
    if (e.call.name != call.name || was_made || !is_wanted(e, *call.emitted)) continue;
    if (std::ranges::all_of(task.calls[i].arguments, is_there)) return false;
    is_invented = true;
  }
  return is_invented;
}

// Counts the lines of an answer that give a result of which the model has not been told.
class ReportedResults {
 public:
  void told(const std::string& id) { told_.insert(id); }
  void wrote(std::string_view text) {
    for (const char c : text) {
      if (c == '\n') {
        line_.clear();
        continue;
      }
      line_ += c;
      const auto id = reported_id(line_);
      if (id && !told_.contains(*id)) ++invented_;
    }
  }
  [[nodiscard]] std::int64_t invented() const { return invented_; }

 private:
  std::set<std::string, std::less<>> told_;
  std::string line_;
  std::int64_t invented_ = 0;
};

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
    if (!open || !is_ready(session, expected, e, now)) continue;
    ++callable;
    if (estimate(e) > estimate(chosen)) best = false;
  }
  if (callable < 2) return;
  ++score.choices;
  score.choices_right += best ? 1 : 0;
}

void score_trap(const Session& session, const Task& task, const std::vector<Expected>& expected,
                Time now, const Trapped& trapped, Score& score) {
  // In sync-parallel what is written was not dispatched, and so not matched, before the trap.
  const auto is_written = [&](std::size_t i) {
    return std::ranges::any_of(session.calls(), [&](const CallRecord& call) {
      return fits(task.calls[i], expected[i], call) || is_held(expected[i], call);
    });
  };
  ++score.traps;
  bool is_wrong = trapped.by_stop;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    is_wrong = is_wrong || (!is_written(i) && is_ready(session, expected, expected[i], now));
  }
  score.traps_right += is_wrong ? 0 : 1;
}

// Calls of async+ that are neither wanted nor wrong: cancellations of what the user has withdrawn,
// and calls that were left to the session, which could not run them.
std::int64_t count_neutral(const Session& session, const std::vector<Expected>& expected) {
  if (session.mode() != Mode::async_plus) return 0;
  return std::ranges::count_if(session.calls(), [&](const CallRecord& call) {
    return std::ranges::any_of(expected, [&](const Expected& e) {
      if (!e.possible) return is_held(e, call);
      // It may have ended before the cancellation was written.
      return e.made && e.withdrawn &&
             call.code == std::format("{}({})", kCancelFunction, e.call.id);
    });
  });
}

// Calls that are none of those expected, but an earlier one once more.
std::int64_t count_repeated(const std::vector<CallRecord>& calls,
                            const std::vector<Expected>& expected) {
  std::int64_t count = 0;
  for (CallKey key = 0; key < calls.size(); ++key) {
    if (is_matched(expected, key)) continue;
    const auto is_same = [&](const CallRecord& call) {
      // Cancellations and malformed blocks have their code alone.
      const bool has_arguments = !calls[key].arguments.empty();
      return call.code == calls[key].code || (has_arguments && call.name == calls[key].name &&
                                              call.arguments == calls[key].arguments);
    };
    count += std::ranges::any_of(std::span(calls).first(key), is_same) ? 1 : 0;
  }
  return count;
}

// Of a run that is not right, whose other counts are known.
Failure classify(const Session& session, const std::vector<Expected>& expected,
                 const Score& score) {
  if (score.stopped == 0) return Failure::unfinished;
  const bool is_short = score.calls_right + score.calls_extra < score.calls;
  if (is_short && score.calls_extra == 0) return Failure::missing;
  if (is_short) {
    const auto is_instead = [&](const CallRecord& call, const Expected& e) {
      return !e.made && e.possible && e.asked && !e.withdrawn && e.call.name == call.name;
    };
    for (CallKey key = 0; key < session.calls().size(); ++key) {
      if (is_matched(expected, key)) continue;
      for (const Expected& e : expected) {
        if (is_instead(session.calls()[key], e)) return Failure::argument;
      }
    }
    return Failure::tool;
  }
  if (score.calls_extra > 0) return Failure::extra;
  return score.early > 0 ? Failure::early : Failure::answer;
}

}  // namespace

Score& Score::operator+=(const Score& other) {
  runs += other.runs;
  runs_right += other.runs_right;
  calls += other.calls;
  calls_right += other.calls_right;
  calls_extra += other.calls_extra;
  refused += other.refused;
  not_run += other.not_run;
  repeated += other.repeated;
  early += other.early;
  invented += other.invented;
  traps += other.traps;
  traps_right += other.traps_right;
  forged += other.forged;
  answers_right += other.answers_right;
  stopped += other.stopped;
  choices += other.choices;
  choices_right += other.choices_right;
  for (std::size_t i = 0; i < failures.size(); ++i) failures[i] += other.failures[i];
  return *this;
}

Result<EvaluatedRun> evaluate(Engine& engine, TaskSequence sequence, const std::string& name,
                              const std::string& stand_in, SessionConfig config,
                              const SamplingParams& sampling) {
  Task& task = sequence.tasks.front();
  for (TaskCall& call : task.calls) {
    if (call.result.text.empty()) call.result.text = stand_in;
  }
  std::vector<Expected> expected = solution(task, sequence.tools);

  config.context_tokens = engine.info().context_tokens;
  auto session =
      Session::create(engine.vocabulary(), sequence.tools, {{"user", task.user}}, config);
  if (!session) return std::unexpected(session.error());
  const auto id = engine.create(sampling);
  if (!id) return std::unexpected(id.error());

  const auto tool = [&](CallKey key, const CallRecord& call) -> SimulatedReturn {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      Expected& e = expected[i];
      if (!e.possible || e.made || !fits(task.calls[i], e, call)) continue;
      e.made = key;
      e.call.id = call.id;
      return return_of(task.calls[i]);
    }
    return {from_ms(100), {Outcome::failed, "nothing is known of these arguments"}};
  };
  EvaluatedRun run;
  Score& score = run.score;
  std::int64_t delivered = 0;
  std::size_t heard = 0;
  const auto hear = [&](Time now) {
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (task.calls[i].asked_by == heard) expected[i].asked = now;
      if (task.calls[i].withdrawn_by == heard) expected[i].withdrawn = now;
    }
    ++heard;
  };
  ReportedResults reported;
  const auto observer = [&](const Event& event) {
    if (const auto* text = std::get_if<TextEvent>(&event.what)) reported.wrote(text->text);
    if (const auto* interrupt = std::get_if<InterruptDelivered>(&event.what)) {
      ++delivered;
      if (interrupt->call) reported.told(interrupt->id);
      if (interrupt->id == kUserSource) hear(event.time);
    }
    const auto* trapped = std::get_if<Trapped>(&event.what);
    if (trapped != nullptr && config.mode != Mode::sync) {
      score_trap(*session, task, expected, event.time, *trapped, score);
    }
  };
  const auto report = simulate(*session, engine, *id, Time{}, {.costs = kEvaluationCosts}, tool,
                               observer, said_by_user(task));
  engine.drop(*id);
  if (!report) return std::unexpected(report.error());

  score.runs = 1;
  std::int64_t wanted = 0;
  for (const Expected& e : expected) {
    // What was withdrawn before it was made is not wanted any more: made then, it is one too many.
    const bool is_right = e.made && is_wanted(e, *session->calls()[*e.made].emitted);
    wanted += e.possible && e.asked && (is_right || !e.withdrawn) ? 1 : 0;
    if (!is_right) continue;
    ++score.calls_right;
    if (is_early(*session, expected, e)) ++score.early;
    score_choice(*session, expected, sequence.tools, e, score);
  }
  score.calls_extra = static_cast<std::int64_t>(session->calls().size()) - score.calls_right -
                      count_neutral(*session, expected);
  score.calls = wanted + score.calls_extra;
  for (const CallRecord& call : session->calls()) {
    if (call.rejected) ++(call.needs.empty() ? score.refused : score.not_run);
  }
  if (task.reports) score.invented = reported.invented();
  for (CallKey key = 0; key < session->calls().size(); ++key) {
    if (is_matched(expected, key)) continue;
    score.invented += has_invented_argument(*session, task, expected, key) ? 1 : 0;
  }
  const Token interrupt = engine.vocabulary().control("[INTR]");
  score.repeated = count_repeated(session->calls(), expected);
  score.forged = std::ranges::count(session->context(), interrupt) - delivered;
  score.stopped = std::get<Done>(session->step()).reason == FinishReason::stop ? 1 : 0;
  const auto answer = expected_answer(task, expected);
  score.answers_right = written_answer(session->answer(), expected) == answer ? 1 : 0;
  const bool right = score.calls_right == score.calls && score.answers_right == 1 &&
                     score.stopped == 1 && score.early == 0 && score.invented == 0;
  score.runs_right = right ? 1 : 0;
  std::string verdict = "right";
  if (!right) {
    const auto failure = static_cast<std::size_t>(classify(*session, expected, score));
    ++score.failures[failure];
    verdict = std::format("WRONG: {}", kFailures[failure]);
  }

  run.transcript = std::format("task {} mode {} {}\n", name, to_string(config.mode), verdict);
  for (const Token token : session->context()) {
    run.transcript += engine.vocabulary().spelling(token);
  }
  run.transcript += "\nexpected answer:\n";
  for (const std::string& line : answer) run.transcript += line;
  return run;
}

}  // namespace asynclm
