// SPDX-License-Identifier: Apache-2.0
#include "cml/parser.h"

#include <algorithm>

namespace asynclm {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

Lexer::Lexer(const Vocabulary& vocabulary, const Markers& markers)
    : vocabulary_(&vocabulary), markers_(markers) {
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (vocabulary.is_control(token) || vocabulary.is_end_of_generation(token)) {
      specials_.push_back(token);
    }
  }
}

Lexer::Lexeme Lexer::classify(Token token) const {
  if (!std::ranges::binary_search(specials_, token)) return {Kind::text, Marker::end};
  if (const auto marker = markers_.marker(token)) return {Kind::marker, *marker};
  return {vocabulary_->is_end_of_generation(token) ? Kind::end_of_turn : Kind::other_control,
          Marker::end};
}

Parser::Parser(const Vocabulary& vocabulary, const Markers& markers)
    : vocabulary_(&vocabulary), markers_(markers), lexer_(vocabulary, markers) {
  std::vector<Token> allowed = {markers.token(Marker::call), markers.token(Marker::trap)};
  for (const Token token : lexer_.special_tokens()) {
    if (vocabulary.is_end_of_generation(token)) allowed.push_back(token);
  }
  banned_in_text_ = all_but(allowed);
  const std::vector<Token> first = {markers.token(Marker::head), markers.token(Marker::end)};
  banned_in_empty_part_ = all_but({});
  banned_in_first_part_ = all_but(first);
  banned_in_code_ = all_but(std::span(first).last(1));
}

std::vector<Token> Parser::all_but(std::span<const Token> allowed) const {
  std::vector<Token> banned;
  for (const Token token : lexer_.special_tokens()) {
    if (std::ranges::find(allowed, token) == allowed.end()) banned.push_back(token);
  }
  return banned;
}

std::span<const Token> Parser::banned() const {
  if (in_block() && trim(buffer_).empty()) return banned_in_empty_part_;
  switch (state_) {
    case State::text:
      return banned_in_text_;
    case State::first_part:
      return banned_in_first_part_;
    case State::code:
      return banned_in_code_;
  }
  return {};
}

Parser::Event Parser::malformed(std::string_view problem, State next) {
  problem_ = problem;
  // What was read of the broken block stays available for the record of the call.
  code_.assign(trim(buffer_));
  id_.clear();
  buffer_.clear();
  state_ = next;
  return Event::malformed;
}

Parser::Event Parser::feed(Token token) {
  const Lexer::Lexeme lexeme = lexer_.classify(token);
  switch (lexeme.kind) {
    case Lexer::Kind::text:
      if (state_ == State::text) return Event::text;
      vocabulary_->append_piece(token, buffer_);
      return Event::none;
    case Lexer::Kind::marker:
      return feed_marker(lexeme.marker);
    case Lexer::Kind::end_of_turn:
      if (in_block()) return malformed("the turn ended inside a call block", State::text);
      return Event::end_of_turn;
    case Lexer::Kind::other_control:
      return malformed("a role token may not be written by the model", State::text);
  }
  return Event::none;
}

Parser::Event Parser::feed_marker(Marker marker) {
  switch (marker) {
    case Marker::call:
      if (in_block()) {
        return malformed("[CALL] inside a call block: close a block with [END] first",
                         State::first_part);
      }
      state_ = State::first_part;
      id_.clear();
      code_.clear();
      buffer_.clear();
      return Event::none;
    case Marker::head:
      if (state_ != State::first_part) {
        return malformed(
            state_ == State::text ? "[HEAD] outside a block" : "a second [HEAD] in a call block",
            State::text);
      }
      id_.assign(trim(buffer_));
      buffer_.clear();
      state_ = State::code;
      if (id_.empty()) return malformed("[HEAD] without an id before it", State::text);
      return Event::none;
    case Marker::end:
      if (state_ == State::text) return malformed("[END] outside a block", State::text);
      code_.assign(trim(buffer_));
      buffer_.clear();
      state_ = State::text;
      return Event::call;
    case Marker::trap:
      if (in_block()) return malformed("[TRAP] inside a call block", State::text);
      return Event::trap;
    case Marker::intr:
      return malformed("[INTR] is written by the runtime only", State::text);
  }
  return Event::none;
}

}  // namespace asynclm
