// SPDX-License-Identifier: Apache-2.0
// Properties of all sessions, on the virtual clock: random models, tools and faults. A failure
// names the function and the seed that show it again.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <format>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/session.h>

#include "base/random.h"
#include "base/test_sanitized.h"
#include "oracle/test_oracle.h"
#include "session/saved_session.h"
#include "session/test_session_checker.h"

namespace asynclm {
namespace {

using namespace std::string_literals;

constexpr Mode kModes[] = {Mode::sync, Mode::sync_parallel, Mode::async};  // the paper's
constexpr Delivery kDeliveries[] = {Delivery::interrupt, Delivery::when_idle, Delivery::silent};
constexpr Mode kAllModes[] = {Mode::sync, Mode::sync_parallel, Mode::async, Mode::async_plus};

// A few seconds; sanitizers are ten times slower.
constexpr std::uint64_t kSeeds = kSanitized ? 800 : 4000;

const Vocabulary& vocabulary() { return quick_vocabulary(); }

// --- one session in a world of tools and faults -------------------------------------------------

struct Faults {
  double late_duplicate = 0;  // a call's second result, also after it was cancelled
  double stray_result = 0;    // at each token: a result for any call
  double stray_start = 0;
  double part = 0;       // of any call's result
  double interrupt = 0;  // of a person or another model
  double cancel = 0;
  double cancel_call = 0;
  double engine_failure = 0;
  double further_message = 0;  // at each end
  double reload = 0;           // the session is saved, and another one made of it
};

class World {
 public:
  using Model = std::function<Token(const Session&, std::span<const Token> banned)>;
  using Tool = std::function<SimulatedReturn(CallKey)>;

  World(Session& session, const std::vector<ToolSpec>& tools, const SessionConfig& config,
        const Faults& faults, Random& random)
      : session_(session),
        tools_(tools),
        checker_(session, vocabulary(), config),
        faults_(faults),
        random_(random) {}

  // Until the session is done and no message follows. The first rule that was broken, or nothing.
  std::string run(const Model& model, const Tool& tool) {
    tool_ = tool;
    // Each round is a token, a result or a fault; a session ends long before.
    for (int rounds = 0; rounds < 100'000; ++rounds) {
      if (!checker_.problem().empty()) return checker_.problem();
      const Step step = session_.step();
      if (const auto* done = std::get_if<Done>(&step)) {
        if (!further_message(*done)) return after_the_end();
        continue;
      }
      if (strike()) continue;
      if (const auto* decode = std::get_if<Decode>(&step)) {
        const Token token = model(session_, decode->banned);
        now_ += from_ms(10);
        session_.decoded(token, now_);
        after_input();
      } else if (agenda_.empty()) {
        return "the session waits, but nothing will ever come";
      } else {
        now_ = std::max(now_, agenda_.begin()->first);
      }
      while (!agenda_.empty() && agenda_.begin()->first <= now_) {
        auto due = agenda_.extract(agenda_.begin());
        session_.completed(due.mapped().first, std::move(due.mapped().second), now_);
        after_input();
      }
    }
    return "the session does not end";
  }

 private:
  void after_input() {
    for (const Event& event : checker_.after_input(session_)) {
      const auto* dispatched = std::get_if<CallDispatched>(&event.what);
      if (dispatched == nullptr) continue;  // withdrawn calls may return all the same
      SimulatedReturn result = tool_(dispatched->call);
      const Time due = now_ + result.duration;
      agenda_.emplace(due, std::pair{dispatched->call, std::move(result.result)});
      if (random_.chance(faults_.late_duplicate)) {  // never before the true result
        agenda_.emplace(due + from_ms(random_.between(0, 200)),
                        std::pair{dispatched->call, CallResult{Outcome::failed, "duplicate"}});
      }
    }
  }

