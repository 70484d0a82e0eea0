// SPDX-License-Identifier: Apache-2.0
// For tests: watches a session from outside and finds the first rule of the protocol it breaks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <format>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/session.h>

#include "cml/call_syntax.h"
#include "cml/markers.h"

namespace asynclm {

class SessionChecker {
 public:
  // `vocabulary` must outlive the checker. The session is new.
  SessionChecker(const Session& session, const Vocabulary& vocabulary, const SessionConfig& config)
      : vocabulary_(vocabulary),
        markers_(*Markers::find(vocabulary)),
        config_(config),
        seen_(session.context().begin(), session.context().end()) {
    for (Token token = 0; token < vocabulary.size(); ++token) {
      if (vocabulary.is_control(token) && !markers_.marker(token) &&
          !vocabulary.is_end_of_generation(token)) {
        roles_.push_back(token);
      }
    }
    check_step(session);
  }

  // After each input: takes its events and checks them and what the session is now.
  std::vector<Event> after_input(Session& session) {
    const auto taken = session.take_events();
    std::vector<Event> events(taken.begin(), taken.end());
    if (session.token_counts().generated != generated_) {  // it was a token: the step was fed
      ++generated_;
      fed_ = seen_.size();
      if (session.token_counts().generated != generated_) broken("one input, several tokens");
    }
    turn_starts_ = std::ranges::any_of(
        events, [](const Event& e) { return std::holds_alternative<TurnStarted>(e.what); });
    read_context(session);
    for (const Event& event : events) {
      if (event.time < last_time_) broken("time runs backwards");
      last_time_ = event.time;
      std::visit([&](const auto& what) { check(session, event.time, what); }, event.what);
    }
    if (interrupts_written_ != interrupts_told_) {
      broken("an interrupt in the context and no event, or the other way round");
    }
    check_step(session);
    return events;
  }

  // The session is now one that was loaded from what was saved of it: an engine has none of it.
  void reloaded(const Session& session) {
    fed_ = 0;
    check_step(session);
  }

  // The first rule that was broken; empty if none.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct Life {
    bool dispatched = false, cancelled = false, completed = false, delivered = false;
  };
  enum class Place : std::uint8_t {
    text,
    first_part,
    code,
    interrupt_id,
    interrupt_text,
    trap,
    trap_which
  };

  void broken(std::string_view rule) {
    if (problem_.empty()) {
      problem_ = std::format("{} (after {} generated tokens)", rule, generated_);
    }
  }
  void require(bool holds, std::string_view rule) {
    if (!holds) broken(rule);
  }
  [[nodiscard]] bool async_plus() const { return config_.mode == Mode::async_plus; }
  Life* life(CallKey key) {
    if (key < lives_.size()) return &lives_[key];
    broken("an event of a call that was not emitted");
    return nullptr;
  }

  // --- the context is CML, and only grows ---

  void read_context(const Session& session) {
    const auto context = session.context();
    require(context.size() <= static_cast<std::size_t>(config_.context_tokens),
            "the context is longer than its limit");
    require(context.size() >= seen_.size(), "the context has become shorter");
    for (std::size_t i = seen_.size(); i < context.size(); ++i) {
      read(context[i], static_cast<std::int32_t>(i));
      seen_.push_back(context[i]);
    }
    const auto& counts = session.token_counts();
    require(static_cast<std::size_t>(counts.prompt) + static_cast<std::size_t>(counts.injected) +
                    static_cast<std::size_t>(counts.generated) +
                    static_cast<std::size_t>(counts.forced) >=
                context.size(),
            "tokens in the context that were not counted");
    require(counts.generated - turn_began_ <= config_.max_generated,
            "more tokens than max_generated in a turn");
  }

