// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_run.h"

#include <algorithm>
#include <format>
#include <numeric>
#include <utility>

#include <asynclm/session.h>

#include "base/clock.h"
#include "bench/prefill.h"
#include "bench/taught_engine.h"
#include "cml/markers.h"
#include "fixtures/fake_engine.h"
#include "oracle/cheat_sheet.h"
#include "oracle/oracle.h"
#include "oracle/schedule.h"
#include "runtime/cost_model.h"
#include "runtime/measure_costs.h"
#include "session/monitor.h"

namespace asynclm::bench {
namespace {

// More calls than these make the search for the best schedule long.
constexpr std::size_t kMaxSearched = 12;
// The fake engine's: more than any sample has.
constexpr std::int32_t kEndlessContext = 1 << 20;
constexpr Time kMeasuringTime = from_ms(100);
constexpr double kUsualDepth = 1000;  // tokens before a call's
// A model that writes so many times what the calls take does not end by itself.
constexpr std::int64_t kMostOfTheCalls = 2, kMoreTokens = 128;

// One sample in one arm.
class SampleRun {
 public:
  SampleRun(BfclModel& model, const BfclSample& sample, const BfclArm& arm)
      : model_(model), sample_(sample), arm_(arm), tasks_(sample.sequence), how_(model.how) {
    for (ToolSpec& tool : tasks_.tools) tool.delivery = arm.delivery;
    how_.on_wall_clock = arm.on_wall_clock;
    how_.serving = {.per_request = arm.requests ? model.per_request : Time{},
                    .keeps_cache = arm.keeps_cache,
                    .all_at_once = arm.barrier};
  }
  ~SampleRun() {
    if (sequence_) model_.engine->drop(*sequence_);
  }
  SampleRun(const SampleRun&) = delete;
  SampleRun& operator=(const SampleRun&) = delete;

  Result<BfclRun> run(DraftPolicy& drafts, Random& random);

 private:
  [[nodiscard]] std::vector<double> ranks_of(const Task& task, Random& random) const;
  [[nodiscard]] Result<Session> open() const;
  [[nodiscard]] Result<void> begin(std::function<Token()> next, DraftPolicy& drafts);
  [[nodiscard]] Result<void> run_task(const Task& task);
  [[nodiscard]] Result<Time> hear_all(const Task& task);
  [[nodiscard]] Result<void> simulate_on(std::span<const SimulatedInterrupt> said);
  void note_steps(const SimulationReport& report);
  void note_taking_in(const SimulatedStep& step, Time took);
  void add_bound(const Task& task, CallKey first);
  void count_tokens();

