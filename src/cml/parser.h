// SPDX-License-Identifier: Apache-2.0
// The incremental CML parser: one token in, at most one finished block out (paper section 3).
//
//   text … [CALL] code [END]   [CALL] id [HEAD] code [END]   [TRAP] [END]
//
// The parser also says which control tokens are not legal next, so that a sampler can ban them; it
// still copes with every sequence of tokens, because scripts, logs and other engines may not mask.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>

#include "cml/markers.h"

namespace asynclm {

// A token's role in the protocol. The seam for vocabularies that spell markers as text: such a
// lexer holds tokens back until they can no longer be part of a marker.
class Lexer {
 public:
  enum class Kind : std::uint8_t { text, marker, end_of_turn, other_control };
  struct Lexeme {
    Kind kind;
    Marker marker;  // for Kind::marker
  };

  Lexer(const Vocabulary& vocabulary, const Markers& markers);
  [[nodiscard]] Lexeme classify(Token token) const;
  [[nodiscard]] std::span<const Token> special_tokens() const { return specials_; }

 private:
  const Vocabulary* vocabulary_;
  Markers markers_;
  // Every control and end-of-generation token of the vocabulary, ascending. Some vocabularies end
  // a turn with a token that is not declared as control.
  std::vector<Token> specials_;
};

class Parser {
 public:
  enum class Event : std::uint8_t {
    none,  // inside a block, or a block just opened
    text,  // the token is visible text
    call,  // a call block closed: id(), code()
    trap,  // [TRAP]: the caller closes the block by appending [END]
    end_of_turn,
    malformed,  // problem() says what; the parser is in text again, or in the newly opened block.
                // But for a [CALL] that opens one, the token is to be taken as not written.
  };

  // `vocabulary` must outlive the parser.
  Parser(const Vocabulary& vocabulary, const Markers& markers);

  // Takes a token that the model wrote.
  [[nodiscard]] Event feed(Token token);

  // Inside a block: interrupts must wait (critical section).
  [[nodiscard]] bool in_block() const { return state_ != State::text; }

  // Control and end-of-generation tokens that must not come next. [INTR] and the role tokens are
  // always among them; so are the markers that would leave an id or a call empty.
  [[nodiscard]] std::span<const Token> banned() const;

  // Of the block that closed last; valid until the next feed.
  [[nodiscard]] std::string_view id() const { return id_; }
  [[nodiscard]] std::string_view code() const { return code_; }
  [[nodiscard]] std::string_view problem() const { return problem_; }

 private:
  enum class State : std::uint8_t {
    text,
    first_part,  // after [CALL]: an id or, without [HEAD], the code
    code,        // after [HEAD]
  };
  Event malformed(std::string_view problem, State next);
  Event feed_marker(Marker marker);
  [[nodiscard]] std::vector<Token> all_but(std::span<const Token> allowed) const;

  const Vocabulary* vocabulary_;
  Markers markers_;
  Lexer lexer_;
  State state_ = State::text;
  std::string id_, code_, buffer_;
  std::string_view problem_;
  std::vector<Token> banned_in_text_, banned_in_empty_part_, banned_in_first_part_, banned_in_code_;
};

}  // namespace asynclm
