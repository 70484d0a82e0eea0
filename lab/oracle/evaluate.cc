// SPDX-License-Identifier: Apache-2.0
#include "oracle/evaluate.h"

#include <algorithm>
#include <format>
#include <optional>
#include <ranges>
#include <set>
#include <utility>

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
    e.call.id = "?";  // until it is made
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
      e.possible = e.possible && expected[*call.retry_of].call.outcome != Outcome::returned;
      e.needs.push_back(*call.retry_of);
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

bool fits(const TaskCall& right, const Expected& expected, const CallRecord& call) {
  return expected.call.name == call.name &&
         accepts(right.accept, expected.call.arguments, call.arguments);
}

bool is_wanted(const Expected& e, Time now) {
  // A block that closes at the moment of the interruption was begun before it.
  return e.asked && *e.asked <= now && !(e.withdrawn && *e.withdrawn < now);
}

// In async+: the call was written, but waits for others, or was never run because of them. Its
// arguments are not known.
bool is_held(const Expected& expected, const CallRecord& call) {
  return !call.needs.empty() && !call.dispatched && call.name == expected.call.name;
}

// Counts the lines of an answer that give a result of which the model has not been told, and those
// that give one although the user wants all together and they are not all there.
class ReportedResults {
 public:
  // Of what was told before is known on; counts and lines begin anew.
  void begin_turn() {
    line_.clear();
    invented_ = untimely_ = 0;
  }
  void told(const std::string& id) { told_.insert(id); }
  void wrote(std::string_view text, bool is_time) {
    for (const char c : text) {
      if (c == '\n') {
        line_.clear();
        continue;
      }
      if (line_.empty()) was_time_ = is_time;
      line_ += c;
      const auto id = reported_id(line_);
      if (!id) continue;
      if (!told_.contains(*id)) {
        ++invented_;
      } else if (!was_time_ && !is_time) {
        // A line that was begun in time may be ended.
        ++untimely_;
      }
    }
  }
  [[nodiscard]] std::int64_t invented() const { return invented_; }
  [[nodiscard]] std::int64_t untimely() const { return untimely_; }

 private:
  std::set<std::string, std::less<>> told_;
  std::string line_;
  bool was_time_ = true;  // when the line was begun
  std::int64_t invented_ = 0, untimely_ = 0;
};

// One task of a conversation: what is right, and what the model does.
class Attempt {
 public:
  // The task is the one that the user has just set. All must outlive the attempt.
  Attempt(const Session& session, const Task& task, const std::vector<ToolSpec>& tools)
      : session_(&session),
        task_(&task),
        tools_(&tools),
        expected_(solution(task, tools)),
        first_key_(static_cast<CallKey>(session.calls().size())) {}

  // --- while the model is at work ---

  [[nodiscard]] SimulatedReturn call(CallKey key, const CallRecord& call);
  void hear(Time now);
  void trapped(const Trapped& trap, Time now);
  // Whether the model may tell what is there: all of it, where the user wants all together.
  [[nodiscard]] bool is_time_to_report(Time now) const;

  // --- when it has ended ---

  // `reported`: of this turn.
  [[nodiscard]] Score score(const ReportedResults& reported) const;
  [[nodiscard]] std::multiset<std::string> expected_answer() const;
  // One a line; in brackets what became of it.
  [[nodiscard]] std::string expected_calls() const;

 private:
  // The keys of the task's calls.
  [[nodiscard]] auto keys() const {
    return std::views::iota(first_key_, static_cast<CallKey>(session_->calls().size()));
  }
  [[nodiscard]] const CallRecord& record(CallKey key) const { return session_->calls()[key]; }
  [[nodiscard]] bool is_matched(CallKey key) const {
    return std::ranges::contains(expected_, std::optional(key), &Expected::made);
  }
  [[nodiscard]] bool is_delivered(const Expected& e, Time now) const {
    return e.made && record(*e.made).delivered && *record(*e.made).delivered <= now;
  }
  [[nodiscard]] bool is_ready(const Expected& e, Time now) const;
  [[nodiscard]] bool is_early(const Expected& e) const;
  [[nodiscard]] bool has_invented_argument(CallKey key) const;
  void score_choice(const Expected& chosen, Score& score) const;
  [[nodiscard]] std::int64_t count_neutral() const;
  [[nodiscard]] std::int64_t count_repeated() const;
  [[nodiscard]] std::multiset<std::string> written_answer() const;
  [[nodiscard]] Failure classify(const Score& score) const;

  const Session* session_;
  const Task* task_;
  const std::vector<ToolSpec>* tools_;
  std::vector<Expected> expected_;
  CallKey first_key_;
  std::size_t heard_ = 0;
  std::int64_t traps_ = 0, traps_right_ = 0;
};

