// SPDX-License-Identifier: Apache-2.0
#include "session/monitor.h"

#include <algorithm>
#include <utility>

#include "cml/call_syntax.h"

namespace asynclm {
namespace {

// Forced text longer than this is cut: the rest is forced with the next token.
constexpr std::size_t kMaxForced = 4096;

// With how many bytes of an id the text begins.
std::size_t id_bytes(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::find_if_not(text, is_identifier_byte) -
                                  text.begin());
}

}  // namespace

Result<std::shared_ptr<CallGrammar>> CallGrammar::create(const Vocabulary& vocabulary,
                                                         std::shared_ptr<const TokenTrie> trie,
                                                         const std::vector<ToolSpec>& tools,
                                                         const GrammarOptions& options) {
  const auto markers = options.json ? Result<Markers>(Markers::none()) : Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  auto grammar = Grammar::compile(tools, options);
  if (!grammar) return std::unexpected(grammar.error());
  return std::shared_ptr<CallGrammar>(
      new CallGrammar(vocabulary, std::move(trie), *markers,
                      std::make_shared<const Grammar>(std::move(*grammar)), options));
}

CallGrammar::CallGrammar(const Vocabulary& vocabulary, std::shared_ptr<const TokenTrie> trie,
                         const Markers& markers, const std::shared_ptr<const Grammar>& grammar,
                         const GrammarOptions& options)
    : vocabulary_(vocabulary),
      trie_(std::move(trie)),
      markers_(markers),
      has_calls_(grammar->has_calls()),
      has_markers_(!options.json),
      nothing_named_(grammar, Automaton::Naming::no, *trie_, markers) {
  if (!options.async_plus) return;
  ended_named_.emplace(grammar, Automaton::Naming::any, *trie_, markers);
  open_named_.emplace(grammar, Automaton::Naming::open, *trie_, markers);
}

void Monitor::open(Marker marker, std::vector<CallName> names) {
  open_ = marker;
  if (!shared_->open_named_) names.clear();
  names_ = CallNames(std::move(names));
  block_.clear();
  part_ = 0;
  written_.clear();
  draft_.clear();
  Automaton& automaton = variant().automaton;
  automaton.trim();
  epoch_ = automaton.epoch();
  state_ = begin();
}

NamedState Monitor::begin() {
  const Automaton& automaton = variant().automaton;
  return {*open_ == Marker::call ? automaton.call() : automaton.trap(), {}};
}

// Another session may have made the automaton forget its states.
NamedState Monitor::state() {
  Automaton& automaton = variant().automaton;
  if (epoch_ != automaton.epoch()) {
    epoch_ = automaton.epoch();
    state_ = begin();
    for (const Token token : block_) state_ = step(state_, token);
  }
  return state_;
}

NamedState Monitor::state_behind(std::size_t drafted) {
  NamedState state = this->state();
  for (std::size_t i = 0; i < drafted; ++i) state = step(state, draft_[i]);
  return state;
}

void Monitor::advance(Token token) {
  state_ = step(state(), token);
  block_.push_back(token);
  draft_.clear();
  const auto marker = shared_->markers_.marker(token);
  if (marker) {
    part_ = block_.size();
    written_.clear();
  } else {
    shared_->vocabulary_.append_piece(token, written_);
  }
  if (marker == Marker::end || state_.state == variant().automaton.finished()) close();
}

// The model is about to close the id of a call, and it cannot be one.
bool Monitor::id_is_taken() const {
  if (open_ != Marker::call || part_ != 0 || !shared_->has_markers_) return false;
  return !is_free_(written_.substr(0, written_.find(' ')));
}

// Bytes that the id of a call may still have; where there is no id, more than a token has.
std::size_t Monitor::id_room() const {
  const bool in_id = open_ == Marker::call && part_ == 0 && shared_->has_markers_ &&
                     id_bytes(written_) == written_.size();
  return in_id ? kMaxIdentifier - std::min(kMaxIdentifier, written_.size()) : std::string::npos;
}

// Too long for the id, or the last that it has room for, and then it is one that is taken: nothing
// could follow.
bool Monitor::overfills_id(Token token, std::size_t room) const {
  const std::string_view bytes = shared_->trie_->bytes(token);
  const std::size_t count = id_bytes(bytes);
  if (count != room || room == 0) return count > room;
  return !is_free_(written_ + std::string(bytes.substr(0, count)));
}

bool Monitor::allows(Token token, std::size_t drafted) {
  if (step(state_behind(drafted), token).state == Automaton::kDead) return false;
  if (overfills_id(token, id_room())) return false;
  return token != shared_->markers_.token(Marker::head) || !id_is_taken();
}

