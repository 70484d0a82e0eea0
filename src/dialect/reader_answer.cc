// SPDX-License-Identifier: Apache-2.0
#include "dialect/reader_answer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/ascii.h"

namespace asynclm::dialect {
namespace {

// What ends a sentence, ASCII and CJK.
constexpr std::array<std::string_view, 7> kSentenceEnds = {".", "!", "?", "…", "。", "！", "？"};

// Attempts that came to nothing are read again as text. Each byte may be read so many times on
// average; what is beyond that is text without a second look.
constexpr std::size_t kMaxRereads = 8;
constexpr std::size_t kFreeRereads = std::size_t{1} << 16;  // bytes

}  // namespace

AnswerReader::AnswerReader(Input& input, const ReaderTools& tools, const ReaderOptions& options,
                           std::vector<ReaderEvent>& events)
    : Lookahead(input),
      tools_(tools),
      options_(options),
      events_(events),
      blocks_(input, tools, [this](std::size_t, std::size_t tool, CallForm form) {
        events_.emplace_back(CallNamed{attempt_.at, tool, form, attempt_mark_, !visible()});
      }) {
  if (options.reasoning_open) place_.region = Region::reasoning;
}

Task<bool> AnswerReader::answer() {
  in.at = place_.at;
  const bool recipients = options_.own == ReaderOptions::Template::recipients;
  if (in.at == 0 && recipients) {
    const std::size_t word = co_await after_space(0);
    if (co_await looks_at(word, "to=")) (void)co_await message();
  }
  while (!over_) {
    const int c = co_await in.next();
    if (c < 0) break;
    if (ascii::is_space(c)) {
      pass(in.at + 1);
      continue;
    }
    if (may_be_whole(c)) {
      place_.whole_tried = true;
      if (co_await unmarked(false)) continue;
    }
    if (may_begin_mark(static_cast<char>(c))) {
      const Mark* mark = co_await mark_at(in.at);
      if (mark != nullptr && co_await at_mark(*mark)) continue;
    }
    if (c == '<' && co_await torn_close_at(in.at)) {
      drop(in.at, in.end());
      break;
    }
    if (place_.line_blank && co_await opens_line(c)) continue;
    if (c == '`' && co_await code_span()) continue;
    if (begins_word() && co_await inner_form(false)) continue;
    if (c == '{' && !place_.object_seen && visible())
      place_.object_seen = co_await looks_like_call(in.at);
    pass(in.at + 1);
  }
  if (over_) {  // nothing behind the end of the turn is read
    while (co_await in.next() >= 0) place_.reported = ++in.at;
  }
  flush();
  finish();
  co_return true;
}

// What only the end of the answer decides.
void AnswerReader::finish() {
  if (rehearsed_.empty()) return;
  if (in.ending() == Ending::limit || !options_.habits) {
    seen();
  } else {
    report(std::exchange(rehearsed_, {}));
  }
}

Task<bool> AnswerReader::at_mark(const Mark& mark) {
  const std::size_t begin = in.at;
  const std::size_t behind = begin + mark.text.size();
  switch (mark.role) {
    case MarkRole::block_open:
      if (!is_own(mark)) co_return false;
      co_return co_await marked_block(mark);
    case MarkRole::call_open: {
      // <function=name> without a wrapper: at the start of a line, or behind a sentence.
      const bool tag = mark.text.starts_with("<function") || mark.text.starts_with("<invoke");
      if (!is_own(mark) || (tag && in_sentence() && !place_.wrapper_in_line)) co_return false;
      co_return co_await marked_call(mark, begin);
    }
    case MarkRole::think_open: {
      const bool tag = mark.text.starts_with('<') && !mark.text.contains('|');
      const bool mentioned = in_sentence() || (tag && !place_.line_blank);
      if (visible() && mentioned) co_return false;
      drop(begin, behind);
      place_.region = Region::reasoning;
      co_return true;
    }
    case MarkRole::think_close:
      co_return co_await at_think_close(mark);
    case MarkRole::turn_end:
      co_return co_await at_turn_end(mark);
    case MarkRole::result_open:
      co_return co_await results(mark);
    case MarkRole::ornament:
    case MarkRole::harmony_part:
      drop(begin, behind);
      co_return true;
    case MarkRole::harmony_start:
      co_return co_await message();
    case MarkRole::harmony_end:
      if (!place_.harmony) co_return co_await at_turn_end(mark);
      drop(begin, behind);
      place_.region = Region::visible;
      co_return true;
    case MarkRole::block_close:
    case MarkRole::call_close:
    case MarkRole::section:
    case MarkRole::separator:
    case MarkRole::result_close:
      co_return co_await at_orphan(mark);
  }
  co_return false;
}

// An end token with prose behind it is a mention.
Task<bool> AnswerReader::turn_is_over(std::size_t behind) {
  behind = co_await after_space(behind);
  if (co_await in.peek(behind) < 0) co_return true;
  const Mark* next = co_await mark_at(behind);
  co_return next != nullptr &&
      (next->role == MarkRole::turn_end || next->role == MarkRole::harmony_end ||
       next->role == MarkRole::harmony_start);
}

Task<bool> AnswerReader::at_turn_end(const Mark& mark) {
  const std::size_t begin = in.at;
  const std::size_t behind = begin + mark.text.size();
  if (!(co_await turn_is_over(behind))) co_return false;
  drop(begin, behind);
  over_ = true;
  co_return true;
}

Task<bool> AnswerReader::at_think_close(const Mark& mark) {
  if (visible()) co_return co_await at_orphan(mark);
  const std::size_t begin = in.at;
  const std::size_t behind = begin + mark.text.size();
  const char before = begin > 0 ? in[begin - 1] : '\0';
  if (before == '"' || before == '\'' || before == '`') {
    if (co_await in.peek(behind) == before) co_return false;  // quoted
  }
  drop(begin, behind);
  place_.region = Region::visible;
  place_.line_blank = true;
  co_return true;
}

// A mark without the other one of its pair is no text, but for a sentence that speaks of it.
Task<bool> AnswerReader::at_orphan(const Mark& mark) {
  const std::size_t begin = in.at;
  const std::size_t behind = begin + mark.text.size();
  if (in_sentence() && co_await prose_follows(behind)) co_return false;
  drop(begin, behind);
  co_return true;
}

// A result that the model makes up. No call is read in it.
Task<bool> AnswerReader::results(const Mark& mark) {
  const std::size_t behind = in.at + mark.text.size();
  if (co_await turn_is_over(behind)) {
    drop(in.at, behind);
    over_ = true;
    co_return true;
  }
  pass(behind);
  for (;;) {
    const int c = co_await in.next();
    if (c < 0) co_return true;
    const Mark* next = may_begin_mark(static_cast<char>(c)) ? co_await mark_at(in.at) : nullptr;
    if (next != nullptr && next->role == MarkRole::turn_end) co_return true;
    pass(in.at + (next == nullptr ? 1 : next->text.size()));
    if (next != nullptr && next->role == MarkRole::result_close) co_return true;
  }
}

// Whether text goes on in this line.
Task<bool> AnswerReader::prose_follows(std::size_t offset) {
  offset = co_await after_blanks(offset);
  const int c = co_await in.peek(offset);
  if (c < 0 || ascii::is_space(c)) co_return false;
  co_return co_await mark_at(offset) == nullptr;
}

// Whether this line holds a sentence that has not ended.
bool AnswerReader::in_sentence() const {
  if (place_.line_blank) return false;
  return std::ranges::none_of(kSentenceEnds,
                              [&](std::string_view end) { return place_.line_end.ends_with(end); });
}

// At a word within a line of text, where a call could begin whose opening mark is missing.
bool AnswerReader::begins_word() const {
  return !place_.line_blank && visible() && unmarked_may_count() &&
         tools_.may_begin_name(in.view(in.at, in.at + 1)) &&
         (ascii::is_space(in[in.at - 1]) || !in_sentence());
}

bool AnswerReader::is_own(const Mark& mark) const {
  return options_.habits ||
         std::ranges::find(options_.own_marks, mark.text) != options_.own_marks.end();
}

std::optional<CallRead> AnswerReader::judge(const Candidate& call, std::string_view mark) const {
  if (!call.tool || call.unreadable) return std::nullopt;
  JsonText arguments = call.arguments.value_or(json_object());
  const bool absent = arguments.is(JsonText::Kind::null) ||
                      (arguments.is(JsonText::Kind::string) && arguments.text.empty());
  if (absent) arguments = json_object();
  if (arguments.is(JsonText::Kind::string)) {  // encoded once more
    auto decoded = read_value(arguments.text);
    if (!decoded) return std::nullopt;
    arguments = std::move(*decoded);
  }
  auto fitting = tools_.fitting(*call.tool, std::move(arguments));
  if (!fitting) return std::nullopt;
  return CallRead{*call.tool,        tools_[*call.tool].name,
                  to_json(*fitting), write_json(*fitting),
                  call.begin,        call.end,
                  call.form,         mark};
}

void AnswerReader::seen() {
  if (!rehearsed_.empty()) {  // the calls were not the turn's last words
    rehearsed_.clear();
    emit(Region::reasoning, std::exchange(rehearsed_text_, {}));
  }
  place_.text_seen = place_.text_seen || visible();
}

void AnswerReader::pass(std::size_t upto) {
  constexpr std::size_t kLineEnd = 4;  // bytes: one character
  for (; in.at < upto; ++in.at) {
    const char c = in[in.at];
    if (c == '\n') {
      place_.line_blank = true;
      place_.line_end.clear();
      place_.wrapper_in_line = false;
    } else if (!ascii::is_space(c)) {
      if (place_.line_blank || !place_.text_seen || !rehearsed_.empty()) seen();
      place_.line_blank = false;
      if (place_.line_end.size() == kLineEnd) place_.line_end.erase(0, 1);
      place_.line_end += c;
    }
  }
}

// Bytes that a parser has read already, as text.
void AnswerReader::pass_unread(std::size_t upto) {
  in.at = std::min(in.at, upto);
  pass(upto);
}

void AnswerReader::drop(std::size_t from, std::size_t upto) {
  if (from > place_.reported) emit(place_.region, in.view(place_.reported, from));
  place_.reported = in.at = upto;
  place_.line_blank = true;
  place_.line_end.clear();
}

void AnswerReader::flush() {
  const std::size_t upto = std::min(hold_, in.at);
  if (upto > place_.reported) {
    emit(place_.region, in.view(place_.reported, upto));
    place_.reported = upto;
  }
  // A few bytes before are looked at again: what a line begins with.
  constexpr std::size_t kLookBehind = 256;
  const std::size_t keep = std::min(place_.reported, attempting_ ? attempt_.reported : upto);
  if (keep > kLookBehind) in.forget(keep - kLookBehind);
}

void AnswerReader::emit(Region region, std::string_view bytes) {
  if (bytes.empty()) return;
  if (region == Region::reasoning && !rehearsed_.empty()) {
    rehearsed_text_ += bytes;  // behind calls of which it is not certain that they are reasoning
  } else if (region == Region::visible) {
    if (!events_.empty() && std::holds_alternative<TextRead>(events_.back())) {
      std::get<TextRead>(events_.back()).bytes += bytes;
    } else {
      events_.emplace_back(TextRead{std::string(bytes)});
    }
  } else if (!events_.empty() && std::holds_alternative<ReasoningRead>(events_.back())) {
    std::get<ReasoningRead>(events_.back()).bytes += bytes;
  } else {
    events_.emplace_back(ReasoningRead{std::string(bytes)});
  }
}

void AnswerReader::begin_attempt(std::size_t begin, std::string_view mark) {
  in.at = begin;
  flush();
  place_.at = begin;
  attempt_ = place_;
  attempting_ = true;
  attempt_mark_ = mark;
  hold_ = begin;
  in.mark_reach();
  in.set_limit(begin + options_.max_call_bytes);
  const auto* last = events_.empty() ? nullptr : std::get_if<CallBegan>(&events_.back());
  if (last == nullptr || last->offset != begin) events_.emplace_back(CallBegan{begin});
}

void AnswerReader::end_attempt() {
  attempting_ = false;
  hold_ = Input::kNone;
  in.clear_limit();
}

// Goes back to the beginning of the attempt, or, where too much has been read twice, skips what the
// attempt has read.
void AnswerReader::fail_attempt(std::size_t begin) {
  end_attempt();
  events_.emplace_back(CallDropped{begin});
  in.at = begin;
  work_ += in.reach() - begin;
  if (work_ > kFreeRereads + kMaxRereads * in.reach()) pass(in.reach());
}

void AnswerReader::report(std::vector<CallRead> calls) {
  for (CallRead& call : calls) events_.emplace_back(std::move(call));
}

bool AnswerReader::take_back(std::size_t offset) {
  if (!attempting_ || attempt_.at != offset) return false;
  place_ = attempt_;
  if (!place_.text_seen) place_.whole_tried = false;
  end_attempt();
  return true;
}

}  // namespace asynclm::dialect
