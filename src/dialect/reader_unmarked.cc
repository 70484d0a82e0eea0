// SPDX-License-Identifier: Apache-2.0
// Calls without marks. They count only where they are all of the answer, or all of its end: one
// part that is no call makes all of it text.
#include <algorithm>
#include <array>
#include <utility>

#include "base/ascii.h"
#include "dialect/reader_answer.h"

namespace asynclm::dialect {
namespace {

// Fences that hold calls, and what they are called in events.
struct Fence {
  std::string_view info, mark;
};
constexpr std::array<Fence, 8> kFences = {{{"", "```"},
                                           {"json", "```json"},
                                           {"xml", "```xml"},
                                           {"tool_call", "```tool_call"},
                                           {"tool_calls", "```tool_calls"},
                                           {"tool", "```tool"},
                                           {"function_call", "```function_call"},
                                           {"function_calls", "```function_calls"}}};

}  // namespace

bool AnswerReader::unmarked_may_count() const {
  return options_.habits && !place_.harmony && options_.own != ReaderOptions::Template::recipients;
}

bool AnswerReader::may_be_whole(int c) const {
  if (!visible() || place_.whole_tried || place_.text_seen || place_.harmony) return false;
  if (!options_.habits) return options_.own == ReaderOptions::Template::no_mark && c == '{';
  if (!unmarked_may_count()) return false;
  return c == '{' || c == '[' || c == '`' || ascii::is_name_start(c) || c >= 0x80;
}

bool AnswerReader::take(Found& found, const Candidate& call, std::string_view mark) const {
  auto read = judge(call, mark);
  if (!read) return false;
  found.calls.push_back(std::move(*read));
  return true;
}

// At the first byte of the answer, or of a line behind text. True where the calls were taken.
Task<bool> AnswerReader::unmarked(bool behind_text) {
  const std::size_t begin = in.at;
  {
    // What may be a mark is looked at first.
    const Mark* mark = co_await mark_at(begin);
    if (mark != nullptr) {
      place_.whole_tried = false;
      co_return false;
    }
  }
  begin_attempt(begin, {});
  Found found;
  std::size_t end = begin;
  bool taken = false;
  for (;;) {
    std::size_t next = co_await after_space(in.at);
    const int separator = co_await in.peek(next);
    if (!found.calls.empty() && (separator == ',' || separator == ';'))
      next = co_await after_space(next + 1);
    in.at = next;
    const int c = co_await in.next();
    const bool ends = c < 0 || (co_await turn_ends(next) && co_await turn_is_over(next));
    if (ends) {
      taken = !found.calls.empty() && !in.limited() && in.ending() != Ending::limit;
      break;
    }
    // {…}</tool_call>: only the opening mark is missing.
    const Mark* mark = co_await mark_at(next);
    if (mark != nullptr && mark->role == MarkRole::block_close && !found.calls.empty()) {
      end = next + mark->text.size();
      taken = true;
      break;
    }
    if (mark != nullptr && mark->role == MarkRole::turn_end) {
      const Mark* behind = co_await mark_at(co_await after_space(next + mark->text.size()));
      const bool over = co_await turn_is_over(next + mark->text.size());
      if (over || behind != nullptr) {
        taken = !found.calls.empty() && !in.limited();
        break;
      }
    }
    const std::size_t before = found.calls.size();
    const bool objects_before = found.only_objects;
    if (co_await unmarked_item(found, behind_text)) {
      end = in.at;
      continue;
    }
    // Llama 3: prose behind the objects that open the answer does not make them text.
    taken = !behind_text && before > 0 && before == found.calls.size() && objects_before &&
            c != '{' && c != '[' && options_.own == ReaderOptions::Template::no_mark;
    break;
  }
  if (!taken) {
    place_.object_seen = place_.object_seen || co_await looks_like_call(begin);
    fail_attempt(begin);
    co_return in.at > begin;
  }
  end_attempt();
  place_.object_seen = true;
  rehearsed_.clear();
  if (!rehearsed_text_.empty()) emit(Region::reasoning, std::exchange(rehearsed_text_, {}));
  drop(begin, end);
  report(std::move(found.calls));
  co_return true;
}

Task<bool> AnswerReader::unmarked_item(Found& found, bool behind_text) {
  const int c = co_await in.next();
  if (c == '{') {
    Candidate call;
    if (co_await blocks_.object(call, true) != Got::value) co_return false;
    co_return take(found, call, {});
  }
  if (!options_.habits) co_return false;
  if (c == '[') {
    if (!behind_text && co_await bracketed(found)) co_return true;
    const int first = co_await in.peek(co_await after_space(in.at + 1));
    if (behind_text && first != '{') co_return false;
    found.only_objects = false;
    std::vector<Candidate> calls;
    if (co_await blocks_.list(calls, true) != Got::value || calls.empty()) co_return false;
    co_return std::ranges::all_of(calls,
                                  [&](const Candidate& call) { return take(found, call, {}); });
  }
  if (behind_text) co_return false;
  found.only_objects = false;
  if (c == '`') co_return co_await unmarked_fence(found);
  constexpr std::string_view kAction = "Action:";  // Command R
  if (found.calls.empty() && co_await looks_at(in.at, kAction)) {
    in.at = co_await after_space(in.at + kAction.size());
    const int next = co_await in.next();
    if (next == '`') co_return co_await unmarked_fence(found);
    co_return next == '[' && co_await unmarked_item(found, false);
  }
  co_return co_await named_call(found, {});
}

// [Calling tool: name({…})]
Task<bool> AnswerReader::bracketed(Found& found) {
  constexpr std::string_view kHead = "[Calling tool";
  if (!(co_await looks_at(in.at, kHead))) co_return false;
  std::size_t offset = in.at + kHead.size();
  if (co_await in.peek(offset) == 's') ++offset;
  if (co_await in.peek(offset) != ':') co_return false;
  in.at = offset + 1;
  for (;;) {
    in.at = co_await after_space(in.at);
    Candidate call;
    call.form = CallForm::python;
    call.begin = in.at;
    call.name = co_await blocks_.name();
    call.tool = tools_.find(call.name);
    if (!call.tool) co_return false;
    blocks_.tell(call);
    in.at = co_await after_blanks(in.at);
    if (co_await in.next() == '(') {
      in.at = co_await after_space(in.at + 1);
      if (co_await in.next() == '{') {
        if (co_await blocks_.arguments(call) != Got::value) co_return false;
        in.at = co_await after_space(in.at);
        if (co_await in.next() != ')') co_return false;
        ++in.at;
      } else {
        ValueReader values(in);
        call.arguments.emplace();
        if (co_await values.python_arguments(*call.arguments) != Got::value) co_return false;
      }
    }
    call.end = in.at;
    if (!take(found, call, {})) co_return false;
    in.at = co_await after_space(in.at);
    const int c = co_await in.next();
    ++in.at;
    if (c == ']') co_return true;
    if (c != ',') co_return false;
  }
}

// A fence that holds calls only.
Task<bool> AnswerReader::unmarked_fence(Found& found) {
  if (!(co_await looks_at(in.at, "```"))) co_return false;
  in.at += 3;
  std::string info;
  for (int c = co_await in.next(); ascii::is_name_start(c) && info.size() < 16;
       c = co_await in.next()) {
    info += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    ++in.at;
  }
  const auto known = std::ranges::find(kFences, info, &Fence::info);
  if (known == kFences.end()) co_return false;
  attempt_mark_ = known->mark;
  const std::size_t before = found.calls.size();
  for (;;) {
    in.at = co_await after_space(in.at);
    int c = co_await in.next();
    const bool more = found.calls.size() > before;
    if (more && (c == ',' || c == ';')) {
      in.at = co_await after_space(in.at + 1);
      c = co_await in.next();
    }
    if (co_await looks_at(in.at, "```")) {
      in.at += 3;
      co_return more;
    }
    if (c < 0 || co_await turn_ends(in.at)) co_return more;  // the fence is not closed
    const Mark* mark = co_await mark_at(in.at);
    if (mark != nullptr) {
      if (!(co_await marked_in_fence(found, *mark, known->mark))) co_return false;
    } else if (c == '{') {
      Candidate call;
      if (co_await blocks_.object(call, true) != Got::value) co_return false;
      if (!take(found, call, known->mark)) co_return false;
    } else if (c == '[') {
      std::vector<Candidate> calls;
      if (co_await blocks_.list(calls, true) != Got::value || calls.empty()) co_return false;
      for (const Candidate& call : calls) {
        if (!take(found, call, known->mark)) co_return false;
      }
    } else if (!info.empty() || !(co_await named_call(found, known->mark))) {
      co_return false;
    }
  }
}

Task<bool> AnswerReader::marked_in_fence(Found& found, const Mark& mark, std::string_view fence) {
  const std::size_t begin = in.at;
  in.at = begin + mark.text.size();
  std::vector<Candidate> calls;
  switch (mark.role) {
    case MarkRole::section:
    case MarkRole::block_close:
    case MarkRole::call_close:
      co_return true;
    case MarkRole::block_open: {
      Block block = co_await blocks_.block(mark);
      if (block.state == Block::State::section) co_return true;
      if (block.state != Block::State::calls) co_return false;
      calls = std::move(block.calls);
      break;
    }
    case MarkRole::call_open: {
      Candidate call;
      if (co_await blocks_.call(mark, call) != Got::value) co_return false;
      calls.push_back(std::move(call));
      break;
    }
    default:
      co_return false;
  }
  for (const Candidate& call : calls) {
    if (!take(found, call, fence)) co_return false;
  }
  co_return true;
}

// Whether a declared name, with what may stand in front of one, begins at `offset` and ends there.
Task<bool> AnswerReader::declared_name_at(std::size_t offset) {
  std::string name;
  for (;; ++offset) {
    const int c = co_await in.peek(offset);
    const bool ends = c < 0 || std::string_view(" \t\r\n({[<").contains(static_cast<char>(c));
    if (ends && tools_.find(name, NamePlace::kimi)) co_return true;
    if (c < 0) co_return false;
    name += static_cast<char>(c);
    const bool counted =
        tools_.find(name, NamePlace::kimi) || tools_.find(name + "0", NamePlace::kimi);
    if (!counted && !tools_.may_begin_name(name)) co_return false;
  }
}

// name(key=value), name{…} and the like.
Task<bool> AnswerReader::named_call(Found& found, std::string_view fence) {
  constexpr std::string_view kCall = "call:";  // Gemma, without its marks
  const std::size_t begin = in.at;
  const bool gemma = co_await looks_at(begin, kCall);
  if (!(co_await declared_name_at(begin + (gemma ? kCall.size() : 0)))) co_return false;
  constexpr Mark kBraces{"", MarkRole::block_open, true, true};
  Candidate call;
  const Got got = gemma ? co_await blocks_.named(&kBraces, NamePlace::gemma, call)
                        : co_await blocks_.named(nullptr, NamePlace::plain, call);
  co_return got == Got::value&& take(found, call, fence);
}

// At a declared name: a call whose opening mark is missing, if what follows the name cannot be
// anything else. Within a line, a token must follow it at once.
Task<bool> AnswerReader::inner_form(bool at_line_start) {
  const std::size_t begin = in.at;
  constexpr std::string_view kCall = "call:";
  constexpr std::string_view kTyped = "function<｜tool▁sep｜>";  // DeepSeek
  const bool gemma = at_line_start && co_await looks_at(begin, kCall);
  bool named = at_line_start && co_await looks_at(begin, kTyped);
  if (!named) named = co_await declared_name_at(begin + (gemma ? kCall.size() : 0));
  if (!named) co_return false;
  begin_attempt(begin, {});
  Candidate call;
  const std::string name = co_await blocks_.name();
  const std::size_t behind = co_await after_space(in.at);
  const Mark* mark = co_await mark_at(behind);
  const bool separated =
      mark != nullptr && mark->role == MarkRole::separator && mark->text != "<arg_value>";
  const bool braces = gemma && co_await in.peek(behind) == '{';
  Got got = Got::malformed;
  in.at = begin;
  if (separated || braces) {
    const Mark tag{"", MarkRole::block_open, false, braces};
    const bool kimi = separated && mark->text == "<|tool_call_argument_begin|>";
    got = co_await blocks_.named(&tag,
                                 braces ? NamePlace::gemma
                                 : kimi ? NamePlace::kimi
                                        : NamePlace::plain,
                                 call);
    const std::size_t end = in.at;
    const std::size_t close = co_await after_space(end);
    const Mark* closing = co_await mark_at(close);
    const bool closed = closing != nullptr && closing->role == MarkRole::block_close;
    if (braces && !closed) got = Got::malformed;
    if (got == Got::value && closed) in.at = close + closing->text.size();
  }
  if (got == Got::value && !in.limited()) {
    constexpr Mark kNone{"", MarkRole::block_open};
    std::vector<Candidate> calls;
    calls.push_back(std::move(call));
    co_return co_await deliver(begin, calls, kNone);
  }
  fail_attempt(begin);
  co_return in.at > begin;
}

}  // namespace asynclm::dialect