SimulatedReturn Attempt::call(CallKey key, const CallRecord& call) {
  for (std::size_t i = 0; i < expected_.size(); ++i) {
    Expected& e = expected_[i];
    if (!e.possible || e.made || !fits(task_->calls[i], e, call)) continue;
    e.made = key;
    e.call.id = call.id;
    return return_of(task_->calls[i]);
  }
  return {from_ms(100), {Outcome::failed, "nothing is known of these arguments"}};
}

void Attempt::hear(Time now) {
  for (std::size_t i = 0; i < expected_.size(); ++i) {
    if (task_->calls[i].asked_by == heard_) expected_[i].asked = now;
    if (task_->calls[i].withdrawn_by == heard_) expected_[i].withdrawn = now;
  }
  ++heard_;
}

void Attempt::trapped(const Trapped& trap, Time now) {
  if (session_->mode() == Mode::sync) return;
  // In sync-parallel what is written was not dispatched, and so not matched, before the trap.
  const auto is_written = [&](std::size_t i) {
    return std::ranges::any_of(keys(), [&](CallKey key) {
      return fits(task_->calls[i], expected_[i], record(key)) || is_held(expected_[i], record(key));
    });
  };
  ++traps_;
  bool is_wrong = trap.by_stop;
  for (std::size_t i = 0; i < expected_.size(); ++i) {
    is_wrong = is_wrong || (!is_written(i) && is_ready(expected_[i], now));
  }
  traps_right_ += is_wrong ? 0 : 1;
}

bool Attempt::is_time_to_report(Time now) const {
  if (!task_->together) return true;
  // A wrong call may stand for one that is not made: nothing more is waited for then.
  const bool is_wrong = std::ranges::any_of(keys(), [&](CallKey key) {
    return !is_matched(key) && (record(key).dispatched || record(key).rejected);
  });
  return std::ranges::none_of(expected_, [&](const Expected& e) {
    return e.possible && is_wanted(e, now) && !is_delivered(e, now) && (e.made || !is_wrong);
  });
}

// Whether the model could write the call, made or not, at the time: results that it takes are
// there, or in async+ have a name.
bool Attempt::is_ready(const Expected& e, Time now) const {
  return e.possible && is_wanted(e, now) && std::ranges::all_of(e.needs, [&](std::size_t need) {
           return is_delivered(expected_[need], now) ||
                  (session_->mode() == Mode::async_plus && expected_[need].made);
         });
}

// Whether the call was made without what it takes or comes after: neither delivered before nor left
// to the session.
bool Attempt::is_early(const Expected& e) const {
  const CallRecord& call = record(*e.made);
  return std::ranges::any_of(e.needs, [&](std::size_t need) {
    const Expected& other = expected_[need];
    return !is_delivered(other, *call.emitted) &&
           !(other.made && std::ranges::contains(call.needs, *other.made));
  });
}

// Of a call that is none of those expected: whether an argument stands for a result that was not
// there. Where the tool could have been called for something else, it is only a wrong argument.
bool Attempt::has_invented_argument(CallKey key) const {
  const CallRecord& call = record(key);
  if (!call.needs.empty()) return false;  // its arguments are left to the session
  // A wrong call of the tool has told the model something too, be it of a task before.
  const auto is_there = [&](const TaskArgument& argument) {
    return !argument.from || std::ranges::any_of(session_->calls(), [&](const CallRecord& other) {
      return other.name == expected_[*argument.from].call.name && other.delivered &&
             *other.delivered <= *call.emitted;
    });
  };
  bool is_invented = false;
  for (std::size_t i = 0; i < expected_.size(); ++i) {
    const Expected& e = expected_[i];
    const bool was_made = e.made && *e.made < key;
    if (e.call.name != call.name || was_made || !is_wanted(e, *call.emitted)) continue;
    if (std::ranges::all_of(task_->calls[i].arguments, is_there)) return false;
    is_invented = true;
  }
  return is_invented;
}

// Of the calls that could be made when this one was made, was it one with the longest estimate?
void Attempt::score_choice(const Expected& chosen, Score& score) const {
  const Time now = *record(*chosen.made).emitted;
  const auto estimate = [&](const Expected& e) {
    return std::ranges::find(*tools_, e.call.name, &ToolSpec::name)->estimate;
  };
  int callable = 0;
  bool best = true;
  for (const Expected& e : expected_) {
    const bool open = !e.made || *e.made >= *chosen.made;
    if (!open || !is_ready(e, now)) continue;
    ++callable;
    if (estimate(e) > estimate(chosen)) best = false;
  }
  if (callable < 2) return;
  ++score.choices;
  score.choices_right += best ? 1 : 0;
}

