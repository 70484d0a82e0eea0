// SPDX-License-Identifier: Apache-2.0
// Quotations: code spans, block quotes, fences and data. Nothing in them is a call.
#include <utility>

#include "base/ascii.h"
#include "dialect/reader_answer.h"

namespace asynclm::dialect {

// At the first byte of a line that is no space and no mark.
Task<bool> AnswerReader::opens_line(int c) {
  if (c == '>') co_return co_await quoted_line();
  if (c == '`' || c == '~') co_return co_await fence(c);
  if (!visible()) co_return false;
  if (c == '{' || c == '[') {
    const bool behind_text = place_.text_seen && !place_.object_seen && unmarked_may_count();
    if (behind_text && co_await unmarked(true)) co_return true;
    co_return co_await data_value();
  }
  if (!unmarked_may_count()) co_return false;
  if (options_.own == ReaderOptions::Template::action && co_await looks_at(in.at, "Action:") &&
      co_await unmarked(false))
    co_return true;
  co_return co_await inner_form(true);
}

// One byte of a quotation. False where it is not part of it: a mark that ends the turn or, in
// reasoning, the reasoning.
Task<bool> AnswerReader::quoted_byte() {
  const int c = co_await in.next();
  if (c < 0) co_return false;
  if (may_begin_mark(static_cast<char>(c))) {
    const Mark* mark = co_await mark_at(in.at);
    if (mark != nullptr) {
      if (mark->role == MarkRole::think_close && !visible()) co_return false;
      const bool ends = mark->role == MarkRole::turn_end || mark->role == MarkRole::harmony_end;
      if (ends && (place_.harmony || co_await turn_is_over(in.at + mark->text.size())))
        co_return false;
    }
  }
  if (c == '{' && !place_.object_seen && visible())
    place_.object_seen = co_await looks_like_call(in.at);
  pass(in.at + 1);
  co_return true;
}

Task<bool> AnswerReader::quoted_line() {
  for (int c = co_await in.next(); c >= 0 && c != '\n'; c = co_await in.next()) {
    if (!(co_await quoted_byte())) break;
  }
  co_return true;
}

Task<bool> AnswerReader::fence(int c) {
  std::size_t offset = in.at;
  while (co_await in.peek(offset) == c) ++offset;
  const std::size_t ticks = offset - in.at;
  if (ticks < 3) co_return false;
  std::string info;
  constexpr std::size_t kMaxInfo = 256;  // bytes
  for (int b = co_await in.peek(offset); b >= 0 && b != '\n' && info.size() < kMaxInfo;
       b = co_await in.peek(++offset)) {
    if (b == '`' && c == '`') co_return false;  // a code span
    info += static_cast<char>(b);
  }
  while (!info.empty() && ascii::is_space(info.back())) info.pop_back();
  if (info == "tool_code" && options_.habits && !place_.harmony && co_await tool_code(offset))
    co_return true;
  while (in.at < offset) {
    if (!(co_await quoted_byte())) co_return true;
  }
  // Up to as many of the same at the end of a line.
  std::size_t run = 0;
  for (;;) {
    const int b = co_await in.next();
    const std::size_t end = run < ticks ? in.at : co_await after_blanks(in.at);
    const int behind = run < ticks ? b : co_await in.peek(end);
    if (run >= ticks && b != c && (behind < 0 || behind == '\n' || behind == '\r')) co_return true;
    if (!(co_await quoted_byte())) co_return true;
    run = b == c ? run + 1 : 0;
  }
}

// Whether a line has one word more at most.
Task<bool> AnswerReader::only_a_word(std::size_t offset) {
  constexpr std::size_t kLongest = 32;  // bytes
  const std::size_t most = offset + kLongest;
  for (int c = co_await in.peek(offset); c >= 0 && !ascii::is_space(c);
       c = co_await in.peek(++offset)) {
    if (c == '`' || offset > most) co_return false;
  }
  const int c = co_await in.peek(co_await after_blanks(offset));
  co_return c == '\n' || c == '\r';
}

Task<bool> AnswerReader::code_span() {
  const std::size_t begin = in.at;
  std::size_t offset = begin;
  while (co_await in.peek(offset) == '`') ++offset;
  const std::size_t ticks = offset - begin;
  if (ticks >= 3 && begin > 0 && ascii::is_space(in[begin - 1]) && co_await only_a_word(offset))
    co_return co_await fence('`');  // behind a list's bullet or a colon
  if (ticks > kMaxTicks || begin < no_span_before_[ticks]) {
    pass(offset);
    co_return true;
  }
  // A span ends in its line, but for one that quotes a block of several lines.
  const bool quotes_mark = co_await mark_at(offset) != nullptr;
  constexpr std::size_t kMaxSpan = 1 << 16;  // bytes
  std::size_t run = 0;
  bool line_blank = false;
  for (std::size_t at = offset; at < begin + kMaxSpan; ++at) {
    const int c = co_await in.peek(at);
    if (c != '`' && run == ticks) {
      pass(at);
      co_return true;
    }
    run = c == '`' ? run + 1 : 0;
    if (c < 0 || (c == '\n' && (!quotes_mark || line_blank))) {
      no_span_before_[ticks] = at;
      break;
    }
    if (c == '\n') line_blank = true;
    if (!ascii::is_space(c)) line_blank = false;
  }
  pass(offset);
  co_return true;
}

// JSON in the text. Its strings may hold anything.
Task<bool> AnswerReader::data_value() {
  const std::size_t first = co_await after_space(in.at + 1);
  const int c = co_await in.peek(first);
  if (c != '"' && c != '{' && c != '[') co_return false;
  if (!place_.object_seen) place_.object_seen = co_await looks_like_call(in.at);
  seen();
  place_.line_blank = false;
  // What is malformed is text up to there: a string that does not end must not hide what follows.
  ValueReader values(in, {.one_line = true});
  JsonText ignored;
  (void)co_await values.value(ignored);
  place_.line_end = "}";
  co_return true;
}

// Whether the object at `offset` begins as calls do.
Task<bool> AnswerReader::looks_like_call(std::size_t offset) {
  if (co_await in.peek(offset) != '{') co_return false;
  offset = co_await after_space(offset + 1);
  const int quote = co_await in.peek(offset);
  if (quote != '"' && quote != '\'') co_return false;
  std::string name;
  constexpr std::size_t kLongest = 16;  // bytes
  for (int c = co_await in.peek(++offset); c >= 0 && c != quote && name.size() < kLongest;
       c = co_await in.peek(++offset)) {
    name += static_cast<char>(c);
  }
  co_return name == "name" || name == "tool_name" || name == "arguments" || name == "parameters" ||
      name == "type" || name == "function";
}

}  // namespace asynclm::dialect
