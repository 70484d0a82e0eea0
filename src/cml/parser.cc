// SPDX-License-Identifier: Apache-2.0
#include "cml/parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cml/spelled_markers.h"

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

Lexer::Lexer(const Vocabulary& vocabulary, const Markers& markers)
    : vocabulary_(&vocabulary), markers_(markers) {
  std::vector<Token> specials;
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (vocabulary.is_control(token) || vocabulary.is_end_of_generation(token)) {
      specials.push_back(token);
    }
  }
  specials_ = std::make_shared<const std::vector<Token>>(std::move(specials));
}

void Lexer::read(Token token) {
  bytes_.erase(0, position_);
  position_ = 0;
  token_begin_ = bytes_.size();
  unread_ = true;
  if (!std::ranges::binary_search(*specials_, token)) {
    vocabulary_->append_piece(token, bytes_);
    return;
  }
  const auto marker = markers_.marker(token);
  special_ = Lexeme{.kind = marker                                     ? Kind::marker
                            : vocabulary_->is_end_of_generation(token) ? Kind::end_of_turn
                                                                       : Kind::other_control,
                    .marker = marker.value_or(Marker::end),
                    .text = {},
                    .from_here = std::string::npos};
}

std::optional<Lexer::Lexeme> Lexer::next(bool in_block) {
  if (markers_.are_spelled()) {
    if (auto lexeme = next_spelled(in_block)) return lexeme;
    if (!special_) return std::nullopt;
  }
  if (!std::exchange(unread_, false)) return std::nullopt;
  if (!special_) {
    text_.clear();
    take_text(bytes_, in_block);
    position_ = bytes_.size();
    return Lexeme{Kind::text, Marker::end, text_, std::string::npos};
  }
  if (special_->kind == Kind::end_of_turn && !in_block) think_.leave();
  return std::exchange(special_, std::nullopt);
}

std::optional<Lexer::Lexeme> Lexer::next_spelled(bool in_block) {
  text_.clear();
  const std::size_t begin = position_;
  while (position_ < bytes_.size()) {
    const std::string_view rest = std::string_view(bytes_).substr(position_);
    const SpelledMarker found = thinking() ? SpelledMarker{} : read_spelled_marker(rest);
    std::size_t size = 1;
    if (found.kind == SpelledMarker::Kind::beginning && !special_) break;
    if (found.kind == SpelledMarker::Kind::marker) {
      if (!text_.empty()) break;  // which comes first
      position_ += found.size;
      return Lexeme{Kind::marker, found.marker, {}, bytes_.size() - std::max(begin, token_begin_)};
    }
    if (found.kind == SpelledMarker::Kind::disarmed) {
      take_text("[", in_block);
      take_text(rest.substr(2, found.size - 2), in_block);
      size = found.size;
    } else {
      take_text(rest.substr(0, 1), in_block);
    }
    position_ += size;
  }
  if (text_.empty()) return std::nullopt;
  // Text of earlier tokens that a control token releases goes, if at all, with that one.
  return Lexeme{Kind::text, Marker::end, text_,
                special_ ? std::string::npos : bytes_.size() - std::max(begin, token_begin_)};
}

void Lexer::take_text(std::string_view text, bool in_block) {
  text_ += text;
  if (in_block) return;
  for (const char c : text) think_.feed(c);
}

void Lexer::drop_rest() {
  bytes_.resize(position_);
  special_.reset();
  unread_ = false;
}

void Lexer::begin_turn() {
  drop_rest();
  bytes_.clear();
  position_ = 0;
  think_.leave();
}

void Lexer::save(ParserState& out) const {
  out.held = held();
  out.thinking = think_.inside();
  out.matched = think_.matched();
}

bool Lexer::load(const ParserState& state) {
  const bool can_hold = state.held.empty() ||
                        (markers_.are_spelled() &&
                         read_spelled_marker(state.held).kind == SpelledMarker::Kind::beginning);
  if (!can_hold || !think_.load(state.thinking, state.matched)) return false;
  bytes_ = state.held;
  return true;
}

std::string Lexer::release() {
  std::string text = bytes_.substr(position_);
  drop_rest();
  return text;
}

struct Parser::Banned {
  static constexpr std::size_t kEndOfTurn = 1U << kMarkerCount;
  std::array<std::vector<Token>, 2 * kEndOfTurn> lists;
};