// Calls of async+ that are neither wanted nor wrong: cancellations of what the user has withdrawn,
// and calls that were left to the session, which could not run them.
std::int64_t Attempt::count_neutral() const {
  if (session_->mode() != Mode::async_plus) return 0;
  return std::ranges::count_if(keys(), [&](CallKey key) {
    return std::ranges::any_of(expected_, [&](const Expected& e) {
      if (!e.possible) return is_held(e, record(key));
      // It may have ended before the cancellation was written.
      return e.made && e.withdrawn &&
             record(key).code == std::format("{}({})", kCancelFunction, e.call.id);
    });
  });
}

// Calls that are none of those expected, but an earlier one of the task once more.
std::int64_t Attempt::count_repeated() const {
  return std::ranges::count_if(keys(), [&](CallKey key) {
    if (is_matched(key)) return false;
    const CallRecord& call = record(key);
    return std::ranges::any_of(std::views::iota(first_key_, key), [&](CallKey earlier) {
      const CallRecord& other = record(earlier);
      // Cancellations and malformed blocks have their code alone.
      return other.code == call.code || (!call.arguments.empty() && other.name == call.name &&
                                         other.arguments == call.arguments);
    });
  });
}

std::multiset<std::string> Attempt::expected_answer() const {
  std::multiset<std::string> result;
  if (!task_->say.empty()) result.insert(task_->say + "\n");
  if (!task_->reports) return result;
  for (std::size_t i = 0; i < expected_.size(); ++i) {
    const TaskCall& call = task_->calls[i];
    const Expected& e = expected_[i];
    if (!e.asked || e.withdrawn || (call.retry_of && !e.possible)) continue;
    if (e.call.outcome != Outcome::returned && is_tried_again(*task_, i)) continue;
    result.insert(call.tool.empty() ? not_possible_line(call)
                  : e.possible      ? report_line(e.call)
                                    : not_run_line(call));
  }
  return result;
}

std::string Attempt::expected_calls() const {
  std::string text;
  for (const Expected& e : expected_) {
    if (!e.possible || !e.asked) continue;
    const std::string_view fate = e.withdrawn ? "withdrawn" : e.made ? "made" : "not made";
    text += std::format("{}{} ({})\n", e.call.name, e.call.arguments.dump(), fate);
  }
  return text;
}

// The lines of what was written that the answer must have; what was withdrawn may have been
// reported before.
std::multiset<std::string> Attempt::written_answer() const {
  std::multiset<std::string> result = lines(session_->answer());
  for (const Expected& e : expected_) {
    if (!e.withdrawn || !e.made) continue;
    if (const auto line = result.find(report_line(e.call)); line != result.end())
      result.erase(line);
  }
  return result;
}

// Of a run that is not right, whose other counts are known.
Failure Attempt::classify(const Score& score) const {
  if (score.stopped == 0) return Failure::unfinished;
  const bool is_short = score.calls_right + score.calls_extra < score.calls;
  if (is_short && score.calls_extra == 0) return Failure::missing;
  if (is_short) {
    const auto is_instead = [&](CallKey key, const Expected& e) {
      return !e.made && e.possible && e.asked && !e.withdrawn && e.call.name == record(key).name;
    };
    for (const CallKey key : keys()) {
      if (is_matched(key)) continue;
      for (const Expected& e : expected_) {
        if (is_instead(key, e)) return Failure::argument;
      }
    }
    return Failure::tool;
  }
  if (score.calls_extra > 0) return Failure::extra;
  return score.early > 0 ? Failure::early : Failure::answer;
}

Score Attempt::score(const ReportedResults& reported) const {
  Score score;
  score.runs = 1;
  score.traps = traps_;
  score.traps_right = traps_right_;
  std::int64_t wanted = 0;
  for (const Expected& e : expected_) {
    // What was withdrawn before it was made is not wanted any more: made then, it is one too many.
    const bool is_right = e.made && is_wanted(e, *record(*e.made).emitted);
    wanted += e.possible && e.asked && (is_right || !e.withdrawn) ? 1 : 0;
    if (!is_right) continue;
    ++score.calls_right;
    if (is_early(e)) ++score.early;
    score_choice(e, score);
  }
  score.calls_extra = std::ssize(keys()) - score.calls_right - count_neutral();
  score.calls = wanted + score.calls_extra;
  if (task_->reports) {
    score.invented = reported.invented();
    score.untimely = reported.untimely();
  }
  for (const CallKey key : keys()) {
    if (record(key).rejected) ++(record(key).needs.empty() ? score.refused : score.not_run);
    if (!is_matched(key)) score.invented += has_invented_argument(key) ? 1 : 0;
  }
  score.repeated = count_repeated();
  score.stopped = std::get<Done>(session_->step()).reason == FinishReason::stop ? 1 : 0;
  const bool is_answer = written_answer() == expected_answer();
  score.answers_right = is_answer && score.untimely == 0 ? 1 : 0;
  const bool is_right = score.calls_right == score.calls && score.answers_right == 1 &&
                        score.stopped == 1 && score.early == 0 && score.invented == 0;
  if (is_right) {
    score.runs_right = 1;
  } else {
    ++score.failures[static_cast<std::size_t>(classify(score))];
  }
  return score;
}

