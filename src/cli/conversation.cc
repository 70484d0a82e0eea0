// SPDX-License-Identifier: Apache-2.0
#include "cli/conversation.h"

#include <algorithm>
#include <chrono>
#include <format>
#include <utility>

namespace asynclm {
namespace {

Time process_time() { return std::chrono::steady_clock::now().time_since_epoch(); }

// Of calls that were made before this process looked.
void add_calls(Timeline& timeline, const std::vector<CallRecord>& calls) {
  for (const CallRecord& call : calls) {
    TimelineCall& out = timeline.calls.emplace_back();
    out.id = call.id;
    out.name = call.name;
    out.label = call.name.empty() ? call.code : call_text(call.name, call.arguments);
    out.arguments = call.arguments;
    out.emitted = call.emitted.value_or(Time{});
    out.dispatched = call.dispatched;
    out.returned = call.returned;
    out.delivered = call.delivered;
    out.outcome = call.outcome;
    out.rejected = call.rejected;
    out.result = call.result;
  }
}

}  // namespace

Conversation::Conversation(Runtime& runtime, RunRequest request)
    : runtime_(runtime), request_(std::move(request)), began_(process_time()) {
  request_.open = true;
}

Conversation::~Conversation() {
  if (!run_) return;
  runtime_.cancel(*run_);
  (void)runtime_.wait(*run_);  // nobody is left to be told
}

RunRequest Conversation::request_with_observer() {
  events_ = std::make_shared<Events>();
  RunRequest request = request_;
  request.on_event = [events = events_](const Session& session, const Event& event) {
    events->put(make_run_event(session, event));
  };
  return request;
}

void Conversation::begin(RunId run, Time since) {
  run_ = run;
  ended_.reset();
  began_ = process_time() - since;
  timeline_ = Timeline{};
}

Result<void> Conversation::say(const std::string& text, Delivery delivery) {
  if (run_) return runtime_.interrupt(*run_, "user", text, delivery);
  if (ended_) {
    return fail(ErrorCode::invalid_argument,
                std::format("the conversation has ended ({}): /load one, or /quit",
                            to_string(ended_->finish)));
  }
  RunRequest request = request_with_observer();
  request.messages = {{"user", text}};
  const Time before = process_time();  // from which the run counts its own
  const auto run = runtime_.start(std::move(request));
  if (!run) return std::unexpected(run.error());
  begin(*run, process_time() - before);
  return {};
}

Result<void> Conversation::cancel_call(const std::string& id) {
  for (CallKey key = 0; key < timeline_.calls.size(); ++key) {
    const TimelineCall& call = timeline_.calls[key];
    // Calls without an id have their number: #0, #1, …
    if (call.id != id && std::format("#{}", key) != id) continue;
    if (call.outcome) {
      return fail(ErrorCode::invalid_argument, std::format("the call {} has ended", id));
    }
    runtime_.cancel_call(*run_, key);
    return {};
  }
  return fail(ErrorCode::not_found, std::format("there is no call {}; /calls lists them", id));
}

void Conversation::cancel_turn() {
  if (run_) runtime_.cancel_turn(*run_);
}

void Conversation::close() {
  if (run_) runtime_.close(*run_);
}

Result<void> Conversation::save(const std::string& path) {
  if (!run_) return fail(ErrorCode::invalid_argument, "there is nothing to save yet");
  return runtime_.save(*run_, path);
}

Result<void> Conversation::load(const std::string& path) {
  const auto before = events_;
  const auto run = runtime_.load(path, request_with_observer());
  if (!run) {
    events_ = before;
    return std::unexpected(run.error());
  }
  if (run_) {
    runtime_.cancel(*run_);
    (void)runtime_.wait(*run_);  // it was cancelled: the new one is what counts
  }
  const auto report = runtime_.report(*run);
  begin(*run, report ? report->wall : Time{});
  may_have_ended_ = !report;
  if (!report) return {};
  // Whatever it has done meanwhile is in the report and comes as events too; the calls' events
  // change nothing then.
  add_calls(timeline_, report->calls);
  if (report->ended) timeline_.finish = report->finish;
  timeline_.text = report->answer;
  return {};
}

const std::vector<RunEvent>& Conversation::take() {
  taken_.clear();
  if (!run_ || ended_) return taken_;
  events_->take(taken_);
  for (const RunEvent& event : taken_) {
    const bool known_call =
        event.kind == RunEventKind::emitted && event.call && *event.call < timeline_.calls.size();
    if (!known_call) timeline_.apply(event);
  }
  const bool turn_ended = std::ranges::any_of(
      taken_, [](const RunEvent& event) { return event.kind == RunEventKind::finished; });
  // With its turn a run may have ended for good.
  if (std::exchange(may_have_ended_, false) || turn_ended) {
    if (const auto report = runtime_.report(*run_); !report) {
      auto last = runtime_.wait(*run_);
      ended_.emplace();
      if (last) {
        ended_ = std::move(*last);
      } else {
        ended_->finish = FinishReason::error;
        ended_->error = last.error();
      }
      run_.reset();
    }
  }
  return taken_;
}

Time Conversation::now() const { return process_time() - began_; }

}  // namespace asynclm
