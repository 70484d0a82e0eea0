// SPDX-License-Identifier: Apache-2.0
// A whole answer: where its text, its reasoning, its quotations and its calls are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/reader.h"
#include "dialect/reader_block.h"

namespace asynclm::dialect {

class AnswerReader : public Lookahead {
 public:
  AnswerReader(Input& input, const ReaderTools& tools, const ReaderOptions& options,
               std::vector<ReaderEvent>& events);

  // Reads from where the last attempt began (at first: the beginning) to the end of the answer.
  [[nodiscard]] Task<bool> answer();

  // Reports the text that is certain, and lets go of its bytes.
  void flush();

  // What take_back() of the reader does, but for the input's bytes.
  bool take_back(std::size_t offset);

 private:
  enum class Region : std::uint8_t { visible, reasoning };

  // All that the bytes before `at` say about what follows them.
  struct Place {
    std::size_t at = 0;
    std::size_t reported = 0;  // text and calls before it
    Region region = Region::visible;
    bool line_blank = true;        // nothing but spaces, marks and calls in this line so far
    std::string line_end;          // the last bytes of this line that are no spaces
    bool text_seen = false;        // visible text
    bool whole_tried = false;      // whether the answer is made of unmarked calls
    bool object_seen = false;      // an object that looks like a call, in the text
    bool harmony = false;          // messages with headers
    bool wrapper_in_line = false;  // <tool_call>, with prose behind it
  };

  // reader_answer.cc: text, reasoning, marks
  [[nodiscard]] Task<bool> at_mark(const Mark& mark);
  [[nodiscard]] Task<bool> at_turn_end(const Mark& mark);
  [[nodiscard]] Task<bool> at_think_close(const Mark& mark);
  [[nodiscard]] Task<bool> at_orphan(const Mark& mark);
  [[nodiscard]] Task<bool> results(const Mark& mark);
  [[nodiscard]] Task<bool> turn_is_over(std::size_t behind);
  [[nodiscard]] Task<bool> prose_follows(std::size_t offset);
  [[nodiscard]] bool in_sentence() const;
  [[nodiscard]] bool begins_word() const;
  void finish();

  // reader_marked.cc: calls with marks
  [[nodiscard]] Task<bool> marked_block(const Mark& open);
  [[nodiscard]] Task<bool> marked_call(const Mark& open, std::size_t begin);
  [[nodiscard]] Task<bool> deliver(std::size_t begin, const std::vector<Candidate>& calls,
                                   const Mark& mark);
  [[nodiscard]] Task<bool> mention(const Mark& mark);
  [[nodiscard]] Task<bool> tool_code(std::size_t body);

  // reader_quoted.cc: what hides calls
  [[nodiscard]] Task<bool> opens_line(int c);
  [[nodiscard]] Task<bool> quoted_line();
  [[nodiscard]] Task<bool> fence(int c);
  [[nodiscard]] Task<bool> quoted_byte();
  [[nodiscard]] Task<bool> code_span();
  [[nodiscard]] Task<bool> only_a_word(std::size_t offset);
  [[nodiscard]] Task<bool> data_value();
  [[nodiscard]] Task<bool> looks_like_call(std::size_t offset);

  // reader_unmarked.cc: calls without marks
  struct Found {
    std::vector<CallRead> calls;
    bool only_objects = true;
  };
  [[nodiscard]] bool unmarked_may_count() const;
  [[nodiscard]] bool may_be_whole(int c) const;
  [[nodiscard]] Task<bool> unmarked(bool behind_text);
  [[nodiscard]] Task<bool> unmarked_item(Found& found, bool behind_text);
  [[nodiscard]] Task<bool> unmarked_fence(Found& found);
  [[nodiscard]] Task<bool> marked_in_fence(Found& found, const Mark& mark, std::string_view fence);
  [[nodiscard]] Task<bool> bracketed(Found& found);
  [[nodiscard]] Task<bool> declared_name_at(std::size_t offset);
  [[nodiscard]] Task<bool> named_call(Found& found, std::string_view fence);
  [[nodiscard]] Task<bool> inner_form(bool at_line_start);
  [[nodiscard]] bool take(Found& found, const Candidate& call, std::string_view mark) const;

  // reader_harmony.cc
  [[nodiscard]] Task<bool> message();
  [[nodiscard]] Task<bool> payload(const std::string& recipient, std::size_t begin);

  [[nodiscard]] bool visible() const { return place_.region == Region::visible; }
  [[nodiscard]] bool is_own(const Mark& mark) const;
  [[nodiscard]] std::optional<CallRead> judge(const Candidate& call, std::string_view mark) const;

  void pass(std::size_t upto);  // as text
  void pass_unread(std::size_t upto);
  void drop(std::size_t from, std::size_t upto);  // as no text; what is before `from` is
  void seen();
  void begin_attempt(std::size_t begin, std::string_view mark);
  void end_attempt();
  void fail_attempt(std::size_t begin);
  void report(std::vector<CallRead> calls);
  void emit(Region region, std::string_view bytes);

  const ReaderTools& tools_;
  const ReaderOptions& options_;
  std::vector<ReaderEvent>& events_;
  BlockReader blocks_;
  Place place_;
  Place attempt_;  // as it was when the last attempt began
  bool attempting_ = false;
  std::size_t hold_ = Input::kNone;  // text from here on is not certain
  std::string_view attempt_mark_;
  bool over_ = false;  // the turn has ended
  // Complete calls in the reasoning, with nothing but spaces behind them so far, and their bytes.
  std::vector<CallRead> rehearsed_;
  std::string rehearsed_text_;
  std::size_t work_ = 0;  // bytes read by attempts that came to nothing
  static constexpr std::size_t kMaxTicks = 8;
  std::size_t no_span_before_[kMaxTicks + 1] = {};  // by the number of backticks
};

}  // namespace asynclm::dialect
