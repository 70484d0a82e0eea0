// SPDX-License-Identifier: Apache-2.0
#include "oracle/dataset.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "cml/markers.h"
#include "fixtures/fake_engine.h"
#include "oracle/simulator.h"

namespace asynclm {
namespace {

Mode pick_mode(const std::vector<ModeShare>& modes, Random& random) {
  double sum = 0;
  for (const ModeShare& one : modes) sum += one.share;
  double at = random.uniform() * sum;
  for (const ModeShare& one : modes) {
    if (at < one.share) return one.mode;
    at -= one.share;
  }
  return modes.back().mode;
}

SimulationCosts pick_costs(Random& random) {
  // Paper section 4: 5 to 30 ms an output token. The default model takes 2 on a CPU core: then the
  // model has mostly written all of its calls when the first result arrives.
  const double per_token = random.log_uniform(1.5, 30);
  return {.per_token = from_ms(per_token), .per_appended_token = from_ms(per_token / 50)};
}

void extend(std::vector<TokenRange>& ranges, std::int32_t position) {
  if (ranges.empty() || ranges.back().second != position) ranges.emplace_back(position, position);
  ++ranges.back().second;
}

// Collects a sample while it is simulated: each of its tokens goes into a part once.
class Parts {
 public:
  explicit Parts(Sample& sample) : sample_(sample) {}

  void interrupt_at(std::int32_t position) { interrupts_.push_back(position); }

  // Tokens up to `end` were written by `author`; of a task's own, those in `sampled` by the model.
  void add(Author author, std::int32_t end) {
    auto& parts = sample_.parts;
    if (end <= end_) return;
    if (parts.empty() || parts.back().author != author) parts.push_back({author, {end_, end_}});
    parts.back().tokens.second = end;
    end_ = end;
  }

  // The tokens of a task after its message. Between two sampled ones stands what closes the
  // model's block, and then interrupts.
  void add_task(const std::vector<std::int32_t>& sampled, std::int32_t end) {
    std::size_t next = 0;
    const auto add_unsampled = [&](std::int32_t until) {
      while (next < interrupts_.size() && interrupts_[next] < end_) ++next;
      if (next < interrupts_.size() && interrupts_[next] < until) {
        add(Author::model, interrupts_[next]);
        add(Author::interrupt, until);
      } else {
        add(Author::model, until);
      }
    };
    for (const std::int32_t position : sampled) {
      add_unsampled(position);
      add(Author::model, position + 1);
    }
    add_unsampled(end);
    interrupts_.clear();
  }

 private:
  Sample& sample_;
  std::int32_t end_ = 0;
  std::vector<std::int32_t> interrupts_;  // where they begin, in this task
};

}  // namespace

std::string_view to_string(Author author) {
  switch (author) {
    case Author::prompt:
      return "prompt";
    case Author::user:
      return "user";
    case Author::model:
      return "model";
    case Author::interrupt:
      return "interrupt";
  }
  return "";
}

Result<Sample> make_sample(const Vocabulary& vocabulary, const TaskSequence& sequence,
                           const DatasetOptions& options, Random& random) {
  Sample sample;
  sample.mode = pick_mode(options.modes, random);
  const SimulationCosts costs = pick_costs(random);

  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  SessionConfig config;
  config.mode = sample.mode;
  config.context_tokens = 16 * options.max_tokens;
  config.max_generated = config.context_tokens;
  auto session =
      Session::create(vocabulary, sequence.tools, {{"user", sequence.tasks.front().user}}, config);
  if (!session) return std::unexpected(session.error());

  Oracle oracle(vocabulary, *markers, sequence.tools, options.policy, costs.per_token);
  FakeEngine engine(vocabulary, {.context_tokens = config.context_tokens,
                                 .max_sequences = 1,
                                 .max_batch_tokens = config.context_tokens,
                                 .scripts = {}});
  const auto id = engine.create({});
  if (!id) return std::unexpected(id.error());
  std::vector<bool> mistaken;  // for each token that the oracle wrote in this task
  engine.script(*id, [&](std::span<const Token>, std::span<const Token>) {
    const Token token = oracle.next(*session);
    mistaken.push_back(oracle.mistaken());
    return token;
  });
  const auto tool = [&](CallKey key, const CallRecord&) {
    SimulatedReturn back = return_of(*oracle.call(key));
    CallResult& result = back.result;
    if (result.outcome == Outcome::returned && result.text.empty()) result.text = options.stand_in;
    return back;
  };
  Parts parts(sample);
  Time resumed{-1};
  const auto observer = [&](const Event& event) {
    if (const auto* interrupt = std::get_if<InterruptDelivered>(&event.what)) {
      if (interrupt->id == kUserSource) oracle.hear();
      parts.interrupt_at(interrupt->position);
      sample.interrupted += event.time == resumed ? 0 : 1;
    }
    if (std::holds_alternative<Resumed>(event.what)) resumed = event.time;
  };
  for (const Task& task : sequence.tasks) {
    const bool is_first = &task == &sequence.tasks.front();
    const Sample before = sample;
    if (!is_first) {
      auto added = session->interrupt("user", task.user, sample.makespan);
      if (!added) return std::unexpected(added.error());
    }
    parts.add(is_first ? Author::prompt : Author::user,
              static_cast<std::int32_t>(session->context().size()));
    oracle.begin(task, *session);
    mistaken.clear();
    const auto report = simulate(*session, engine, *id, sample.makespan, {.costs = costs}, tool,
                                 observer, said_by_user(task));
    if (!report) return std::unexpected(report.error());
    for (CallKey key = 0; key < session->calls().size() && sample.refused.empty(); ++key) {
      const CallRecord& call = session->calls()[key];
      // One that needs a failed call is refused too: that is to be learned.
      const bool could_run = std::ranges::all_of(call.needs, [&](CallKey need) {
        return session->calls()[need].outcome == Outcome::returned;
      });
      if (call.rejected && could_run && oracle.call(key) != nullptr) {
        sample.refused = call.code + ": " + call.result;
      }
    }
    sample.cut_searches = oracle.cut_searches();
    sample.makespan = report->end;
    parts.add_task(report->sampled, static_cast<std::int32_t>(session->context().size()));
    for (std::size_t i = 0; i < report->sampled.size(); ++i) {
      if (!mistaken[i]) extend(sample.loss, report->sampled[i]);
    }
    // A long conversation ends where it no longer fits: left out as a whole, long tasks would be
    // rare.
    const bool is_too_long = std::ssize(session->context()) > options.max_tokens;
    if (!is_first && is_too_long) {
      sample = before;
      break;
    }
    sample.tokens.assign(session->context().begin(), session->context().end());
    sample.calls = static_cast<std::int32_t>(session->calls().size());
    if (is_too_long) break;
  }
  return sample;
}

void draw_times(TaskSequence& sequence, Random& random) {
  for (Task& task : sequence.tasks) {
    for (TaskCall& call : task.calls) {
      const auto tool = std::ranges::find(sequence.tools, call.tool, &ToolSpec::name);
      if (tool == sequence.tools.end()) continue;
      const double ms = to_ms(Time(tool->estimate)) * random.log_uniform(0.5, 2.0);
      const double before = to_ms(call.duration);
      call.duration = from_ms(std::clamp(ms, 1.0, 1000.0));
      for (ResultPart& part : call.parts) {
        part.at = from_ms(to_ms(part.at) * to_ms(call.duration) / before);
      }
    }
  }
}

Random random_for_sample(std::uint64_t seed, std::uint64_t index) {
  return Random(Random(seed + index * 0x9E3779B97F4A7C15ULL).next());
}

}  // namespace asynclm