  BfclModel& model_;
  const BfclSample& sample_;
  const BfclArm& arm_;
  TaskSequence tasks_;  // as the arm's prompt has them
  SimulationOptions how_;
  std::optional<Session> session_;
  std::unique_ptr<BfclAuthor> author_;
  std::optional<SequenceId> sequence_;
  Time now_{};
  std::size_t said_ = 0;      // of the task's interruptions
  std::vector<Time> writes_;  // of the session's calls
  BfclRun out_;
};

std::vector<double> SampleRun::ranks_of(const Task& task, Random& random) const {
  const auto planned = plan(task, tasks_.tools, model_.engine->vocabulary(), how_.costs.per_token);
  std::vector<double> out = ranks(arm_.policy, task, tasks_.tools, planned);
  if (arm_.random_order) std::ranges::generate(out, [&] { return random.uniform(); });
  return out;
}

Result<Session> SampleRun::open() const {
  const Vocabulary& vocabulary = model_.engine->vocabulary();
  SessionConfig config;
  config.mode = arm_.mode;
  config.context_tokens = config.max_generated = model_.engine->info().context_tokens;
  if (model_.decides) {
    std::int64_t tokens = kMoreTokens;
    for (const Task& task : tasks_.tasks) {
      // A token takes 1, so this counts them.
      for (const PlannedCall& call : plan(task, tasks_.tools, vocabulary, Time{1})) {
        tokens += kMostOfTheCalls * call.write.count();
      }
    }
    config.max_generated =
        static_cast<std::int32_t>(std::min<std::int64_t>(tokens, config.max_generated));
  }
  config.max_result_bytes = kEndlessContext;
  config.constrained = arm_.jump_forward || arm_.drafts;
  config.jump_forward = arm_.jump_forward;
  config.drafts = arm_.drafts;
  std::shared_ptr<CallGrammar> grammar;
  if (config.constrained) {
    auto made = CallGrammar::create(
        vocabulary, model_.trie, tasks_.tools,
        {.canonical_order = config.jump_forward, .async_plus = arm_.mode == Mode::async_plus});
    if (!made) return std::unexpected(made.error());
    grammar = std::move(*made);
  }
  std::vector<Message> messages;
  if (arm_.documents) messages.push_back({"system", sample_.documents});
  messages.push_back({"user", tasks_.tasks.front().user});
  return Session::create(vocabulary, tasks_.tools, std::move(messages), config, std::move(grammar));
}

// Divides the steps among the calls that they wrote. A step that also took in a result counts as
// the fastest of the others: what a result costs is no part of writing a call.
void SampleRun::note_steps(const SimulationReport& report) {
  out_.steps += std::ssize(report.steps);
  Time fastest = Time::max();
  for (const SimulatedStep& step : report.steps) {
    out_.requests += step.is_new_request ? 1 : 0;
    if (!step.is_new_request) fastest = std::min(fastest, step.took);
  }
  const std::size_t known = writes_.size();
  writes_.resize(session_->calls().size());
  out_.calls.resize(session_->calls().size());
  for (std::size_t key = known; key < out_.calls.size(); ++key) {
    out_.calls[key].name = session_->calls()[key].name;
  }
  for (const auto& [key, time] : report.started) out_.calls[key].started = time;
  std::optional<Time> begun;
  Time write{}, taking_in{};
  for (const SimulatedStep& step : report.steps) {
    if (!begun) {
      begun = step.begun;
      write = taking_in = Time{};
    }
    const Time plain = step.is_new_request ? std::min(fastest, step.took) : step.took;
    taking_in += step.took - plain;
    write += plain;
    note_taking_in(step, step.took - plain);
    if (step.wrote) {
      writes_[*step.wrote] = write;
      out_.calls[*step.wrote].begun = *begun;
      out_.calls[*step.wrote].written = step.begun + step.took;
      out_.calls[*step.wrote].taking_in = taking_in;
    }
    if (step.wrote || step.paused) begun = std::nullopt;
  }
}

// Divides what a step took beyond others among the results that it took in, by their length.
void SampleRun::note_taking_in(const SimulatedStep& step, Time took) {
  const auto length = [&](CallKey key) { return 1 + std::ssize(session_->calls()[key].result); };
  std::int64_t all = 0;
  for (const CallKey key : step.took_in) all += length(key);
  for (const CallKey key : step.took_in) out_.calls[key].taken_in = took * length(key) / all;
}

Result<void> SampleRun::simulate_on(std::span<const SimulatedInterrupt> said) {
  const auto tool = [&](CallKey key, const CallRecord& record) {
    if (const TaskCall* const call = author_->call(key, record)) {
      return return_of(*call);
    }
    const auto spec = std::ranges::find(tasks_.tools, record.name, &ToolSpec::name);
    return SimulatedReturn{spec->estimate,
                           {Outcome::failed, "nothing is known of these arguments"}};
  };
  const auto observer = [&](const Event& event) {
    const auto* const interrupt = std::get_if<InterruptDelivered>(&event.what);
    const bool is_said = interrupt != nullptr && interrupt->id == kUserSource;
    // A message that opens a turn is the turn's text.
    if (is_said || std::holds_alternative<TurnStarted>(event.what)) author_->hear();
  };
  const auto report =
      arm_.asks_server
          ? model_.server->client().run(*session_, now_, arm_.keeps_cache, tool, observer, said)
          : simulate(*session_, *model_.engine, *sequence_, now_, how_, tool, observer, said);
  if (!report) return std::unexpected(report.error());
  now_ = report->end;
  said_ += report->said;
  note_steps(*report);
  return {};
}

// Until the model has ended its turn and the user has said all of the task.
Result<Time> SampleRun::hear_all(const Task& task) {
  const Time start = now_;
  std::vector<SimulatedInterrupt> said = said_by_user(task);
  said_ = 0;
  if (auto ok = simulate_on(arm_.by_turns ? std::span<SimulatedInterrupt>() : said); !ok) {
    return std::unexpected(ok.error());
  }
  while (said_ < said.size()) {
    now_ = std::max(now_, start + said[said_].at);
    for (; said_ < said.size() && start + said[said_].at <= now_; ++said_) {
      if (auto ok = session_->interrupt(kUserSource, said[said_].text, now_); !ok) {
        return std::unexpected(ok.error());
      }
    }
    std::vector<SimulatedInterrupt> rest;
    for (std::size_t i = said_; i < said.size() && !arm_.by_turns; ++i) {
      rest.push_back(said[i]);
      rest.back().at -= now_ - start;
    }
    if (auto ok = simulate_on(rest); !ok) return std::unexpected(ok.error());
  }
  return start;
}

Result<void> SampleRun::run_task(const Task& task) {
  const auto first = static_cast<CallKey>(session_->calls().size());
  const auto start = hear_all(task);
  if (!start) return std::unexpected(start.error());
  const auto& calls = session_->calls();
  const BfclScore score = score_task(task, *session_, first, *author_);
  out_.score += score;
  if (!score.is_right() && !model_.decides) {
    for (CallKey key = first; key < calls.size(); ++key) {
      if (calls[key].outcome == Outcome::returned) continue;
      return fail(ErrorCode::internal, std::format("{}: {} did not return: {}", sample_.id,
                                                   calls[key].code, calls[key].result));
    }
    return fail(ErrorCode::internal,
                std::format("{}: {} of {} calls were made, {} besides", sample_.id, score.exact,
                            score.expected, score.extra));
  }
  Time last = *start;
  for (CallKey key = first; key < calls.size(); ++key) {
    const CallRecord& call = calls[key];
    BfclCall& times = out_.calls[key];
    out_.writing += writes_[key];
    const TaskCall* const made = author_->call(key, call);
    if (made == nullptr || !call.dispatched || !call.delivered) continue;
    times.returned = times.started + made->duration;
    times.delivered = *call.delivered;
    last = std::max(last, times.returned);
    out_.running += made->duration;
  }
  out_.makespan += last - *start;
  add_bound(task, first);
  return {};
}

void SampleRun::add_bound(const Task& task, CallKey first) {
  if (!task.interruptions.empty() || !out_.score.is_right() || arm_.asks_server) {
    out_.bound = out_.bound_taking_in = std::nullopt;
  }
  if (!out_.bound) return;
  // A new request is nothing that cannot be helped.
  if (arm_.requests) out_.bound_taking_in = std::nullopt;
  std::vector<PlannedCall> planned(task.calls.size());
  std::vector<Time> taking_in(task.calls.size());
  for (CallKey key = first; key < session_->calls().size(); ++key) {
    const TaskCall& call = *author_->call(key, session_->calls()[key]);
    const auto index = static_cast<std::size_t>(&call - task.calls.data());
    PlannedCall& plan = planned[index];
    plan.write = writes_[key];
    plan.run = call.duration;
    taking_in[index] = out_.calls[key].taken_in;
    for (const std::size_t need : needs_of(call)) {
      const bool named = arm_.mode == Mode::async_plus && can_name(call, need, arm_.habits);
      (named ? plan.starts_after : plan.needs).push_back(need);
    }
  }
  const auto bound_of = [&](std::span<const PlannedCall> calls) {
    if (task.calls.size() <= kMaxSearched) {
      if (const BestOrder best = best_order(calls); best.is_proven) return best.makespan;
    }
    out_.bound_is_exact = false;
    return makespan_bound(calls);
  };
  *out_.bound += bound_of(planned);
  if (out_.bound_taking_in) {
    *out_.bound_taking_in += bound_of(with_taking_in(planned, taking_in));
  }
}

void SampleRun::count_tokens() {
  const Vocabulary& vocabulary = model_.engine->vocabulary();
  out_.prompt_tokens = session_->token_counts().prompt;
  out_.tokens = std::ssize(session_->context()) - out_.prompt_tokens;
  out_.protocol_tokens = out_.tokens;
  for (const CallRecord& call : session_->calls()) {
    out_.protocol_tokens -= std::ssize(vocabulary.encode(call.code));
    out_.protocol_tokens -= std::ssize(vocabulary.encode(call.result));
  }
}

// The prompt is computed, all but its last token, which the first step appends.
Result<void> SampleRun::begin(std::function<Token()> next, DraftPolicy& drafts) {
  const std::span<const Token> prompt = session_->context();
  if (arm_.asks_server) return model_.server->client().compute(prompt);
  const auto id = model_.engine->create({});
  if (!id) return std::unexpected(id.error());
  sequence_ = *id;
  model_.teach(*id, std::move(next), drafts);
  return prefill(*model_.engine, *id, prompt.first(prompt.size() - 1));
}

Result<BfclRun> SampleRun::run(DraftPolicy& drafts, Random& random) {
  if (arm_.asks_server && (!model_.server || !model_.decides)) {
    return fail(ErrorCode::unsupported,
                "a server writes its model's own tokens: it is there in kind real only");
  }
  const auto ranks_of_arm = [&](const Task& task) { return ranks_of(task, random); };
  if (model_.calls_in_prompt) write_cheat_sheet(tasks_, ranks_of_arm);
  const Vocabulary& vocabulary = model_.engine->vocabulary();
  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  auto session = open();
  if (!session) return std::unexpected(session.error());
  session_.emplace(std::move(*session));
  std::function<Token()> next;
  if (model_.decides) {
    author_ = std::make_unique<ModelAuthor>();
  } else {
    auto oracle = std::make_unique<OracleAuthor>(
        Oracle(vocabulary, *markers, tasks_.tools, arm_.policy, how_.costs.per_token, arm_.habits));
    next = [this, &teacher = *oracle] { return teacher.next(*session_); };
    author_ = std::move(oracle);
  }
  if (auto ok = begin(std::move(next), drafts); !ok) return std::unexpected(ok.error());
  out_.bound = out_.bound_taking_in = Time{};
  for (const Task& task : tasks_.tasks) {
    if (!out_.score.is_right()) {  // it is lost; what it does now says nothing
      out_.score.expected += std::ssize(task.calls);
      continue;
    }
    if (&task != &tasks_.tasks.front()) {
      if (auto ok = session_->interrupt(kUserSource, task.user, now_); !ok) {
        return std::unexpected(ok.error());
      }
    }
    std::vector<double> order(task.calls.size());
    std::iota(order.begin(), order.end(), 0.0);
    author_->begin(task, *session_, model_.calls_in_prompt ? std::move(order) : ranks_of_arm(task));
    if (auto ok = run_task(task); !ok) return std::unexpected(ok.error());
  }
  count_tokens();
  return std::move(out_);
}

}  // namespace

BfclModel simulated_model(const Vocabulary& vocabulary, const SimulationCosts& costs,
                          Time per_request) {
  auto engine = std::make_unique<FakeEngine>(
      vocabulary, FakeEngineOptions{.context_tokens = kEndlessContext,
                                    .max_sequences = 1,
                                    .max_batch_tokens = kEndlessContext});
  FakeEngine& fake = *engine;
  return {.engine = std::move(engine),
          .teach =
              [&fake](SequenceId sequence, std::function<Token()> next, DraftPolicy&) {
                fake.script(sequence,
                            [next = std::move(next)](std::span<const Token>,
                                                     std::span<const Token>) { return next(); });
              },
          .how = {.costs = costs},
          .per_request = per_request,
          .trie = std::make_shared<const TokenTrie>(vocabulary)};
}

BfclModel forced_model(std::unique_ptr<Engine> engine) {
  // For the order of the calls: what writing them takes. Where it cannot be measured, a guess.
  CostModel costs(static_cast<std::size_t>(engine->info().max_batch_tokens));
  Time per_token = kTimePerToken;
  if (measure_costs(*engine, SteadyClock(), kMeasuringTime, costs) && costs.knows_decode()) {
    per_token = costs.decode({.tokens = 1, .attended = kUsualDepth});
  }
  auto trie = std::make_shared<const TokenTrie>(engine->vocabulary());
  auto taught = std::make_unique<TaughtEngine>(std::move(engine));
  TaughtEngine& teacher = *taught;
  return {.engine = std::move(taught),
          .teach =
              [&teacher](SequenceId, std::function<Token()> next, DraftPolicy& drafts) {
                teacher.teach(std::move(next));
                teacher.use(drafts);
              },
          .how = {.costs = {.per_token = per_token}, .measured = true},
          .trie = std::move(trie)};
}

BfclModel real_model(std::unique_ptr<Engine> engine) {
  BfclModel model = forced_model(std::move(engine));
  model.decides = model.calls_in_prompt = true;
  return model;
}

Result<BfclRun> run_bfcl(BfclModel& model, const BfclSample& sample, const BfclArm& arm,
                         DraftPolicy& drafts, Random& random) {
  return SampleRun(model, sample, arm).run(drafts, random);
}

}  // namespace asynclm::bench
