// SPDX-License-Identifier: Apache-2.0
// Harmony: an answer is a row of messages with headers, and the recipient in a header decides
// whether a message is a call, whatever its channel.
#include <utility>

#include "base/ascii.h"
#include "dialect/reader_answer.h"

namespace asynclm::dialect {
namespace {

constexpr std::size_t kMaxHeader = 1024;  // bytes
constexpr int kMaxWords = 8;

bool ends_word(char c) { return ascii::is_space(c); }

// The word behind `key`, which must begin a word itself; empty where there is none.
std::string word_behind(std::string_view header, std::string_view key) {
  for (std::size_t at = header.find(key); at != std::string_view::npos;
       at = header.find(key, at + 1)) {
    if (at > 0 && !ends_word(header[at - 1])) continue;
    std::size_t begin = at + key.size();
    std::size_t end = begin;
    while (end < header.size() && !ends_word(header[end])) ++end;
    return std::string(header.substr(begin, end - begin));
  }
  return {};
}

}  // namespace

// At <|start|>, <|channel|> or the recipient with which an answer begins.
Task<bool> AnswerReader::message() {
  const std::size_t begin = in.at;
  std::string header;
  std::size_t offset = begin;
  int words = 0;
  for (;;) {
    const int c = co_await in.peek(offset);
    // Somebody speaks of the token.
    if (offset - begin > kMaxHeader || words > kMaxWords || (c < 0 && in_sentence()))
      co_return false;
    if (c < 0) {
      drop(begin, offset);
      co_return true;
    }
    if (ascii::is_space(c)) ++words;
    const Mark* mark = c == '<' ? co_await mark_at(offset) : nullptr;
    if (mark == nullptr) {
      header += static_cast<char>(c);
      ++offset;
      continue;
    }
    if (mark->role == MarkRole::turn_end || mark->role == MarkRole::harmony_end) {
      if (in_sentence()) co_return false;
      drop(begin, offset);
      place_.harmony = true;
      co_return true;
    }
    offset += mark->text.size();
    if (mark->text == "<|message|>") break;
    header += mark->text == "<|channel|>" ? "\nchannel:" : "\n";
  }
  place_.harmony = true;
  std::string recipient = word_behind(header, "to=");
  if (recipient == "assistant" || recipient == "user" || recipient == "all") recipient.clear();
  if (!recipient.empty()) {
    in.at = offset;
    co_return co_await payload(recipient, begin);
  }
  drop(begin, offset);
  const bool analysis = word_behind(header, "channel:") == "analysis";
  place_.region = analysis ? Region::reasoning : Region::visible;
  co_return true;
}

// `at` is behind the header, which begins at `begin`.
Task<bool> AnswerReader::payload(const std::string& recipient, std::size_t begin) {
  const std::size_t body = in.at;
  drop(begin, begin);  // what stands before is of the region before
  place_.region = Region::visible;
  begin_attempt(begin, "to=");
  Candidate call;
  call.begin = begin;
  call.form = CallForm::recipient;
  call.name = recipient;
  call.tool = tools_.find(recipient, NamePlace::harmony);
  if (call.tool) blocks_.tell(call);
  in.at = co_await after_space(body);
  Got got = Got::value;
  const bool empty = co_await turn_ends(in.at) || co_await in.next() < 0;
  if (!empty) got = co_await in.next() == '{' ? co_await blocks_.arguments(call) : Got::malformed;
  if (empty && co_await in.next() < 0) got = Got::cut;
  std::size_t end = co_await after_space(in.at);
  const Mark* mark = co_await mark_at(end);
  const bool ended = mark != nullptr &&
                     (mark->role == MarkRole::harmony_end ||
                      mark->role == MarkRole::harmony_start || mark->role == MarkRole::turn_end);
  if (got == Got::value && !ended && co_await in.peek(end) >= 0) got = Got::malformed;
  call.end = end;
  if (!ended) {
    // Whatever it is, it is for somebody else: up to the end of the message it is no text.
    for (int c = co_await in.peek(end); c >= 0; c = co_await in.peek(++end)) {
      mark = c == '<' ? co_await mark_at(end) : nullptr;
      if (mark != nullptr &&
          (mark->role == MarkRole::harmony_end || mark->role == MarkRole::harmony_start ||
           mark->role == MarkRole::turn_end))
        break;
    }
  }
  if (mark != nullptr && mark->role == MarkRole::harmony_end) end += mark->text.size();
  end_attempt();
  seen();
  drop(begin, end);
  auto read = got == Got::value ? judge(call, "to=") : std::nullopt;
  if (read) {
    events_.emplace_back(std::move(*read));
  } else if (got != Got::cut) {
    using enum CallRefused::Reason;
    events_.emplace_back(
        CallRefused{call.tool ? bad_arguments : unknown_tool, recipient, begin, end});
  }
  co_return true;
}

}  // namespace asynclm::dialect
