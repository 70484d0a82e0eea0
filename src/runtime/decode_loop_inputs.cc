// SPDX-License-Identifier: Apache-2.0
// The decode thread's part in conversations: messages of people and of other models, groups,
// saving.
#include <algorithm>
#include <format>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/saved_sequence.h"
#include "runtime/decode_loop.h"

namespace asynclm {

// --- People -----------------------------------------------------------------------------------

void DecodeLoop::accept(CancelTurn& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;
  run->session.cancel(run->tick(now()));
  settle(*run);
}

void DecodeLoop::accept(CancelCall& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;
  run->session.cancel_call(input.call, run->tick(now()));
  settle(*run);
}

void DecodeLoop::accept(CloseRun& input) {
  Run* run = find(input.run);
  if (run == nullptr) return;
  run->open = false;
  run->session.close(run->tick(now()));
  settle(*run);
}

void DecodeLoop::accept(InterruptRun& input) {
  Run* run = find(input.run);
  if (run == nullptr) {
    return input.answer.set_value(
        asynclm::fail(ErrorCode::not_found, std::format("run {} has ended", input.run)));
  }
  Result<void> taken =
      run->session.interrupt(input.source, input.text, run->tick(now()), input.delivery);
  settle(*run);
  input.answer.set_value(std::move(taken));
}

// --- Other models -----------------------------------------------------------------------------

void DecodeLoop::accept(StartGroup& input) {
  for (auto& run : input.runs) begin(std::move(run));
}

// Through the inbox: the receiver may be in the decode call whose tokens are being handed out.
void DecodeLoop::send(Run& run, CallKey call) {
  const Json& arguments = run.session.calls()[call].arguments;
  const Result<RunId> to = run.group->send(run.id, arguments.at("to").get<std::string>());
  if (to) {
    inbox_.put(SendMessage{run.id, call, *to, arguments.at("text").get<std::string>()});
  } else {
    inbox_.put(CallEnded{run.id, call, {Outcome::failed, to.error().message}, now()});
  }
}

void DecodeLoop::accept(SendMessage& input) {
  Run* const from = find(input.from);
  Run* const to = find(input.to);
  CallResult result{Outcome::returned, "sent"};
  if (to == nullptr) {
    result = {Outcome::failed, "not sent: the other one has left"};
  } else {
    const std::string source = std::format("agent:{}", to->group->name(input.from));
    const Result<void> taken = to->session.interrupt(source, input.text, to->tick(now()));
    if (!taken) {
      to->group->delivered(to->id);
      result = {Outcome::failed, "not sent: " + taken.error().message};
    }
    settle(*to);
  }
  if (from == nullptr) return;
  from->session.completed(input.call, std::move(result), from->tick(now()));
  settle(*from);
}

// A group in which nobody can do anything any more, and nothing is on its way, has ended.
void DecodeLoop::end_idle_groups() {
  for (const auto& group : std::exchange(changed_groups_, {})) {
    bool idle = !group->messages_on_their_way();
    for (const RunId id : group->runs()) {
      const Run* const run = find(id);
      if (run == nullptr) continue;
      const bool decodes = std::holds_alternative<Decode>(run->session.step());
      const bool calls_open =
          std::ranges::any_of(run->session.calls(), [](const CallRecord& c) { return !c.outcome; });
      idle = idle && !decodes && !calls_open;
    }
    if (!idle) continue;
    for (const RunId id : group->runs()) {
      CloseRun close{id};
      accept(close);
    }
  }
  changed_groups_.clear();
}

// --- Saving -----------------------------------------------------------------------------------

void DecodeLoop::accept(ReportRun& input) {
  Run* run = find(input.run);
  if (run == nullptr) {
    return input.answer.set_value(
        asynclm::fail(ErrorCode::not_found, std::format("run {} has ended", input.run)));
  }
  input.answer.set_value(report(*run, run->tick(now())));
}

void DecodeLoop::accept(SaveRun& input) {
  Run* run = find(input.run);
  if (run == nullptr) {
    return input.answer.set_value(
        asynclm::fail(ErrorCode::not_found, std::format("run {} has ended", input.run)));
  }
  input.answer.set_value(saved(*run));
}

Result<Json> DecodeLoop::saved(Run& run) {
  if (run.group) {
    return asynclm::fail(ErrorCode::unsupported,
                         "a member of a group cannot be saved without the others");
  }
  SamplingParams sampling = run.sampling;
  if (run.kv.sequence || !run.kv.sampler.empty()) {
    auto bytes = run.kv.sequence ? engine_.save_sampler(*run.kv.sequence)
                                 : Result<std::vector<std::byte>>(run.kv.sampler);
    if (!bytes) return std::unexpected(std::move(bytes.error()));
    const auto sampler = saved_sampler(*bytes);
    if (!sampler) return std::unexpected(sampler.error());
    // The generator's state is a seed with which it goes on.
    sampling = sampler->params;
    sampling.seed = sampler->random.state();
  }
  return Json{{"model", engine_.info().model},
              {"fingerprint", engine_.info().fingerprint},
              {"time", run.tick(now()).count()},
              {"sampling",
               {{"temperature", sampling.temperature},
                {"top_k", sampling.top_k},
                {"top_p", sampling.top_p},
                {"min_p", sampling.min_p},
                {"seed", sampling.seed}}},
              {"session", run.session.save()}};
}

}  // namespace asynclm
