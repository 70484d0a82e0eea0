// SPDX-License-Identifier: Apache-2.0
// What stands behind an opening mark: calls in whatever form. The body's own first bytes decide how
// it is read, since models write one family's body behind another one's mark.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/forms.h"
#include "dialect/json_text.h"
#include "dialect/reader_tools.h"
#include "dialect/reader_value.h"

namespace asynclm::dialect {

// What was read as a call and has not been judged.
struct Candidate {
  std::string name;
  std::optional<std::size_t> tool;
  std::optional<JsonText> arguments;  // as written: an object, or a string that holds one
  bool unreadable = false;            // a value is none of its declared types
  bool is_data = false;               // it has members that no bare call has
  std::size_t begin = 0, end = 0;
  CallForm form = CallForm::object;
};

struct Block {
  enum class State : std::uint8_t {
    calls,    // a block, if with no call in it
    section,  // the calls in it have opening marks of their own; one stands at `at`
    none,     // prose, or something malformed
    cut,      // the input ends within it
  };
  State state = State::none;
  std::vector<Candidate> calls;
};

class BlockReader : public Lookahead {
 public:
  // Told when the name of a call that is being read is complete and declared.
  using Named = std::function<void(std::size_t begin, std::size_t tool, CallForm form)>;

  BlockReader(Input& input, const ReaderTools& tools, Named named)
      : Lookahead(input), tools_(tools), named_(std::move(named)) {}

  // Behind a block_open mark. Where calls were found, `at` is moved behind them and the closing
  // mark, if it is there.
  [[nodiscard]] Task<Block> block(const Mark& open);

  // Behind a call_open mark.
  [[nodiscard]] Task<Got> call(const Mark& open, Candidate& out);

  // {"name": …, "arguments": …} at `at`. Bare ones end as malformed as soon as they cannot be a
  // call.
  [[nodiscard]] Task<Got> object(Candidate& out, bool bare);

  // [ … ] of objects or Python calls. What is complete stays in `out` even where the rest is not.
  [[nodiscard]] Task<Got> list(std::vector<Candidate>& out, bool bare);

  // name(key=value), around it print() where `print` says so.
  [[nodiscard]] Task<Got> python(Candidate& out, bool print);

  // The statements of a tool_code fence, up to and with its end. Malformed where one is no call.
  [[nodiscard]] Task<Got> code(std::vector<Candidate>& out);

  // What follows a name in whatever form; `mark` is the opening mark before it, if there is one.
  [[nodiscard]] Task<Got> named(const Mark* mark, NamePlace place, Candidate& out);

  // The arguments alone: one JSON object at `at`.
  [[nodiscard]] Task<Got> arguments(Candidate& out, ValueSyntax syntax = {});

  // Behind a payload without a closing mark: whether the next bytes, on the same line, show that it
  // had not ended there.
  [[nodiscard]] Task<bool> goes_on(bool text_may_follow);

  // The name of a call at `at`: up to a space, bracket, quote or tag. Moves behind it.
  [[nodiscard]] Task<std::string> name();

  void tell(const Candidate& call) const;

 private:
  struct Tag;

  [[nodiscard]] Task<Got> name_and_separator(NamePlace place, Candidate& out, bool& empty);
  [[nodiscard]] Task<Got> arguments_behind_name(Candidate& out, bool braces);
  [[nodiscard]] Task<Got> item(const Mark& open, std::vector<Candidate>& out);
  [[nodiscard]] Task<bool> skip_between();
  [[nodiscard]] Task<bool> skip_fence_mark();
  [[nodiscard]] Task<bool> close(const Mark& open);

  // reader_tags.cc
  [[nodiscard]] Task<Got> tagged(const Mark& open, Candidate& out);
  [[nodiscard]] Task<Got> parameters(Candidate& out);
  [[nodiscard]] Task<Got> pairs(Candidate& out, std::string key);
  [[nodiscard]] Task<Tag> tag_at(std::size_t offset);
  [[nodiscard]] Task<bool> parameter_tag(std::size_t offset, Tag& tag);
  [[nodiscard]] Task<bool> tag_of_parameter(std::size_t offset, Tag& tag);
  static void set_kind(const Mark& mark, Tag& tag);
  [[nodiscard]] Task<bool> attribute(std::string_view name, std::string& out, std::size_t& offset);
  [[nodiscard]] Task<Got> parameter_value(const Candidate& call, std::string& out, Tag& next);
  [[nodiscard]] Task<int> ends_value(const Candidate& call, const Tag& close, int depth);
  [[nodiscard]] Task<Got> pair_value(const Candidate& call, std::string& out);
  [[nodiscard]] Task<int> ends_pair_value(const Candidate& call, std::size_t offset,
                                          const Mark& mark);
  [[nodiscard]] Task<std::string> key_before(std::size_t offset, std::string_view close);
  [[nodiscard]] Task<bool> prose_behind_closers(std::size_t offset);
  [[nodiscard]] bool at_line_start(std::size_t offset) const;
  [[nodiscard]] bool declares(const Candidate& call, const std::string& parameter) const;
  void add(Candidate& call, const std::string& parameter, std::string_view text,
           bool marked_string) const;

  const ReaderTools& tools_;
  Named named_;
};

}  // namespace asynclm::dialect