// limit_exceeded: what the user says next does not fit into the context.
Result<void> converse(Session& session, Engine& engine, SequenceId id, const TaskSequence& sequence,
                      std::vector<EvaluatedRun>& runs) {
  const Vocabulary& vocabulary = engine.vocabulary();
  const Token marker = vocabulary.control("[INTR]");
  std::int64_t delivered = 0, forged = 0;
  ReportedResults reported;
  Time now{};
  for (const Task& task : sequence.tasks) {
    const std::size_t begin = runs.empty() ? 0 : session.context().size();
    if (!runs.empty()) {
      if (std::get<Done>(session.step()).reason == FinishReason::context_full) {
        return fail(ErrorCode::limit_exceeded, "the context is full");
      }
      if (auto ok = session.interrupt(kUserSource, task.user, now); !ok) return ok;
    }
    Attempt attempt(session, task, sequence.tools);
    reported.begin_turn();
    const auto observer = [&](const Event& event) {
      if (const auto* text = std::get_if<TextEvent>(&event.what)) {
        reported.wrote(text->text, attempt.is_time_to_report(event.time));
      } else if (const auto* interrupt = std::get_if<InterruptDelivered>(&event.what)) {
        ++delivered;
        if (interrupt->call) reported.told(interrupt->id);
        if (interrupt->id == kUserSource) attempt.hear(event.time);
      } else if (const auto* trap = std::get_if<Trapped>(&event.what)) {
        attempt.trapped(*trap, event.time);
      }
    };
    const auto report = simulate(
        session, engine, id, now, {.costs = kEvaluationCosts},
        [&](CallKey key, const CallRecord& call) { return attempt.call(key, call); }, observer,
        said_by_user(task));
    if (!report) return std::unexpected(report.error());
    now = report->end;
    EvaluatedRun& run = runs.emplace_back();
    run.score = attempt.score(reported);
    const std::int64_t all_forged = std::ranges::count(session.context(), marker) - delivered;
    run.score.forged = all_forged - std::exchange(forged, all_forged);
    run.transcript = "right\n";
    for (std::size_t i = 0; i < kFailures.size(); ++i) {
      if (run.score.failures[i] > 0) run.transcript = std::format("WRONG: {}\n", kFailures[i]);
    }
    for (const Token token : session.context().subspan(begin)) {
      run.transcript += vocabulary.spelling(token);
    }
    run.transcript += "\nexpected calls:\n" + attempt.expected_calls() + "expected answer:\n";
    for (const std::string& line : attempt.expected_answer()) run.transcript += line;
  }
  return {};
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
  untimely += other.untimely;
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

Result<std::vector<EvaluatedRun>> evaluate(Engine& engine, TaskSequence sequence,
                                           const EvaluationOptions& options) {
  if (std::ssize(sequence.tasks) > options.turns) {
    sequence.tasks.resize(static_cast<std::size_t>(options.turns));
  }
  for (Task& task : sequence.tasks) {
    for (TaskCall& call : task.calls) {
      CallResult& result = call.result;
      if (result.outcome == Outcome::returned && result.text.empty())
        result.text = options.stand_in;
    }
  }
  SessionConfig config = options.config;
  config.context_tokens = engine.info().context_tokens;
  auto session = Session::create(engine.vocabulary(), sequence.tools,
                                 {{"user", sequence.tasks.front().user}}, config);
  if (!session) return std::unexpected(session.error());
  const auto id = engine.create(options.sampling);
  if (!id) return std::unexpected(id.error());
  std::vector<EvaluatedRun> runs;
  const auto status = converse(*session, engine, *id, sequence, runs);
  engine.drop(*id);
  if (!status && (runs.empty() || status.error().code != ErrorCode::limit_exceeded)) {
    return std::unexpected(status.error());
  }
  return runs;
}

}  // namespace asynclm
