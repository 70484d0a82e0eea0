// SPDX-License-Identifier: Apache-2.0
// Which tokens of a vocabulary a grammar allows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <asynclm/engine.h>

#include "cml/markers.h"
#include "grammar/call_names.h"
#include "grammar/grammar.h"

namespace asynclm {

// A set of tokens; bit t of word t / 64.
class TokenSet {
 public:
  explicit TokenSet(Token size) : words_((static_cast<std::size_t>(size) + 63) / 64) {}
  void add(Token token) { words_[word(token)] |= bit(token); }
  void remove(Token token) { words_[word(token)] &= ~bit(token); }
  void add(const TokenSet& other) {
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] |= other.words_[i];
  }
  [[nodiscard]] bool contains(Token token) const { return (words_[word(token)] & bit(token)) != 0; }
  [[nodiscard]] std::span<const std::uint64_t> words() const { return words_; }

 private:
  static std::size_t word(Token token) { return static_cast<std::size_t>(token) / 64; }
  static std::uint64_t bit(Token token) {
    return std::uint64_t{1} << (static_cast<unsigned>(token) % 64U);
  }
  std::vector<std::uint64_t> words_;
};

// The texts of all tokens as a trie, laid out so that a walk reads it from front to back.
// Immutable; one for each vocabulary.
class TokenTrie {
 public:
  // Control tokens and tokens without bytes are left out.
  explicit TokenTrie(const Vocabulary& vocabulary);

  [[nodiscard]] Token vocabulary_size() const { return size_; }
  [[nodiscard]] std::size_t longest() const { return longest_; }  // bytes of a token
  // Bytes of a token; empty for those left out.
  [[nodiscard]] std::string_view bytes(Token token) const {
    const auto at = static_cast<std::size_t>(token);
    return std::string_view(text_).substr(offsets_[at], offsets_[at + 1] - offsets_[at]);
  }

  // Length of the longest end of `text` that further text could make the beginning of a token: up
  // to there the text's tokens are what they are, whatever follows.
  [[nodiscard]] std::size_t longest_open_end(std::string_view text) const;

  // Adds the tokens whose bytes the automaton can take from `state`; to `naming` those on whose way
  // it is inside the name of a call.
  void add_allowed(Automaton& automaton, Automaton::State state, TokenSet& out,
                   std::vector<Token>& naming) const;
  // Adds the tokens whose bytes can be taken with only `names` as names of calls.
  void add_allowed(Automaton& automaton, const CallNames& names, NamedState state,
                   TokenSet& out) const;

 private:
  struct Node {
    std::uint32_t end;    // the node after all that begin with this one
    std::uint32_t first;  // tokens [first, next node's first) of tokens_ are this text
    std::uint8_t byte;
    std::uint8_t depth;  // from 1; texts longer than 255 bytes are left out
  };
  struct Trie {
    std::vector<Node> nodes;  // in depth-first order, and one behind the last
    std::vector<Token> tokens;
  };
  struct Entry {
    std::string_view text;
    Token token;
  };
  [[nodiscard]] bool begins_a_longer_one(std::string_view text) const;
  static Trie make_trie(std::vector<Entry> entries);
  // From `begin`, which has a member `state`. step(at, byte, depth): what the next byte leads to.
  // found(token, at): a text that can be taken.
  template <class At, class Step, class Found>
  static void walk(const Trie& trie, At begin, Step step, Found found);

  Token size_;
  std::string text_;
  std::vector<std::uint32_t> offsets_;
  Trie all_;
  // Inside a string each plain character leads back to the same state. So tokens of such characters
  // alone are allowed at once, and of all others only what follows these characters counts: few
  // different ends, which are a trie of their own. Inside an id the same holds for its characters;
  // where it begins, a letter has to be the first.
  TokenSet plain_, id_from_letter_, id_;
  Trie behind_plain_, behind_id_from_letter_, behind_id_from_digit_;
  std::size_t longest_ = 0;  // bytes of a token
};

// The masks of one automaton over one vocabulary, each made when it is first asked for.
class TokenMasks {
 public:
  // Both must outlive the masks.
  TokenMasks(const TokenTrie& trie, const Markers& markers, Automaton& automaton)
      : trie_(&trie), markers_(markers), automaton_(&automaton), epoch_(automaton.epoch()) {}

  // Where the token leads from the state; Automaton::kDead where it is not allowed. Control tokens
  // are markers or not allowed.
  [[nodiscard]] Automaton::State step(Automaton::State state, Token token) const {
    if (const auto marker = markers_.marker(token)) {
      return automaton_->step(state, symbol_of(*marker));
    }
    const std::string_view bytes = trie_->bytes(token);
    return bytes.empty() ? Automaton::kDead : automaton_->advance(state, bytes);
  }

  // As step(), where only `names` are names of calls.
  [[nodiscard]] NamedState step(const CallNames& names, NamedState state, Token token) const;

  // All tokens that step() allows. Valid until the next call or Automaton::trim().
  [[nodiscard]] const TokenSet& mask(Automaton::State state) { return entry(state).allowed; }
  // The same with `names`; made in `out` where it is another than the mask of the state, which is
  // returned else.
  [[nodiscard]] const TokenSet& mask(const CallNames& names, NamedState state, TokenSet& out);

 private:
  static constexpr std::size_t kMaxBytes = std::size_t{64} << 20;
  // More than so many tokens with names in them are not asked one by one: then the walk is shorter.
  static constexpr std::size_t kFewNaming = 128;

  struct Entry {
    TokenSet allowed;
    std::vector<Token> naming;  // of them, those with a part of a name in them
  };
  [[nodiscard]] Entry& entry(Automaton::State state);

  const TokenTrie* trie_;
  Markers markers_;
  Automaton* automaton_;
  std::uint32_t epoch_;
  std::unordered_map<Automaton::State, Entry> masks_;
};

}  // namespace asynclm
