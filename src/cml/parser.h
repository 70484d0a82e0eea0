// SPDX-License-Identifier: Apache-2.0
// The incremental CML parser (paper section 3).
//
//   text … [CALL] code [END]   [CALL] id [HEAD] code [END]   [TRAP] [END]
//
// and in async+ also a trap that names what it waits for: [TRAP] a b [HEAD] any [END].
//
// Text between <think> and </think> is text like any other, but no block can begin in it.
//
// The parser also says what is not legal next, so that a sampler can ban it; it still copes with
// every sequence of tokens, because scripts, logs and other engines may not mask.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <asynclm/engine.h>

#include "cml/markers.h"

namespace asynclm {

// Whether text stands between <think> and </think>.
class ThinkSection {
 public:
  void feed(char c);
  void leave() { *this = {}; }
  [[nodiscard]] bool inside() const { return inside_; }
  [[nodiscard]] std::size_t matched() const { return matched_; }
  // False if there is no such state.
  [[nodiscard]] bool load(bool inside, std::size_t matched);

 private:
  bool inside_ = false;
  std::size_t matched_ = 0;  // bytes of the tag that is looked for
};

// What a parser remembers, in plain values.
struct ParserState {
  int place = 0;  // Parser::State
  std::int32_t block_tokens = 0;
  std::string id, code, buffer;
  bool thinking = false;
  std::size_t matched = 0;
};

class Parser {
 public:
  enum class Event : std::uint8_t {
    none,  // inside a block, or a block just opened
    text,  // text() is visible
    call,  // a call block closed: id(), code()
    trap,  // [TRAP]: the caller closes the block by appending [END]. In async+ the block closed:
           // id() are the calls that were named, code() is "any", "all" or what was written there
    end_of_turn,
    malformed,  // problem() says what; the parser is in text again, or in the newly opened block.
                // But for a [CALL] that opens one, it is to be taken as not written.
  };

  // `vocabulary` must outlive the parser. A block of more than `max_block_tokens` between its
  // markers is malformed: a model that repeats itself must not fill the context with one call.
  Parser(const Vocabulary& vocabulary, const Markers& markers, std::int32_t max_block_tokens,
         bool async_plus = false);

  // Takes a token that the model wrote.
  Event read(Token token);

  [[nodiscard]] bool in_block() const { return state_ != State::text; }
  // Whatever the model writes now stands in a new turn: it is in text.
  void begin_turn();

  [[nodiscard]] ParserState save() const;
  // False if no parser of this kind saves such a state; it is then in a new turn.
  [[nodiscard]] bool load(const ParserState& state);

  // Text tokens that the open block still takes.
  [[nodiscard]] std::int32_t block_room() const { return max_block_tokens_ - block_tokens_; }

  // Control and end-of-generation tokens that must not come next. [INTR] and the role tokens are
  // always among them; so are the markers that would leave an id or a call empty, and [TRAP] where
  // there is nothing that the model could wait for.
  [[nodiscard]] std::span<const Token> banned(bool can_wait = true) const;

  // Of the last event Event::text.
  [[nodiscard]] std::string_view text() const { return text_; }
  // Of the block that closed last; valid until the next event.
  [[nodiscard]] std::string_view id() const { return id_; }
  [[nodiscard]] std::string_view code() const { return code_; }
  [[nodiscard]] std::string_view problem() const { return problem_; }

 private:
  enum class State : std::uint8_t {
    text,
    first_part,  // after [CALL]: an id or, without [HEAD], the code
    code,        // after [HEAD]
    trap_calls,  // after [TRAP], in async+
    trap_which,  // after its [HEAD]
  };
  // Lists of control and end-of-generation tokens that are banned where the model may end its turn,
  // and by which markers are legal, as bits.
  struct Banned;

  Event malformed(std::string_view problem, State next);
  Event take_text(Token token);
  Event take_marker(Marker marker);
  void open_block(State first);
  Event close_block();
  // Markers that may come next, a bit for each.
  [[nodiscard]] unsigned legal_markers() const;

  const Vocabulary* vocabulary_;
  Markers markers_;
  State state_ = State::text;
  bool async_plus_;
  std::int32_t max_block_tokens_;
  std::int32_t block_tokens_ = 0;  // of the open block, markers not counted
  ThinkSection think_;             // of the text outside blocks
  std::string text_, id_, code_, buffer_;
  std::string_view problem_;
  std::shared_ptr<const Banned> banned_;
};

}  // namespace asynclm