std::span<const std::uint64_t> Monitor::allowed(std::size_t drafted) {
  const std::span<const std::uint64_t> all =
      variant().masks.mask(names_, state_behind(drafted), named_).words();
  const std::size_t room = id_room();
  const bool taken = id_is_taken();
  if (!taken && room > shared_->trie_->longest()) return all;
  narrowed_.assign(all.begin(), all.end());
  for (Token token = 0; room <= shared_->trie_->longest() && token < shared_->vocabulary_.size();
       ++token) {
    if (!overfills_id(token, room)) continue;
    narrowed_[static_cast<std::size_t>(token) / 64] &= ~(std::uint64_t{1} << (token % 64));
  }
  if (!taken) return narrowed_;
  const auto head = static_cast<std::size_t>(shared_->markers_.token(Marker::head));
  narrowed_[head / 64] &= ~(std::uint64_t{1} << (head % 64));
  return narrowed_;
}

// The only symbol that can follow; nothing where several or none can.
std::optional<Symbol> Monitor::only_symbol(NamedState state) {
  Automaton& automaton = variant().automaton;
  if (!automaton.may_name(state.state)) return automaton.forced(state.state);
  std::optional<Symbol> only;
  for (Symbol symbol = 0; symbol < kSymbols; ++symbol) {
    if (asynclm::step(automaton, names_, state, symbol).state == Automaton::kDead) continue;
    if (only) return std::nullopt;
    only = symbol;
  }
  return only;
}

std::span<const Token> Monitor::forced() {
  forced_.clear();
  NamedState state = this->state();
  std::string text;
  std::optional<Symbol> next = only_symbol(state);
  while (next && *next < 256 && text.size() < kMaxForced) {
    text += static_cast<char>(*next);
    state = asynclm::step(variant().automaton, names_, state, *next);
    next = only_symbol(state);
  }
  const bool to_marker =
      next && *next >= 256 && !(*next == symbol_of(Marker::head) && id_is_taken());
  if (text.empty() && !to_marker) return {};
  const bool to_end = to_marker || state.state == variant().automaton.finished();

  const std::size_t before = block_.size() - part_;
  if (!text.empty()) {
    const std::vector<Token> whole = tokens_with(text);
    if (whole.empty()) return {};
    std::size_t keep = whole.size();
    if (!to_end) {
      // Tokens that could be others if more text followed are left to the model.
      const std::size_t open = shared_->trie_->longest_open_end(written_ + text);
      std::size_t end = written_.size() + text.size();
      const std::size_t safe = end - open;
      while (keep > before) {
        if (end <= safe) break;
        end -= shared_->trie_->bytes(whole[keep - 1]).size();
        --keep;
      }
    }
    forced_.assign(whole.begin() + static_cast<std::ptrdiff_t>(before),
                   whole.begin() + static_cast<std::ptrdiff_t>(keep));
    if (keep < whole.size()) return forced_;
  }
  if (to_marker) {
    forced_.push_back(shared_->markers_.token(static_cast<Marker>(*next - 256U)));
  }
  return forced_;
}

std::span<const Token> Monitor::beginning(std::string_view text) {
  forced_.clear();
  const std::vector<Token> whole = shared_->vocabulary_.encode(text);
  const std::size_t open = shared_->trie_->longest_open_end(text);
  NamedState state = this->state();
  std::size_t end = 0;
  for (const Token token : whole) {
    end += shared_->trie_->bytes(token).size();
    state = step(state, token);
    if (state.state == Automaton::kDead || end + open > text.size()) break;
    forced_.push_back(token);
  }
  return forced_;
}

// What the text since the last marker would be with `text` behind it, tokenised as one. Empty if
// the model has written something that text does not become: its way is its own.
std::vector<Token> Monitor::tokens_with(std::string_view text) const {
  std::vector<Token> whole = shared_->vocabulary_.encode(written_ + std::string(text));
  const std::span<const Token> written = std::span(block_).subspan(part_);
  if (whole.size() <= written.size() ||
      !std::ranges::equal(written, std::span(whole).first(written.size()))) {
    whole.clear();
  }
  return whole;
}

std::span<const Token> Monitor::draft(std::string_view continuation, std::size_t limit) {
  draft_.clear();
  const bool in_code = part_ != 0 || !shared_->has_markers_;
  if (open_ != Marker::call || !in_code || continuation.empty()) return {};
  NamedState state = this->state();
  const std::vector<Token> whole = tokens_with(continuation);
  for (std::size_t i = block_.size() - part_; i < whole.size() && draft_.size() < limit; ++i) {
    state = step(state, whole[i]);
    // Behind a token that is followed by forced ones nothing is to be sampled.
    if (state.state == Automaton::kDead || only_symbol(state)) break;
    draft_.push_back(whole[i]);
  }
  return draft_;
}

}  // namespace asynclm
