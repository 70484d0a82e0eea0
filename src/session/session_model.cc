// SPDX-License-Identifier: Apache-2.0
// A session: what the model wrote.
#include <algorithm>
#include <utility>

#include "base/utf8.h"
#include "session/session_impl.h"

namespace asynclm {
namespace {

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

}  // namespace

// A token that the model has written, or could only have written.
void Session::Impl::take(Token token, Time now) {
  const bool was_in_block = parser.in_block();
  const Parser::Event event = parser.read(token);
  if (monitor) {
    if (parser.in_block() && (!was_in_block || event == Parser::Event::malformed)) {
      const Marker marker = *markers.marker(token);
      monitor->open(marker, nameable(marker));
    } else if (event == Parser::Event::malformed) {
      monitor->close();
    } else if (was_in_block) {
      monitor->advance(token);
    }
  }
  // What breaks a rule, or ends the turn, does not enter the context.
  if (event != Parser::Event::malformed && event != Parser::Event::end_of_turn) {
    context.push_back(token);
  }
  if (event != Parser::Event::text) line_bytes = word_bytes = 0;
  switch (event) {
    case Parser::Event::none:
      break;
    case Parser::Event::text:
      return on_text(parser.text(), now);
    case Parser::Event::call:
      return on_call(now);
    case Parser::Event::trap:
      return on_trap(now);
    case Parser::Event::end_of_turn:
      return on_stop(token, now);
    case Parser::Event::malformed:
      return on_malformed(was_in_block, now);
  }
}

// The calls that a block may name, in async+. A trap that waits for what the model has would not
// wait.
std::vector<CallName> Session::Impl::nameable(Marker marker) const {
  std::vector<CallName> names;
  if (!async_plus()) return names;
  for (const CallRecord& call : calls) {
    if (call.id.empty() || (marker == Marker::trap && call.delivered)) continue;
    names.push_back({call.id, !call.outcome});
  }
  return names;
}

// Tokens that cannot be others are not asked for: they ride with the next step. The block's last
// one may be among them, then its call is dispatched before it was decoded.
void Session::Impl::jump_forward(Time now) {
  if (!config.jump_forward || !monitor) return;
  while (state == State::generating && monitor->is_open()) {
    const auto forced = monitor->forced();
    if (forced.empty()) return;
    for (const Token token : std::vector<Token>(forced.begin(), forced.end())) {
      if (!has_room(1) || state != State::generating) return;
      ++counts.forced;
      take(token, now);
    }
  }
}

// What the rest of an argument may be.
void Session::Impl::propose() {
  if (!config.drafts || state != State::generating || !monitor || !monitor->is_open()) return;
  const std::size_t limit = std::min(
      {kMaxDraftTokens, static_cast<std::size_t>(parser.block_room()),
       static_cast<std::size_t>(config.max_generated - (counts.generated - turn_began) - 1),
       static_cast<std::size_t>(config.context_tokens) - context.size() - 1});
  draft = monitor->draft(source.continuation(monitor->written()), limit);
}

void Session::Impl::flush_text(Time now) {
  const std::size_t complete = complete_utf8_prefix(answer, answer_sent);
  if (complete == answer_sent) return;
  emit(now, TextEvent{answer.substr(answer_sent, complete - answer_sent)});
  answer_sent = complete;
}

// Many tokenizers put the space before a word into its first token: such a word may have ended.
void Session::Impl::on_text(std::string_view text, Time now) {
  const bool may_have_ended = is_space(text.front()) || is_space(text.back());
  word_bytes = may_have_ended ? 0 : word_bytes + text.size();
  const auto newline = text.rfind('\n');
  line_bytes = newline == text.npos ? line_bytes + text.size() : text.size() - newline - 1;
  answer += text;
  flush_text(now);
}

// The context stays one that a model could have written: the token that broke a rule is left out of
// it, and a broken block is closed.
void Session::Impl::on_malformed(bool was_in_block, Time now) {
  const bool opens_block = parser.in_block();
  if (!has_room(opens_block ? 2 : 1)) return finish(FinishReason::context_full, now);
  if (was_in_block) append_marker(Marker::end);
  if (opens_block) {
    append_marker(Marker::call);
    --counts.injected;  // the token that the model wrote
  }
  const auto key = static_cast<CallKey>(calls.size());
  CallRecord& call = calls.emplace_back();
  call.emitted = now;
  call.code = parser.code();
  emit(now, CallEmitted{key});
  reject_anonymous(key, std::format("malformed block: {}", parser.problem()), now);
}

void Session::Impl::on_trap(Time now) {
  if (!async_plus()) {
    if (!has_room(1)) return finish(FinishReason::context_full, now);
    append_marker(Marker::end);
  }
  emit(now, Trapped{});
  if (async_plus() && !parser.id().empty()) return wait_for_named(now);
  wait_for_calls(now);
}

// Pauses the model until a result is there. It may be there already.
void Session::Impl::on_stop(Token token, Time now) {
  if (open_named > 0 || queue_wakes()) {
    // The model stopped without a trap: its calls' results are delivered all the same, and it may
    // go on. The end token does not enter the context; a trap stands in its place, so that the
    // context stays one that the model was trained on.
    if (!has_room(2)) return finish(FinishReason::context_full, now);
    append_marker(Marker::trap);
    append_marker(Marker::end);
    emit(now, Trapped{.by_stop = open_named > 0});
    return wait_for_calls(now);
  }
  context.push_back(token);
  for (const CallKey key : std::exchange(collected, {})) dispatch(key, now);
  if (open_unnamed > 0 || open_silent > 0) {
    state = State::draining;
    return;
  }
  finish(FinishReason::stop, now);
}

}  // namespace asynclm
