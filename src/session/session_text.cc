// SPDX-License-Identifier: Apache-2.0
// A session: text, and tokens that are not asked for.
#include <algorithm>
#include <utility>

#include "base/ascii.h"
#include "base/utf8.h"
#include "session/session_impl.h"

namespace asynclm {

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
      {kMaxDraftTokens, static_cast<std::size_t>(block_room()),
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
  const bool may_have_ended = ascii::is_space(text.front()) || ascii::is_space(text.back());
  word_bytes = may_have_ended ? 0 : word_bytes + text.size();
  const auto newline = text.rfind('\n');
  line_bytes = newline == text.npos ? line_bytes + text.size() : text.size() - newline - 1;
  answer += text;
  flush_text(now);
}

}  // namespace asynclm