Parser::Parser(const Vocabulary& vocabulary, const Markers& markers, std::int32_t max_block_tokens,
               bool async_plus)
    : spelled_(markers.are_spelled()),
      lexer_(vocabulary, markers),
      async_plus_(async_plus),
      max_block_tokens_(max_block_tokens) {
  constexpr auto kHead = bit(Marker::head), kEnd = bit(Marker::end);
  auto banned = std::make_shared<Banned>();
  // What legal_markers() and the state give.
  for (const std::size_t legal :
       {Banned::kEndOfTurn | bit(Marker::call) | bit(Marker::trap),
        Banned::kEndOfTurn | bit(Marker::call), Banned::kEndOfTurn, std::size_t{0},
        std::size_t{kHead | kEnd}, std::size_t{kHead}, std::size_t{kEnd}}) {
    for (const Token token : lexer_.special_tokens()) {
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
      return lexer_.thinking() ? 0 : bit(Marker::call) | bit(Marker::trap);
    case State::first_part:
      return empty ? 0 : bit(Marker::head) | bit(Marker::end);
    case State::code:
    case State::trap_which:
      return empty ? 0 : bit(Marker::end);
    case State::trap_calls:
      return bit(empty || !async_plus_ ? Marker::end : Marker::head);
  }
  return 0;
}

std::span<const Token> Parser::banned(bool can_wait) const {
  const unsigned legal = legal_markers() & ~(can_wait ? 0U : bit(Marker::trap));
  return banned_->lists[legal | (in_block() ? 0 : Banned::kEndOfTurn)];
}

bool Parser::allows(Token token) const {
  Parser after = *this;
  after.read(token);
  while (const auto lexeme = after.lexer_.next(after.in_block())) {
    if (lexeme->kind == Lexer::Kind::marker &&
        (after.legal_markers() >> static_cast<unsigned>(lexeme->marker) & 1U) == 0) {
      return false;
    }
    (void)after.take(*lexeme);
  }
  if (!after.awaits_end()) return true;
  constexpr auto kEnd = kMarkerSpellings[static_cast<std::size_t>(Marker::end)];
  return trim(after.buffer_).empty() && kEnd.starts_with(after.lexer_.held());
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
  lexer_.begin_turn();
  state_ = State::text;
  buffer_.clear();
}

ParserState Parser::save() const {
  ParserState out{.place = static_cast<int>(state_),
                  .block_tokens = block_tokens_,
                  .id = id_,
                  .code = code_,
                  .buffer = buffer_,
                  .held = {},
                  .thinking = {},
                  .matched = {}};
  lexer_.save(out);
  return out;
}

bool Parser::load(const ParserState& state) {
  begin_turn();
  const int last = static_cast<int>(async_plus_ ? State::trap_which
                                    : spelled_  ? State::trap_calls
                                                : State::code);
  if (state.place < 0 || state.place > last || state.block_tokens < 0 ||
      state.block_tokens > max_block_tokens_ || !lexer_.load(state)) {
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

std::optional<Parser::Event> Parser::next() {
  const auto lexeme = lexer_.next(in_block());
  if (!lexeme) return std::nullopt;
  from_event_ = lexeme->from_here;
  return take(*lexeme);
}

Parser::Event Parser::take(const Lexer::Lexeme& lexeme) {
  switch (lexeme.kind) {
    case Lexer::Kind::text:
      return take_text(lexeme.text);
    case Lexer::Kind::marker:
      return take_marker(lexeme.marker);
    case Lexer::Kind::end_of_turn:
      return in_block() ? malformed("the turn ended inside a block", State::text)
                        : Event::end_of_turn;
    case Lexer::Kind::other_control:
      return malformed("a role token may not be written by the model", State::text);
  }
  return Event::none;
}

Parser::Event Parser::take_text(std::string_view text) {
  text_ = text;
  if (!in_block()) return Event::text;
  if (++block_tokens_ > max_block_tokens_) {
    return malformed("the call block is too long", State::text);
  }
  buffer_ += text;
  return Event::none;
}

Parser::Event Parser::take_marker(Marker marker) {
  if (lexer_.thinking() && (marker == Marker::call || marker == Marker::trap)) {
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
      if (state_ == State::trap_calls && !async_plus_) {
        return malformed("a trap names calls in async+ only", State::text);
      }
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
        return malformed(async_plus_ ? "a trap that names calls needs [HEAD] any or [HEAD] all"
                                     : "a trap names calls in async+ only",
                         State::text);
      }
      return close_block();
    case Marker::trap:
      if (in_block()) return malformed("[TRAP] inside a block", State::text);
      id_.clear();
      code_.clear();
      if (!model_closes_traps()) return Event::trap;
      open_block(State::trap_calls);
      return Event::none;
    case Marker::intr:
      return malformed("[INTR] is written by the runtime only", State::text);
  }
  return Event::none;
}

}  // namespace asynclm