  void read(Token token, std::int32_t position) {
    const bool text = !vocabulary_.is_control(token) && !vocabulary_.is_end_of_generation(token);
    const auto marker = markers_.marker(token);
    const auto step = [&](bool legal, Place next) {
      require(legal, std::format("{} at {} of the context is no CML", vocabulary_.spelling(token),
                                 position));
      place_ = next;
    };
    switch (place_) {
      case Place::text:
        if (text) return;
        if (marker == Marker::call) return step(true, Place::first_part);
        if (marker == Marker::trap) return step(true, Place::trap);
        if (marker == Marker::intr) {
          interrupts_written_.insert(position);
          return step(true, Place::interrupt_id);
        }
        // Roles belong to the template and come with a further user message only.
        return step(!marker && (vocabulary_.is_end_of_generation(token) || turn_starts_),
                    Place::text);
      case Place::first_part:
        if (text) return;
        return step(marker == Marker::head || marker == Marker::end,
                    marker == Marker::head ? Place::code : Place::text);
      case Place::code:
        if (!text) step(marker == Marker::end, Place::text);
        return;
      case Place::interrupt_id:
        if (!text) step(marker == Marker::head, Place::interrupt_text);
        return;
      case Place::interrupt_text:
        if (!text) step(marker == Marker::end, Place::text);
        return;
      case Place::trap:  // in async+ it may name calls: [TRAP] a b [HEAD] any [END]
        if (text) return require(async_plus(), "text inside a trap");
        if (marker == Marker::head) return step(async_plus(), Place::trap_which);
        return step(marker == Marker::end, Place::text);
      case Place::trap_which:
        if (!text) step(marker == Marker::end, Place::text);
        return;
    }
  }

  // --- each call has one life ---

  void check(const Session& session, Time now, const CallEmitted& event) {
    require(event.call == lives_.size(), "calls are not emitted in the order of their keys");
    lives_.emplace_back();
    require(session.calls()[event.call].emitted == now, "the time of a call's emission");
  }
  void check(const Session& session, Time, const CallDispatched& event) {
    Life* const call = life(event.call);
    if (call == nullptr) return;
    require(!call->dispatched && !call->completed && !session.calls()[event.call].rejected,
            "a call dispatched twice, late, or though it was rejected");
    call->dispatched = true;
  }
  void check(const Session& session, Time, const CallCancelled& event) {
    Life* const call = life(event.call);
    if (call == nullptr) return;
    require(call->dispatched && !call->cancelled && !call->completed,
            "a call cancelled that does not run");
    require(session.calls()[event.call].outcome == Outcome::cancelled,
            "a cancelled call's outcome");
    call->cancelled = true;
  }
  void check(const Session& session, Time, const CallCompleted& event) {
    Life* const call = life(event.call);
    if (call == nullptr) return;
    require(!call->completed && session.calls()[event.call].outcome.has_value(),
            "a call with two outcomes or none");
    call->completed = true;
  }
  void check(const Session& session, Time now, const InterruptDelivered& event) {
    interrupts_told_.insert(event.position);
    std::vector<Token> expected = {markers_.token(Marker::intr)};
    const auto append = [&](const std::string& text, Marker marker) {
      expected.append_range(vocabulary_.encode(text));
      expected.push_back(markers_.token(marker));
    };
    append(event.id, Marker::head);
    append(event.text, Marker::end);
    const auto at = static_cast<std::size_t>(event.position);
    require(at + expected.size() <= seen_.size() &&
                std::equal(expected.begin(), expected.end(),
                           seen_.begin() + static_cast<std::ptrdiff_t>(at)),
            "an interrupt that is not in the context as it was told");
    if (!event.call) return;
    Life* const call = life(*event.call);
    if (call == nullptr) return;
    const CallRecord& record = session.calls()[*event.call];
    require(call->completed && !call->delivered && record.delivered == now,
            "a call delivered twice or before its outcome");
    require(!record.id.empty() || record.rejected, "an interrupt for a call without an id");
    call->delivered = true;
  }

  // --- pauses, text, end ---

  void check(const Session&, Time, const TextEvent& event) {
    require(!event.text.empty(), "an empty text event");
    text_ += event.text;
  }
  void check(const Session&, Time, const ReasoningEvent&) {
    require(false, "CML has no reasoning");
  }
  void check(const Session&, Time, const ContextCut&) { require(false, "CML takes nothing back"); }
  void check(const Session&, Time, const Trapped&) {
    require(!paused_ && !finished_, "paused twice");
    paused_ = true;
  }
  void check(const Session&, Time, const Resumed&) {
    require(paused_, "resumed without a pause");
    paused_ = false;
  }
  void check(const Session& session, Time, const TurnStarted&) {
    require(finished_ || (waits_ && !paused_), "a turn started before the end of the last one");
    text_.clear();
    finished_ = false;
    turn_began_ = session.token_counts().generated;
  }
  void check(const Session&, Time, const Finished&) {
    require(!finished_, "finished twice");
    finished_ = true;
    paused_ = false;
  }

