// SPDX-License-Identifier: Apache-2.0
#include "cml/parser.h"

#include <array>
#include <utility>
#include <vector>

namespace asynclm {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

constexpr std::string_view kThinkBegin = "<think>", kThinkEnd = "</think>";

constexpr unsigned bit(Marker marker) { return 1U << static_cast<unsigned>(marker); }

}  // namespace

void ThinkSection::feed(char c) {
  const std::string_view tag = inside_ ? kThinkEnd : kThinkBegin;
  if (c != tag[matched_]) matched_ = 0;  // only its first byte is '<'
  if (c == tag[matched_]) ++matched_;
  if (matched_ < tag.size()) return;
  matched_ = 0;
  inside_ = !inside_;
}

bool ThinkSection::load(bool inside, std::size_t matched) {
  if (matched >= (inside ? kThinkEnd : kThinkBegin).size()) return false;
  inside_ = inside;
  matched_ = matched;
  return true;
}

struct Parser::Banned {
  static constexpr std::size_t kEndOfTurn = 1U << kMarkerCount;
  std::array<std::vector<Token>, 2 * kEndOfTurn> lists;
};

Parser::Parser(const Vocabulary& vocabulary, const Markers& markers, std::int32_t max_block_tokens,
               bool async_plus)
    : vocabulary_(&vocabulary),
      markers_(markers),
      async_plus_(async_plus),
      max_block_tokens_(max_block_tokens) {
  // Some vocabularies end a turn with a token that is not declared as control.
  std::vector<Token> specials;
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (vocabulary.is_control(token) || vocabulary.is_end_of_generation(token)) {
      specials.push_back(token);
    }
  }
  constexpr auto kHead = bit(Marker::head), kEnd = bit(Marker::end);
  auto banned = std::make_shared<Banned>();
  // What legal_markers() and the state give.
  for (const std::size_t legal :
       {Banned::kEndOfTurn | bit(Marker::call) | bit(Marker::trap),
        Banned::kEndOfTurn | bit(Marker::call), Banned::kEndOfTurn, std::size_t{0},
        std::size_t{kHead | kEnd}, std::size_t{kHead}, std::size_t{kEnd}}) {
    for (const Token token : specials) {
      const auto marker = markers.marker(token);
      const bool is_legal =
          marker ? (legal >> static_cast<unsigned>(*marker) & 1U) != 0
                 : vocabulary.is_end_of_generation(token) && (legal & Banned::kEndOfTurn) != 0;
      if (!is_legal) banned->lists[legal].push_back(token);
    }
  }
  banned_ = std::move(banned);
}

unsigned Parser::legal_markers() const {
  const bool empty = trim(buffer_).empty();
  switch (state_) {
    case State::text:
      return think_.inside() ? 0 : bit(Marker::call) | bit(Marker::trap);
    case State::first_part:
      return empty ? 0 : bit(Marker::head) | bit(Marker::end);
    case State::code:
    case State::trap_which:
      return empty ? 0 : bit(Marker::end);
    case State::trap_calls:
      return bit(empty ? Marker::end : Marker::head);
  }
  return 0;
}

std::span<const Token> Parser::banned(bool can_wait) const {
  const unsigned legal = legal_markers() & ~(can_wait ? 0U : bit(Marker::trap));
  return banned_->lists[legal | (in_block() ? 0 : Banned::kEndOfTurn)];
}

Parser::Event Parser::malformed(std::string_view problem, State next) {
  problem_ = problem;
  // What was read of the broken block stays available for the record of the call.
  code_.assign(trim(buffer_));
  id_.clear();
  buffer_.clear();
  block_tokens_ = 0;
  state_ = next;
  return Event::malformed;
}

void Parser::begin_turn() {
  think_.leave();
  state_ = State::text;
  buffer_.clear();
}

ParserState Parser::save() const {
  return {.place = static_cast<int>(state_),
          .block_tokens = block_tokens_,
          .id = id_,
          .code = code_,
          .buffer = buffer_,
          .thinking = think_.inside(),
          .matched = think_.matched()};
}

bool Parser::load(const ParserState& state) {
  begin_turn();
  const int last = static_cast<int>(async_plus_ ? State::trap_which : State::code);
  if (state.place < 0 || state.place > last || state.block_tokens < 0 ||
      state.block_tokens > max_block_tokens_ || !think_.load(state.thinking, state.matched)) {
    return false;
  }
  state_ = static_cast<State>(state.place);
  block_tokens_ = state.block_tokens;
  id_ = state.id;
  code_ = state.code;
  buffer_ = state.buffer;
  return true;
}

void Parser::open_block(State first) {
  state_ = first;
  buffer_.clear();
  block_tokens_ = 0;
}

Parser::Event Parser::close_block() {
  const State closed = state_;
  std::string& last = closed == State::trap_calls ? id_ : code_;
  last.assign(trim(buffer_));
  buffer_.clear();
  state_ = State::text;
  return closed == State::trap_calls || closed == State::trap_which ? Event::trap : Event::call;
}

Parser::Event Parser::read(Token token) {
  if (const auto marker = markers_.marker(token)) return take_marker(*marker);
  if (vocabulary_->is_end_of_generation(token)) {
    if (in_block()) return malformed("the turn ended inside a block", State::text);
    think_.leave();
    return Event::end_of_turn;
  }
  if (vocabulary_->is_control(token)) {
    return malformed("a role token may not be written by the model", State::text);
  }
  return take_text(token);
}

Parser::Event Parser::take_text(Token token) {
  text_.clear();
  vocabulary_->append_piece(token, text_);
  if (!in_block()) {
    for (const char c : text_) think_.feed(c);
    return Event::text;
  }
  if (++block_tokens_ > max_block_tokens_) {
    return malformed("the call block is too long", State::text);
  }
  buffer_ += text_;
  return Event::none;
}

Parser::Event Parser::take_marker(Marker marker) {
  if (think_.inside() && (marker == Marker::call || marker == Marker::trap)) {
    return malformed("a block inside <think>: end it with </think> first", State::text);
  }
  switch (marker) {
    case Marker::call:
      if (in_block()) {
        return malformed("[CALL] inside a block: close a block with [END] first",
                         State::first_part);
      }
      id_.clear();
      code_.clear();
      open_block(State::first_part);
      return Event::none;
    case Marker::head:
      if (state_ != State::first_part && state_ != State::trap_calls) {
        return malformed(
            state_ == State::text ? "[HEAD] outside a block" : "a second [HEAD] in a block",
            State::text);
      }
      id_.assign(trim(buffer_));
      buffer_.clear();
      state_ = state_ == State::first_part ? State::code : State::trap_which;
      if (id_.empty()) return malformed("[HEAD] without an id before it", State::text);
      return Event::none;
    case Marker::end:
      if (state_ == State::text) return malformed("[END] outside a block", State::text);
      if (state_ == State::trap_calls && !trim(buffer_).empty()) {
        return malformed("a trap that names calls needs [HEAD] any or [HEAD] all", State::text);
      }
      return close_block();
    case Marker::trap:
      if (in_block()) return malformed("[TRAP] inside a block", State::text);
      id_.clear();
      code_.clear();
      if (!async_plus_) return Event::trap;
      open_block(State::trap_calls);
      return Event::none;
    case Marker::intr:
      return malformed("[INTR] is written by the runtime only", State::text);
  }
  return Event::none;
}

}  // namespace asynclm