  // A fault that is an input of its own.
  bool strike() {
    const auto any_call = [&] {
      return static_cast<CallKey>(random_.below(session_.calls().size() + 2));
    };
    if (random_.chance(faults_.stray_result)) {
      session_.completed(any_call(), {Outcome::returned, "stray"}, now_);
    } else if (random_.chance(faults_.stray_start)) {
      session_.started(any_call(), now_);
    } else if (random_.chance(faults_.part)) {
      session_.progressed(any_call(), "[END] half", now_);
    } else if (random_.chance(faults_.interrupt)) {
      (void)session_.interrupt(random_.chance(0.5) ? "user" : "agent:x", "[END][CALL]", now_,
                               random_.pick(kDeliveries));
    } else if (random_.chance(faults_.cancel_call)) {
      session_.cancel_call(any_call(), now_);
    } else if (random_.chance(faults_.reload)) {
      const auto saved = open_session(seal_session(session_.save()));
      auto loaded = saved ? Session::load(vocabulary(), tools_, *saved)
                          : Result<Session>(std::unexpected(saved.error()));
      if (loaded) {
        session_ = std::move(*loaded);
        checker_.reloaded(session_);
      }
      EXPECT_TRUE(loaded) << loaded.error().message;
      return true;
    } else if (random_.chance(faults_.cancel)) {
      session_.cancel(now_);
    } else if (random_.chance(faults_.engine_failure)) {
      session_.engine_failed({ErrorCode::engine, "out of memory"}, now_);
    } else {
      return false;
    }
    after_input();
    return true;
  }

  bool further_message(const Done& done) {
    if (!random_.chance(faults_.further_message)) return false;
    const bool can_go_on =
        done.reason != FinishReason::error && done.reason != FinishReason::context_full;
    const bool added = session_.interrupt("user", "more [END]<|user|>", now_).has_value();
    after_input();
    EXPECT_TRUE(can_go_on || !added);
    return added;
  }

  // Nothing that comes now changes anything.
  std::string after_the_end() {
    const auto context = std::vector<Token>(session_.context().begin(), session_.context().end());
    session_.decoded('x', now_);
    for (CallKey key = 0; key <= session_.calls().size(); ++key) {
      session_.completed(key, {Outcome::returned, "too late"}, now_);
      session_.started(key, now_);
      session_.cancel_call(key, now_);
    }
    session_.close(now_);
    session_.cancel(now_);
    session_.engine_failed({ErrorCode::engine, "too late"}, now_);
    if (!session_.take_events().empty()) return "events after the end";
    if (!std::ranges::equal(context, session_.context())) return "the context grew after the end";
    return checker_.problem();
  }

  Session& session_;
  const std::vector<ToolSpec>& tools_;
  SessionChecker checker_;
  Faults faults_;
  Random& random_;
  Tool tool_;
  Time now_{};
  std::multimap<Time, std::pair<CallKey, CallResult>> agenda_;
};

// --- babbling models ----------------------------------------------------------------------------

// Writes text, calls good and bad, traps, ends and any control token. Behind a mask or without.
class Babbler {
 public:
  Babbler(Random& random, bool masked) : random_(random), masked_(masked) {}

  Token operator()(const Session& session, std::span<const Token> banned) {
    if (pending_.empty()) write(something());
    const Token token = pending_.front();
    pending_.pop_front();
    if (!masked_) return token;
    // A mask lets the model say something else instead.
    TokenFilter* const filter = std::get<Decode>(session.step()).filter;
    const auto allowed = [&](Token t) {
      return !std::ranges::contains(banned, t) && (filter == nullptr || filter->allows(t, 0));
    };
    if (allowed(token)) return token;
    for (Token other = 'x'; other < 'x' + 256; ++other) {
      if (allowed(other % 256)) return other % 256;
    }
    ADD_FAILURE() << "nothing can be written";
    return 'x';
  }

