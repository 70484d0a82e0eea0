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
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

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

// What a parser remembers when next() has no more, in plain values.
struct ParserState {
  int place = 0;  // Parser::State
  std::int32_t block_tokens = 0;
  std::string id, code, buffer;
  std::string held;  // Lexer::held()
  bool thinking = false;
  std::size_t matched = 0;
};

// Tokens to words of the protocol. Where markers are tokens, one token is one lexeme. Where they
// are spelled, a marker may begin and end inside tokens: bytes are held back as long as they could
// be the beginning of one, and disarmed markers (cml/spelled_markers.h) are text as it was meant.
class Lexer {
 public:
  enum class Kind : std::uint8_t { text, marker, end_of_turn, other_control };
  struct Lexeme {
    Kind kind;
    Marker marker;          // for Kind::marker
    std::string_view text;  // for Kind::text; until the next read
    // Bytes of the last token from the lexeme's first one on; npos: all of them.
    std::size_t from_here;
  };

  Lexer(const Vocabulary& vocabulary, const Markers& markers);

  void read(Token token);
  // The next lexeme of the tokens read; nothing if more tokens are needed. Inside <think> there are
  // no spelled markers, and inside a block (`in_block`) no <think>.
  [[nodiscard]] std::optional<Lexeme> next(bool in_block);
  [[nodiscard]] bool thinking() const { return think_.inside(); }

  // Bytes of the last token that no lexeme has taken yet, those held back among them.
  [[nodiscard]] std::size_t rest() const { return bytes_.size() - position_; }
  // Forgets them, and the token if it is a control token.
  void drop_rest();
  void begin_turn();
  void save(ParserState& out) const;
  [[nodiscard]] bool load(const ParserState& state);
  // Bytes that may be part of a marker.
  [[nodiscard]] std::string_view held() const { return std::string_view(bytes_).substr(position_); }
  [[nodiscard]] bool holds() const { return rest() > 0; }
  [[nodiscard]] std::string release();

  // Every control and end-of-generation token of the vocabulary, ascending. Some vocabularies end
  // a turn with a token that is not declared as control.
  [[nodiscard]] const std::vector<Token>& special_tokens() const { return *specials_; }

 private:
  [[nodiscard]] std::optional<Lexeme> next_spelled(bool in_block);
  void take_text(std::string_view text, bool in_block);

  const Vocabulary* vocabulary_;
  Markers markers_;
  std::shared_ptr<const std::vector<Token>> specials_;
  ThinkSection think_;
  std::string bytes_;            // held back, and of the last token
  std::size_t position_ = 0;     // of what was taken
  bool unread_ = false;          // the last token has not been handed out
  std::size_t token_begin_ = 0;  // where the last token begins in bytes_
  std::string text_;
  std::optional<Lexeme> special_;  // follows the bytes
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

  // Takes a token that the model wrote; next() then says what happened, until it has no more. A
  // token is one event where markers are tokens.
  void read(Token token) { lexer_.read(token); }
  [[nodiscard]] std::optional<Event> next();

  // A trap's [END] is forced where nothing can stand before it, and markers are tokens.
  [[nodiscard]] bool model_closes_traps() const { return async_plus_ || spelled_; }

  [[nodiscard]] bool in_block() const { return state_ != State::text; }
  // A spelled trap was begun that names nothing: only its [END] may follow.
  [[nodiscard]] bool awaits_end() const { return state_ == State::trap_calls && !async_plus_; }
  // Nothing may be appended behind what the model has written: it is inside a block, or maybe
  // inside the spelling of a marker.
  [[nodiscard]] bool in_critical_section() const { return in_block() || lexer_.holds(); }

  // Bytes of the last token behind the last event, or from its beginning on.
  [[nodiscard]] std::size_t bytes_behind() const { return lexer_.rest(); }
  [[nodiscard]] std::size_t bytes_from_event() const { return from_event_; }
  void drop_rest() { lexer_.drop_rest(); }
  // Whatever the model writes now stands in a new turn: it is in text.
  void begin_turn();

  [[nodiscard]] ParserState save() const;
  // False if no parser of this kind saves such a state; it is then in a new turn.
  [[nodiscard]] bool load(const ParserState& state);

  // Text that was held back: it will be no marker, since the model stops.
  [[nodiscard]] std::string release() { return in_block() ? "" : lexer_.release(); }

  // Text tokens that the open block still takes.
  [[nodiscard]] std::int32_t block_room() const { return max_block_tokens_ - block_tokens_; }

  // Control and end-of-generation tokens that must not come next. [INTR] and the role tokens are
  // always among them; so are the markers that would leave an id or a call empty, and [TRAP] where
  // there is nothing that the model could wait for.
  [[nodiscard]] std::span<const Token> banned(bool can_wait = true) const;
  // The same for tokens of text, which may spell markers.
  [[nodiscard]] bool allows(Token token) const;

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
  // Lists of special tokens that are banned where the model may end its turn, and by which markers
  // are legal, as bits.
  struct Banned;

  Event take(const Lexer::Lexeme& lexeme);
  Event malformed(std::string_view problem, State next);
  Event take_marker(Marker marker);
  Event take_text(std::string_view text);
  void open_block(State first);
  Event close_block();
  // Markers that may come next, a bit for each; those that a lexer could not tell from others.
  [[nodiscard]] unsigned legal_markers() const;

  bool spelled_;  // the markers
  Lexer lexer_;
  State state_ = State::text;
  bool async_plus_;
  std::int32_t max_block_tokens_;
  std::int32_t block_tokens_ = 0;  // of the open block, markers not counted
  std::string id_, code_, buffer_;
  std::string_view text_, problem_;
  std::size_t from_event_ = 0;
  std::shared_ptr<const Banned> banned_;
};

}  // namespace asynclm
