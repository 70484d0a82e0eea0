// SPDX-License-Identifier: Apache-2.0
// Calls with marks, in the visible text and in the reasoning.
#include <utility>

#include "dialect/reader_answer.h"

namespace asynclm::dialect {

Task<bool> AnswerReader::marked_block(const Mark& open) {
  const std::size_t begin = in.at;
  if (open.text.starts_with("functools") && begin > 0) {  // an ordinary word of Python
    const char before = in[begin - 1];
    if (before == '_' || before == '.' || (before >= '0' && before <= 'z' && before != ':'))
      co_return false;
  }
  begin_attempt(begin, open.text);
  in.at = begin + open.text.size();
  Block block = co_await blocks_.block(open);
  if (block.state == Block::State::calls && !in.limited())
    co_return co_await deliver(begin, block.calls, open);
  if (block.state == Block::State::section) {
    const Mark* inner = co_await mark_at(in.at);
    const bool opens = inner != nullptr && is_own(*inner);
    end_attempt();
    if (opens && co_await marked_call(*inner, begin)) co_return true;
  }
  fail_attempt(begin);
  if (in.at > begin) co_return true;
  co_return co_await mention(open);
}

// An opening mark in front of which a wrapper may stand, which begins at `begin`.
Task<bool> AnswerReader::marked_call(const Mark& open, std::size_t begin) {
  const std::size_t body = in.at + open.text.size();
  begin_attempt(begin, open.text);
  in.at = body;
  Candidate call;
  std::vector<Candidate> calls;
  const Got got = co_await blocks_.call(open, call);
  if (got == Got::value && !in.limited()) {
    calls.push_back(std::move(call));
    co_return co_await deliver(begin, calls, open);
  }
  fail_attempt(begin);
  if (in.at > begin) co_return true;
  co_return co_await mention(*co_await mark_at(begin));
}

// The calls of a block that ends at `at`.
Task<bool> AnswerReader::deliver(std::size_t begin, const std::vector<Candidate>& calls,
                                 const Mark& mark) {
  const std::size_t end = in.at;
  // In the middle of a sentence it is a quotation. Whether the sentence goes on is looked at only
  // there: elsewhere a call is reported with its last byte.
  const bool inside = visible() && in_sentence() && !in.view(begin, end).contains('\n');
  if (inside && co_await prose_follows(end)) {
    end_attempt();
    events_.emplace_back(CallDropped{begin});
    pass_unread(begin);
    pass(end);
    co_return true;
  }
  end_attempt();
  std::vector<CallRead> good;
  std::vector<CallRefused> bad;
  for (const Candidate& call : calls) {
    if (auto read = judge(call, mark.text)) {
      good.push_back(std::move(*read));
    } else {
      using enum CallRefused::Reason;
      bad.push_back({call.tool ? bad_arguments : unknown_tool, call.name, call.begin, call.end});
    }
  }
  if (!visible()) {
    if (good.empty()) {
      events_.emplace_back(CallDropped{begin});
      pass_unread(begin);
      pass(end);
      co_return true;
    }
    rehearsed_text_ += in.view(begin, end);
    for (CallRead& call : good) rehearsed_.push_back(std::move(call));
    drop(begin, end);
    co_return true;
  }
  for (CallRefused& refused : bad) events_.emplace_back(std::move(refused));
  if (good.empty() && !calls.empty()) {
    events_.emplace_back(CallDropped{begin});
    pass_unread(begin);
    pass(end);
    co_return true;
  }
  rehearsed_.clear();  // a call follows the reasoning
  if (!rehearsed_text_.empty()) emit(Region::reasoning, std::exchange(rehearsed_text_, {}));
  drop(begin, end);
  report(std::move(good));
  co_return true;
}

// An opening mark at `at` that opens nothing: in front of other marks or the end it is left over,
// else somebody speaks of it.
Task<bool> AnswerReader::mention(const Mark& mark) {
  const std::size_t begin = in.at;
  const std::size_t behind = begin + mark.text.size();
  const std::size_t next = co_await after_space(behind);
  if (co_await in.peek(next) < 0 || co_await mark_at(next) != nullptr) {
    if (mark.role == MarkRole::block_open || mark.text.ends_with('>')) {
      drop(begin, behind);
      co_return true;
    }
  }
  const bool wraps = mark.role == MarkRole::block_open && !in_sentence();
  pass(behind);
  place_.wrapper_in_line = wraps;
  co_return true;
}

// A tool_code fence whose body begins at `body`; `at` is at its first backtick.
Task<bool> AnswerReader::tool_code(std::size_t body) {
  const std::size_t begin = in.at;
  begin_attempt(begin, "```tool_code");
  in.at = body;
  std::vector<Candidate> calls;
  const Got got = co_await blocks_.code(calls);
  if (got == Got::value && !calls.empty() && !in.limited()) {
    constexpr Mark kFence{"```tool_code", MarkRole::block_open};
    co_return co_await deliver(begin, calls, kFence);
  }
  fail_attempt(begin);
  co_return in.at > begin;
}

}  // namespace asynclm::dialect