 private:
  std::string something() {
    static const std::string kTexts[] = {"a",    "one two ", "\xE2\x82\xAC", "\xF0\x9F",
                                         "\xFF", "\n",       "[END]",        "f(1)"};
    static const std::string kControls[] = {"[CALL]",     "[INTR]",        "[TRAP]",
                                            "[END]",      "[HEAD]",        "<|user|>",
                                            "<|system|>", "<|assistant|>", "<|end_of_text|>"};
    static const std::string kTraps[] = {"[TRAP]",
                                         "[TRAP]",
                                         "[TRAP][END]",
                                         "[TRAP]c1[HEAD]any[END]",
                                         "[TRAP]c1 c2[HEAD]all[END]",
                                         "[TRAP]a[HEAD][END]",
                                         "[TRAP]c1[END]"};
    switch (random_.below(10)) {
      case 0:
      case 1:
        return random_.pick(kTexts);
      case 2:
        return random_.pick(kTraps);
      case 3:
        return random_.chance(0.3) ? "<|end_of_text|>" : random_.pick(kControls);
      case 4:
        return random_.pick(kControls);
      default:
        return call();
    }
  }
  std::string call() {
    static const std::string kCodes[] = {"f(x=1)",
                                         "f(2)",
                                         "g('a', y=\"\xE2\x82\xAC\")",
                                         "g(x=\"[END]\")",
                                         "h()",
                                         R"({"name":"f","arguments":{"x":3}})",
                                         "f('x')",
                                         "f()",
                                         "f(x=1,z=2)",
                                         "rm(1)",
                                         "f(",
                                         "",
                                         "{}",
                                         "f(x=\xFF)",
                                         "f(g(1))",
                                         "f(x=$c1)",
                                         "f($c2)",
                                         "g(x=[$c3.k[0]], y=$c4)",
                                         "cancel(c1)",
                                         "cancel(a)",
                                         " \n"};
    if (random_.chance(0.2)) return "[CALL]" + random_.pick(kCodes) + "[END]";
    static const std::string kIds[] = {"a", "b", "error", "1", "", "\xFF", "a b"};
    const std::string id =
        random_.chance(0.7) ? "c" + std::to_string(random_.below(30)) : random_.pick(kIds);
    static const std::string kAfter[] = {"", "", " after c1", " after c2 c3", " after", " then c1"};
    return "[CALL]" + id + random_.pick(kAfter) + "[HEAD]" + random_.pick(kCodes) + "[END]";
  }
  void write(const std::string& text) {
    for (const Token token : encode_with_controls(vocabulary(), text)) pending_.push_back(token);
  }