  // --- what the session wants now ---

  void check_step(const Session& session) {
    const Step step = session.step();
    require(std::holds_alternative<Done>(step) == finished_, "Done and the Finished event differ");
    if (const auto* decode = std::get_if<Decode>(&step)) return check_decode(session, *decode);
    waits_ = std::holds_alternative<Wait>(step);
    if (waits_) {
      require(config_.awaits_messages || std::ranges::any_of(session.calls(),
                                                             [](const CallRecord& call) {
                                                               return call.dispatched.has_value() &&
                                                                      !call.outcome;
                                                             }),
              "the session waits, but no call is running");
      return;
    }
    check_done(session, std::get<Done>(step).reason);
  }

  void check_decode(const Session& session, const Decode& step) {
    require(!paused_, "a paused session wants to decode");
    require(!step.append.empty(), "a decode step without tokens");
    require(fed_ + step.append.size() == seen_.size() &&
                step.append.data() == session.context().data() + fed_,
            "a decode step that is not the rest of the context");
    require(place_ == Place::text || place_ == Place::first_part || place_ == Place::code ||
                (async_plus() && (place_ == Place::trap || place_ == Place::trap_which)),
            "the model's turn inside an interrupt or a trap");
    require(session.in_critical_section() == (place_ != Place::text),
            "the critical section is not the block");
    for (const Token token : step.banned) {
      require(vocabulary_.is_control(token) || vocabulary_.is_end_of_generation(token),
              "a token of text is banned");
    }
    const auto banned = [&](Token token) { return std::ranges::contains(step.banned, token); };
    require(std::ranges::all_of(roles_, banned), "a role token can be sampled");
    require(banned(markers_.token(Marker::intr)), "[INTR] can be sampled");
  }

  void check_done(const Session& session, FinishReason reason) {
    require(std::ranges::equal(session.context(), seen_), "the context was rewritten");
    require(session.answer() == text_, "the text events are not the answer");
    require(session.calls().size() == lives_.size(), "calls without an event");
    std::set<std::string> ids;
    for (CallKey key = 0; key < lives_.size() && key < session.calls().size(); ++key) {
      const CallRecord& call = session.calls()[key];
      require(call.id.empty() || (is_identifier(call.id) && ids.insert(call.id).second),
              "a call id that is no identifier or not unique");
      require(lives_[key].completed && call.outcome.has_value(), "a call without an outcome");
      require(lives_[key].dispatched == call.dispatched.has_value() &&
                  !(call.rejected && call.dispatched),
              "a call's dispatch is not as told");
      require(lives_[key].delivered == call.delivered.has_value(), "a delivery is not as told");
      if (reason == FinishReason::stop) {
        // A silent result may come after the model's last word.
        require(lives_[key].delivered == (!call.id.empty() || call.rejected) ||
                    call.delivery == Delivery::silent,
                "stopped, and a result was not delivered");
      }
      std::optional<Time> before;
      for (const auto& time : {call.emitted, call.dispatched, call.returned, call.delivered}) {
        require(!time || !before || *before <= *time, "a call's times are out of order");
        if (time) before = time;
      }
    }
  }

  const Vocabulary& vocabulary_;
  Markers markers_;
  SessionConfig config_;
  std::vector<Token> roles_;
  std::vector<Token> seen_;  // the context after the last input
  std::size_t fed_ = 0;      // tokens of it that a step has handed out and the engine has taken
  std::int32_t generated_ = 0;
  Place place_ = Place::text;
  std::set<std::int32_t> interrupts_written_, interrupts_told_;  // positions of [INTR]
  std::vector<Life> lives_;
  Time last_time_{};
  std::string text_;
  bool paused_ = false, finished_ = false, waits_ = false, turn_starts_ = false;
  std::int32_t turn_began_ = 0;  // tokens generated at the turn's start
  std::string problem_;
};

}  // namespace asynclm
