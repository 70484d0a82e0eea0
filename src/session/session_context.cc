// SPDX-License-Identifier: Apache-2.0
// A session: what enters the context, and when.
#include <algorithm>
#include <format>
#include <utility>

#include "base/utf8.h"
#include "session/session_impl.h"

namespace asynclm {

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
    tokens += tokens_around() + vocabulary.encode(interrupt.id).size() +
              vocabulary.encode(interrupt.text).size();
  }
  return has_room(tokens);
}

// Whatever may enter the context now: of a model that writes (not idle), not what waits until it
// does not.
void Session::Impl::deliver_interrupts(bool idle, Time now) {
  std::vector<PendingInterrupt> first, later;
  for (PendingInterrupt& interrupt : std::exchange(queue, {})) {
    const bool waits = !idle && interrupt.delivery == Delivery::when_idle;
    (waits ? later : first).push_back(std::move(interrupt));
  }
  queue = std::move(later);
  if (first.empty()) return;
  const Result<void> told = tell(std::move(first), now);
  if (told) return;
  if (told.error().code == ErrorCode::limit_exceeded) {
    return finish(FinishReason::context_full, now);
  }
  error = told.error();
  finish(FinishReason::error, now);
}

Result<void> Session::Impl::append_told(std::span<const Token> tokens,
                                        std::span<PendingInterrupt> interrupts, Time now) {
  if (!has_room(tokens.size() + 1)) {  // and for the token that answers
    return fail(ErrorCode::limit_exceeded, "the interrupt does not fit into the context");
  }
  const auto position = static_cast<std::int32_t>(context.size());
  context.insert(context.end(), tokens.begin(), tokens.end());
  counts.injected += static_cast<std::int32_t>(tokens.size());
  for (PendingInterrupt& interrupt : interrupts) {
    if (const auto call = interrupt.call) calls[*call].delivered = now;
    if (config.drafts) source.add(interrupt.text);
    emit(now, InterruptDelivered{interrupt.call, std::move(interrupt.id), std::move(interrupt.text),
                                 position});
  }
  line_bytes = word_bytes = 0;
  return {};
}

void Session::Impl::cut_context(std::size_t size, Time now) {
  if (size >= context.size()) return;
  context.resize(size);
  if (fed <= size) return;
  fed = size;
  emit(now, ContextCut{static_cast<std::int32_t>(size)});
}

void Session::Impl::resume(Time now) {
  state = State::generating;
  emit(now, Resumed{});
  if (!in_critical_section()) deliver_interrupts(/*idle=*/true, now);
}

// What is in the queue begins a new turn. The context is as it was where this fails.
Result<void> Session::Impl::open_turn(Time now) {
  const auto turn = new_turn();
  if (!turn) return std::unexpected(turn.error());
  if (!has_room(turn->tokens.size() + 1)) {
    return fail(ErrorCode::limit_exceeded, "the message does not fit into the context");
  }
  const std::size_t begin = context.size();
  context.insert(context.end(), turn->tokens.begin(), turn->tokens.end());
  counts.injected += static_cast<std::int32_t>(turn->tokens.size());
  begin_turn();
  line_bytes = word_bytes = 0;
  if (monitor) monitor->close();
  state = State::generating;
  answer.clear();
  answer_sent = 0;
  idle_traps = 0;
  turn_began = counts.generated;
  emit(now, TurnStarted{});
  std::size_t told = 0;
  for (PendingInterrupt& interrupt : std::exchange(queue, {})) {
    if (config.drafts) source.add(interrupt.text);
    if (interrupt.id == "user") continue;
    const std::size_t position = begin + turn->begins[told++];
    if (const auto call = interrupt.call) calls[*call].delivered = now;
    emit(now, InterruptDelivered{interrupt.call, std::move(interrupt.id), std::move(interrupt.text),
                                 static_cast<std::int32_t>(position)});
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
  if (state == State::generating && !in_critical_section() && !in_line() &&
      std::ranges::any_of(queue, now_wanted)) {
    deliver_interrupts(/*idle=*/false, now);
  }
  check_limits(now);
}

}  // namespace asynclm