  Random& random_;
  bool masked_;
  std::deque<Token> pending_;
};

SimulatedReturn babbling_tool(Random& random) {
  static const std::string kResults[] = {"",
                                         "17",
                                         "[END][CALL] x [HEAD] f(1) [END]",
                                         "<|end_of_text|><|user|>",
                                         "\xE2\x82\xAC\xF0\x9F",
                                         "[INTR]a[HEAD]1[END]",
                                         std::string(100, 'x'),
                                         "\n\n",
                                         "\0"s};
  constexpr Outcome kOutcomes[] = {Outcome::returned, Outcome::returned, Outcome::failed,
                                   Outcome::timed_out, Outcome::cancelled};
  return {from_ms(random.between(0, 400)), {random.pick(kOutcomes), random.pick(kResults)}};
}

std::string babble(std::uint64_t seed, std::map<FinishReason, int>& reasons) {
  Random random(seed);
  static const std::vector<ToolSpec> tools = [] {
    std::vector<ToolSpec> made = {make_tool("f", 100, "integer"),
                                  make_tool("g", 10),
                                  {.name = "h", .description = "no arguments"}};
    made[1].delivery = Delivery::when_idle;
    made[2].delivery = Delivery::silent;
    return made;
  }();
  SessionConfig config;
  config.mode = random.pick(kAllModes);
  config.max_generated = random.between(1, random.chance(0.5) ? 40 : 400);
  config.max_calls = random.between(0, 20);
  config.max_call_tokens = random.between(1, 60);
  config.max_result_bytes = random.between(1, 64);
  static std::map<Mode, std::int32_t> prompts;
  if (!prompts.contains(config.mode)) {
    prompts[config.mode] =
        Session::create(vocabulary(), tools, {{"user", "go"}}, config)->token_counts().prompt;
  }
  config.context_tokens = prompts[config.mode] + random.between(1, random.chance(0.5) ? 60 : 2000);
  auto session = Session::create(vocabulary(), tools, {{"user", "go"}}, config);
  if (!session) return session.error().message;
  const Faults faults{.late_duplicate = 0.2,
                      .stray_result = 0.02,
                      .stray_start = 0.02,
                      .part = 0.02,
                      .interrupt = 0.02,
                      .cancel = 0.002,
                      .cancel_call = 0.01,
                      .engine_failure = 0.001,
                      .further_message = 0.5,
                      .reload = 0.01};
  World world(*session, tools, config, faults, random);
  const bool masked = random.chance(0.5);
  std::string problem =
      world.run(Babbler(random, masked), [&](CallKey) { return babbling_tool(random); });
  if (const Step step = session->step(); std::holds_alternative<Done>(step)) {
    ++reasons[std::get<Done>(step).reason];
  }
  const auto malformed = [](const CallRecord& call) {
    return call.result.starts_with("malformed block") && !call.result.contains("too long");
  };
  if (problem.empty() && masked && std::ranges::any_of(session->calls(), malformed)) {
    problem = "a masked model wrote a malformed block";
  }
  return problem;
}

TEST(SessionProperty, WhateverAModelWritesAndToolsDo) {
  std::map<FinishReason, int> reasons;
  for (std::uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const std::string problem = babble(seed, reasons);
    ASSERT_EQ(problem, "") << "babble(" << seed << ", …)";
  }
  // The worlds are not so bad that nothing ever goes well, nor the other way round.
  for (const FinishReason reason :
       {FinishReason::stop, FinishReason::length, FinishReason::context_full, FinishReason::stalled,
        FinishReason::cancelled, FinishReason::error}) {
    EXPECT_GT(reasons[reason], 0) << to_string(reason);
  }
}

// --- random graphs of calls, an ideal model ------------------------------------------------------

struct RandomTask {
  std::vector<ToolSpec> tools;
  Task task;
};

RandomTask random_task(Random& random, bool independent, double failing) {
  RandomTask out;
  const int tools = random.between(1, 4);
  for (int i = 0; i < tools; ++i) {
    out.tools.push_back(make_tool("t"s + static_cast<char>('a' + i), random.between(1, 10) * 50));
  }
  out.task.user = "go";
  if (random.chance(0.3))
    out.task.say = std::string(static_cast<std::size_t>(random.between(1, 30)), 's');
  for (int n = random.between(0, 7); n > 0; --n) {
    const std::size_t made = out.task.calls.size();
    const ToolSpec& tool = random.pick(out.tools);
    TaskCall call = make_call(tool.name, "v" + std::to_string(random.below(100)),
                              random.between(0, 600), "r" + std::to_string(made));
    if (random.chance(failing)) {
      constexpr Outcome kBad[] = {Outcome::failed, Outcome::timed_out, Outcome::cancelled};
      call.result.outcome = random.pick(kBad);
    }
    if (random.chance(0.5)) call.arguments.push_back({.name = "y", .value = "w", .from = {}});
    for (TaskArgument& argument : call.arguments) {
      if (!independent && made > 0 && random.chance(0.5)) {
        argument.from = random.below(made);
        argument.value = nullptr;
      }
    }
    out.task.calls.push_back(std::move(call));
  }
  return out;
}

std::multiset<std::string> lines(std::string_view text) {
  std::multiset<std::string> out;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size() - 1) + 1;
    out.emplace(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

std::string play_graph(std::uint64_t seed) {
  Random random(seed);
  const auto [tools, task] = random_task(random, false, 0.15);
  SessionConfig config;
  config.mode = random.pick(kAllModes);
  config.context_tokens = config.max_generated = 1 << 20;
  auto session = Session::create(vocabulary(), tools, {{"user", task.user}}, config);
  if (!session) return session.error().message;
  Oracle oracle(vocabulary(), *Markers::find(vocabulary()), tools,
                random.chance(0.5) ? Policy::lpt : Policy::as_written);
  oracle.begin(task, *session);
  World world(*session, tools, config, {.late_duplicate = 0.3, .stray_start = 0.01, .reload = 0.01},
              random);
  std::string problem =
      world.run([&](const Session& s, std::span<const Token>) { return oracle.next(s); },
                [&](CallKey key) { return return_of(*oracle.call(key)); });
  if (!problem.empty()) return problem;
  if (!std::holds_alternative<Done>(session->step()) ||
      std::get<Done>(session->step()).reason != FinishReason::stop) {
    return "not stopped";
  }
  // What must have been called, with what, and what the answer must say.
  std::vector<bool> succeeds;
  std::multiset<std::string> expected_calls;
  std::multiset<std::string> expected_lines;
  if (!task.say.empty()) expected_lines.insert(task.say + "\n");
  std::map<const TaskCall*, std::string> ids;
  for (CallKey key = 0; key < session->calls().size(); ++key) {
    ids[oracle.call(key)] = session->calls()[key].id;
  }
  for (const TaskCall& call : task.calls) {
    CallRecord record;
    record.id = ids[&call];
    record.name = call.tool;
    record.outcome = call.result.outcome;
    record.result = call.result.text;
    bool possible = true;
    for (const TaskArgument& argument : call.arguments) {
      if (argument.from) {
        possible = possible && succeeds[*argument.from];
        record.arguments[argument.name] = task.calls[*argument.from].result.text;
      } else {
        record.arguments[argument.name] = argument.value;
      }
    }
    if (possible) expected_calls.insert(call.tool + record.arguments.dump());
    expected_lines.insert(possible ? report_line(record) : not_run_line(call));
    succeeds.push_back(possible && call.result.outcome == Outcome::returned);
  }
  std::multiset<std::string> calls;
  for (const CallRecord& call : session->calls()) {
    if (!call.rejected) calls.insert(call.name + call.arguments.dump());
  }
  if (calls != expected_calls) return "other calls than the task's";
  if (lines(session->answer()) != expected_lines) {
    return "another answer: " + std::string(session->answer());
  }
  return {};
}

TEST(SessionProperty, GraphsOfCallsRunToTheirEnd) {
  for (std::uint64_t seed = 1; seed <= kSeeds / 2; ++seed) {
    const std::string problem = play_graph(seed);
    ASSERT_EQ(problem, "") << "play_graph(" << seed << ")";
  }
}

// --- makespans -----------------------------------------------------------------------------------

// For independent calls: async is never slower than sync-parallel, and sync-parallel slower than
// sync by its one trap at most.
//
// Why: the oracle writes the same calls in the same order, what it has to say, and the reports in
// all modes. Let C, S and R be the times these take, E the longest call. sync-parallel starts all
// calls after its trap, so it takes exactly C + S + trap + E + R. In async all calls run before C
// is over, so the last result is there by C + E, and what is then left is less than R and, if that
// result came while the model was writing a trap, the rest of this trap. That is no more than
// sync-parallel's sum. Interrupts are the same tokens in all modes; those that async takes between
// its calls it need not take later. sync takes C + S + R + ΣE, without a trap; sync-parallel's
// costs a token, the [END] after it, and a prompt longer by the letters of "-parallel".
std::string compare_modes(std::uint64_t seed) {
  Random random(seed);
  const auto [tools, task] = random_task(random, true, 0.1);
  const SimulationCosts costs{
      .per_token = from_ms(random.between(1, 30)),
      .per_appended_token = random.chance(0.5) ? Time{} : from_ms(random.between(1, 10) * 0.1)};
  std::map<Mode, Time> end;
  for (const Mode mode : kModes) {
    const OracleRun run = run_oracle(mode, tools, {task}, costs);
    if (run.error) return run.error->message;
    if (run.calls.size() != task.calls.size()) return "other calls than the task's";
    end[mode] = run.end;
  }
  const Time trap = costs.per_token + costs.per_appended_token;
  const auto letters = static_cast<Time::rep>("-parallel"s.size());
  const std::string times =
      std::format(" (sync {}, sync-parallel {}, async {} ms)", to_ms(end[Mode::sync]),
                  to_ms(end[Mode::sync_parallel]), to_ms(end[Mode::async]));
  if (end[Mode::async] > end[Mode::sync_parallel]) return "async > sync-parallel" + times;
  if (end[Mode::sync_parallel] > end[Mode::sync] + trap + letters * costs.per_appended_token) {
    return "sync-parallel > sync + trap" + times;
  }
  return {};
}

TEST(SessionProperty, AsyncIsNeverSlowerForIndependentCalls) {
  for (std::uint64_t seed = 1; seed <= kSeeds / 4; ++seed) {
    const std::string problem = compare_modes(seed);
    ASSERT_EQ(problem, "") << "compare_modes(" << seed << ")";
  }
}

// The paper's section 6.3, for the time at which the last result is there. Exact: times are whole
// tokens, and estimates are right.
std::string check_formulas(std::uint64_t seed) {
  Random random(seed);
  const Time token = from_ms(10);
  RandomTask random_one = random_task(random, true, 0);
  Task& task = random_one.task;
  if (task.calls.empty()) return {};
  for (TaskCall& call : task.calls) {
    call.duration = std::ranges::find(random_one.tools, call.tool, &ToolSpec::name)->estimate;
  }
  const Time say = token * (task.say.empty() ? 0 : static_cast<Time::rep>(task.say.size() + 1));
  for (const Mode mode : kModes) {
    const OracleRun run = run_oracle(mode, random_one.tools, {task}, {token, {}});
    if (run.error) return run.error->message;
    struct Times {
      Time g, e;
    };
    std::vector<Times> calls;
    Time last{}, sum_g{}, sum_e{}, max_e{};
    for (const CallRecord& call : run.calls) {
      // [CALL] id [HEAD] code [END]
      const Time g = token * static_cast<Time::rep>(call.id.size() + call.code.size() + 3);
      const Time e = std::ranges::find(random_one.tools, call.name, &ToolSpec::name)->estimate;
      calls.push_back({g, e});
      sum_g += g;
      sum_e += e;
      max_e = std::max(max_e, e);
      last = std::max(last, *call.returned);
    }
    Time expected{};
    switch (mode) {
      case Mode::sync:
        expected = sum_g + sum_e;
        break;
      case Mode::sync_parallel:
        expected = sum_g + say + token + max_e;
        break;
      case Mode::async:
        for (const Times& f : calls) {
          Time until = f.e;
          for (const Times& g : calls) until += g.e >= f.e ? g.g : Time{};
          expected = std::max(expected, until);
        }
        break;
      case Mode::async_plus:
        break;
    }
    if (last != expected) {
      return std::format("{}: {} ms, not {}", to_string(mode), to_ms(last), to_ms(expected));
    }
  }
  return {};
}

TEST(SessionProperty, MakespansAreThePapers) {
  for (std::uint64_t seed = 1; seed <= kSeeds / 8; ++seed) {
    const std::string problem = check_formulas(seed);
    ASSERT_EQ(problem, "") << "check_formulas(" << seed << ")";
  }
}

}  // namespace
}  // namespace asynclm
