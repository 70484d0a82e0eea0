// SPDX-License-Identifier: Apache-2.0
// A session: what enters the context, and when.
#include <algorithm>
#include <format>
#include <utility>

#include "base/utf8.h"
#include "cml/chat_template.h"
#include "cml/writer.h"
#include "session/session_impl.h"

namespace asynclm {

void Session::Impl::append_marker(Marker marker) {
  context.push_back(markers.token(marker));
  ++counts.injected;
}

void Session::Impl::queue_interrupt(PendingInterrupt interrupt) {
  const auto limit = static_cast<std::size_t>(config.max_result_bytes);
  // What people and other models write is refused where it is too long (Session::interrupt).
  if (interrupt.origin != Origin::user && interrupt.text.size() > limit) {
    std::string& text = interrupt.text;
    const std::size_t total = text.size();
    text.resize(complete_utf8_prefix(std::string_view(text).substr(0, limit), 0));
    text += std::format("… (cut: {} bytes in all)", total);
  }
  queue.push_back(std::move(interrupt));
}

bool Session::Impl::queue_wakes() const {
  return std::ranges::any_of(queue, [](const auto& i) { return i.delivery != Delivery::silent; });
}

// As it is now: what comes before it is delivered may still take the room.
bool Session::Impl::queue_fits() const {
  std::size_t tokens = 1;  // the one that answers
  for (const PendingInterrupt& interrupt : queue) {
    constexpr std::size_t kMarkers = 3;  // [INTR] id [HEAD] text [END]
    tokens += kMarkers + vocabulary.encode(interrupt.id).size() +
              vocabulary.encode(interrupt.text).size();
  }
  return has_room(tokens);
}

// Whatever may enter the context now: of a model that writes (not idle), not what waits until it
// does not.
void Session::Impl::deliver_interrupts(bool idle, Time now) {
  std::vector<PendingInterrupt> later;
  std::vector<Token> tokens;
  for (PendingInterrupt& interrupt : std::exchange(queue, {})) {
    if (!idle && interrupt.delivery == Delivery::when_idle) {
      later.push_back(std::move(interrupt));
      continue;
    }
    tokens.clear();
    const auto spans = interrupt_spans(markers, interrupt.id, interrupt.text, interrupt.origin);
    if (auto ok = append_spans(vocabulary, spans, tokens); !ok) {
      error = ok.error();
      return finish(FinishReason::error, now);
    }
    // Room for the token that answers.
    if (!has_room(tokens.size() + 1)) return finish(FinishReason::context_full, now);
    const auto position = static_cast<std::int32_t>(context.size());
    context.insert(context.end(), tokens.begin(), tokens.end());
    counts.injected += static_cast<std::int32_t>(tokens.size());
    if (const auto call = interrupt.call) calls[*call].delivered = now;
    if (config.drafts) source.add(interrupt.text);
    emit(now, InterruptDelivered{interrupt.call, std::move(interrupt.id), std::move(interrupt.text),
                                 position});
    line_bytes = word_bytes = 0;
  }
  queue = std::move(later);
}

void Session::Impl::resume(Time now) {
  state = State::generating;
  emit(now, Resumed{});
  deliver_interrupts(/*idle=*/true, now);
}

// What is in the queue begins a new turn: users' texts are its text, the rest are interrupts. The
// context is as it was where this fails.
Result<void> Session::Impl::open_turn(Time now) {
  const auto is_user_text = [](const PendingInterrupt& i) { return i.id == "user"; };
  std::vector<Span> content;
  bool after_text = false;
  for (const PendingInterrupt& interrupt : queue) {
    if (is_user_text(interrupt)) {
      const std::string_view between = std::exchange(after_text, true) ? "\n" : "";
      content.emplace_back(TextSpan{std::string(between) + interrupt.text, Origin::user});
    } else {
      content.append_range(
          interrupt_spans(markers, interrupt.id, interrupt.text, interrupt.origin));
    }
  }
  // A turn that the model did not end may have been left in a block.
  std::vector<Token> tokens;
  if (parser.in_block()) tokens.push_back(markers.token(Marker::end));
  const bool ended = state == State::draining || finish_reason == FinishReason::stop;
  const auto spans = render_next_turn(vocabulary, content, ended);
  if (!spans) return std::unexpected(spans.error());
  if (auto ok = append_spans(vocabulary, *spans, tokens); !ok) return ok;
  if (!has_room(tokens.size() + 1)) {
    return fail(ErrorCode::limit_exceeded, "the message does not fit into the context");
  }
  const auto begin = static_cast<std::ptrdiff_t>(context.size());
  context.insert(context.end(), tokens.begin(), tokens.end());
  counts.injected += static_cast<std::int32_t>(tokens.size());
  parser.begin_turn();
  line_bytes = word_bytes = 0;
  if (monitor) monitor->close();
  state = State::generating;
  answer.clear();
  answer_sent = 0;
  idle_traps = 0;
  turn_began = counts.generated;
  emit(now, TurnStarted{});
  // Only interrupts have the marker.
  auto at = context.begin() + begin;
  for (PendingInterrupt& interrupt : std::exchange(queue, {})) {
    if (config.drafts) source.add(interrupt.text);
    if (is_user_text(interrupt)) continue;
    at = std::find(at, context.end(), markers.token(Marker::intr));
    if (const auto call = interrupt.call) calls[*call].delivered = now;
    emit(now, InterruptDelivered{interrupt.call, std::move(interrupt.id), std::move(interrupt.text),
                                 static_cast<std::int32_t>(at - context.begin())});
    ++at;
  }
  return {};
}

void Session::Impl::finish(FinishReason reason, Time now) {
  if (state == State::done) return;
  state = State::done;
  finish_reason = reason;
  draft = {};
  collected.clear();
  held.clear();
  for (CallKey key = 0; key < calls.size(); ++key) {
    CallRecord& call = calls[key];
    if (call.outcome) continue;
    call.outcome = Outcome::cancelled;
    call.result = "cancelled: the turn ended";
    call.returned = now;
    if (call.dispatched) emit(now, CallCancelled{key});
    emit(now, CallCompleted{key});
    // For the next turn, if there is one.
    if (!call.id.empty()) {
      queue_interrupt(
          {key, call.id, "error: " + call.result, Origin::runtime, Delivery::interrupt});
    }
  }
  open_named = open_silent = open_unnamed = 0;
  if (answer_sent < answer.size()) {  // an incomplete character that will not be completed
    emit(now, TextEvent{answer.substr(answer_sent)});
    answer_sent = answer.size();
  }
  emit(now, Finished{reason});
}

void Session::Impl::check_limits(Time now) {
  if (state != State::generating) return;
  if (counts.generated - turn_began >= config.max_generated) {
    return finish(FinishReason::length, now);
  }
  if (!has_room(1)) finish(FinishReason::context_full, now);
}

// What came in meanwhile is delivered at once, but not inside a block or a line.
void Session::Impl::after_input(Time now) {
  const auto now_wanted = [](const auto& i) { return i.delivery == Delivery::interrupt; };
  if (state == State::generating && !parser.in_block() && !in_line() &&
      std::ranges::any_of(queue, now_wanted)) {
    deliver_interrupts(/*idle=*/false, now);
  }
  check_limits(now);
}

}  // namespace asynclm
