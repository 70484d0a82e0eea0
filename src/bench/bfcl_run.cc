// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_run.h"

#include <algorithm>
#include <format>
#include <utility>

#include <asynclm/session.h>

#include "bench/prefill.h"
#include "bench/taught_engine.h"
#include "cml/markers.h"
#include "engine/fake_engine.h"
#include "oracle/oracle.h"
#include "oracle/schedule.h"
#include "session/monitor.h"

namespace asynclm::bench {
namespace {

// More calls than these make the search for the best schedule long.
constexpr std::size_t kMaxSearched = 12;
// The fake engine's: more than any sample has.
constexpr std::int32_t kEndlessContext = 1 << 20;

// One sample in one arm.
class SampleRun {
 public:
  SampleRun(BfclModel& model, const BfclSample& sample, const BfclArm& arm)
      : model_(model), sample_(sample), arm_(arm), how_(model.how) {
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
  [[nodiscard]] Result<Session> open() const;
  [[nodiscard]] Result<void> run_task(const Task& task);
  [[nodiscard]] Result<Time> hear_all(const Task& task);
  [[nodiscard]] Result<void> simulate_on(std::span<const SimulatedInterrupt> said);
  void note_steps(const SimulationReport& report);
  void add_bound(const Task& task, CallKey first);
  void count_tokens();

  BfclModel& model_;
  const BfclSample& sample_;
  const BfclArm& arm_;
  SimulationOptions how_;
  std::optional<Session> session_;
  std::optional<Oracle> oracle_;
  std::optional<SequenceId> sequence_;
  Time now_{};
  std::size_t said_ = 0;      // of the task's interruptions
  std::vector<Time> writes_;  // of the session's calls
  BfclRun out_;
};

Result<Session> SampleRun::open() const {
  const Vocabulary& vocabulary = model_.engine->vocabulary();
  SessionConfig config;
  config.mode = arm_.mode;
  config.context_tokens = config.max_generated = model_.engine->info().context_tokens;
  config.max_result_bytes = kEndlessContext;
  config.constrained = arm_.fast_forward || arm_.drafts;
  config.fast_forward = arm_.fast_forward;
  config.drafts = arm_.drafts;
  std::shared_ptr<CallGrammar> grammar;
  if (config.constrained) {
    auto made = CallGrammar::create(
        vocabulary, model_.trie, sample_.sequence.tools,
        {.canonical_order = config.fast_forward, .async_plus = arm_.mode == Mode::async_plus});
    if (!made) return std::unexpected(made.error());
    grammar = std::move(*made);
  }
  std::vector<Message> messages;
  if (arm_.documents) messages.push_back({"system", sample_.documents});
  messages.push_back({"user", sample_.sequence.tasks.front().user});
  return Session::create(vocabulary, sample_.sequence.tools, std::move(messages), config,
                         std::move(grammar));
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
  std::optional<Time> begun;
  Time write{}, taking_in{};
  for (const SimulatedStep& step : report.steps) {
    if (!begun) {
      begun = step.begun;
      write = taking_in = Time{};
    }
    if (step.is_new_request) taking_in += step.took - std::min(fastest, step.took);
    write += step.is_new_request ? std::min(fastest, step.took) : step.took;
    if (step.wrote) {
      writes_[*step.wrote] = write;
      out_.calls[*step.wrote].begun = *begun;
      out_.calls[*step.wrote].written = step.begun + step.took;
      out_.calls[*step.wrote].taking_in = taking_in;
    }
    if (step.wrote || step.paused) begun = std::nullopt;
  }
}

Result<void> SampleRun::simulate_on(std::span<const SimulatedInterrupt> said) {
  const auto tool = [&](CallKey key, const CallRecord&) {
    const TaskCall& call = *oracle_->call(key);
    return SimulatedReturn{call.duration, call.result};
  };
  const auto observer = [&](const Event& event) {
    const auto* const interrupt = std::get_if<InterruptDelivered>(&event.what);
    const bool is_said = interrupt != nullptr && interrupt->id == kUserSource;
    // A message that opens a turn is the turn's text.
    if (is_said || std::holds_alternative<TurnStarted>(event.what)) oracle_->hear();
  };
  const auto report =
      simulate(*session_, *model_.engine, *sequence_, now_, how_, tool, observer, said);
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
  if (calls.size() - first != task.calls.size()) {
    return fail(ErrorCode::internal, std::format("{}: {} calls of {} were made", sample_.id,
                                                 calls.size() - first, task.calls.size()));
  }
  Time last = *start;
  for (CallKey key = first; key < calls.size(); ++key) {
    const CallRecord& call = calls[key];
    if (call.rejected || call.outcome != Outcome::returned || !call.delivered) {
      return fail(ErrorCode::internal,
                  std::format("{}: {} did not return: {}", sample_.id, call.code, call.result));
    }
    BfclCall& times = out_.calls[key];
    const Time run = oracle_->call(key)->duration;
    times.started = *call.dispatched;
    times.returned = times.started + run;
    times.delivered = *call.delivered;
    last = std::max(last, times.returned);
    out_.writing += writes_[key];
    out_.running += run;
  }
  out_.makespan += last - *start;
  add_bound(task, first);
  return {};
}

void SampleRun::add_bound(const Task& task, CallKey first) {
  if (!task.interruptions.empty()) out_.bound = std::nullopt;
  if (!out_.bound) return;
  std::vector<PlannedCall> planned(task.calls.size());
  for (CallKey key = first; key < session_->calls().size(); ++key) {
    const TaskCall& call = *oracle_->call(key);
    PlannedCall& plan = planned[static_cast<std::size_t>(&call - task.calls.data())];
    plan.write = writes_[key];
    plan.run = call.duration;
    for (const std::size_t need : needs_of(call)) {
      const bool named = arm_.mode == Mode::async_plus && can_name(call, need, arm_.habits);
      (named ? plan.starts_after : plan.needs).push_back(need);
    }
  }
  if (planned.size() <= kMaxSearched) {
    const BestOrder best = best_order(planned);
    if (best.is_proven) {
      *out_.bound += best.makespan;
      return;
    }
  }
  *out_.bound += makespan_bound(planned);
  out_.bound_is_exact = false;
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

Result<BfclRun> SampleRun::run(DraftPolicy& drafts, Random& random) {
  const Vocabulary& vocabulary = model_.engine->vocabulary();
  const std::vector<ToolSpec>& tools = sample_.sequence.tools;
  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  auto session = open();
  if (!session) return std::unexpected(session.error());
  session_.emplace(std::move(*session));
  oracle_.emplace(vocabulary, *markers, tools, arm_.policy, how_.costs.per_token, arm_.habits);
  const auto id = model_.engine->create({});
  if (!id) return std::unexpected(id.error());
  sequence_ = *id;
  model_.teach(*id, [this] { return oracle_->next(*session_); }, drafts);
  // All but its last token, which the first step appends.
  const std::span<const Token> prompt = session_->context();
  if (auto ok = prefill(*model_.engine, *id, prompt.first(prompt.size() - 1)); !ok) {
    return std::unexpected(ok.error());
  }
  out_.bound = Time{};
  for (const Task& task : sample_.sequence.tasks) {
    if (&task != &sample_.sequence.tasks.front()) {
      if (auto ok = session_->interrupt(kUserSource, task.user, now_); !ok) {
        return std::unexpected(ok.error());
      }
    }
    std::optional<std::vector<double>> ranks;
    if (arm_.random_order) {
      ranks.emplace(task.calls.size());
      std::ranges::generate(*ranks, [&] { return random.uniform(); });
    }
    oracle_->begin(task, *session_, std::move(ranks));
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
  auto trie = std::make_shared<const TokenTrie>(engine->vocabulary());
  auto taught = std::make_unique<TaughtEngine>(std::move(engine));
  TaughtEngine& teacher = *taught;
  return {.engine = std::move(taught),
          .teach =
              [&teacher](SequenceId, std::function<Token()> next, DraftPolicy& drafts) {
                teacher.teach(std::move(next));
                teacher.use(drafts);
              },
          .how = {.costs = {}, .measured = true},
          .trie = std::move(trie)};
}

Result<BfclRun> run_bfcl(BfclModel& model, const BfclSample& sample, const BfclArm& arm,
                         DraftPolicy& drafts, Random& random) {
  return SampleRun(model, sample, arm).run(drafts, random);
}

}  // namespace asynclm::bench
