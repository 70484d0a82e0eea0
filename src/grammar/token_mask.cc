// SPDX-License-Identifier: Apache-2.0
#include "grammar/token_mask.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/utf8.h"
#include "cml/call_syntax.h"

namespace asynclm {
namespace {

constexpr std::size_t kLongest = std::numeric_limits<std::uint8_t>::max();

// Bytes of whole characters at the beginning that stand for themselves in a string.
std::size_t plain_bytes(std::string_view text) {
  const auto special = std::ranges::find_if(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; });
  return find_invalid_utf8(text.substr(0, static_cast<std::size_t>(special - text.begin())));
}

}  // namespace

TokenTrie::TokenTrie(const Vocabulary& vocabulary)
    : size_(vocabulary.size()), plain_(size_), id_from_letter_(size_), id_(size_) {
  offsets_.push_back(0);
  for (Token token = 0; token < size_; ++token) {
    if (!vocabulary.is_control(token) && !vocabulary.is_end_of_generation(token)) {
      vocabulary.append_piece(token, text_);
      if (text_.size() - offsets_.back() > kLongest) text_.resize(offsets_.back());
    }
    offsets_.push_back(static_cast<std::uint32_t>(text_.size()));
  }
  std::vector<Entry> all, behind_plain, behind_id_from_letter, behind_id_from_digit;
  for (Token token = 0; token < size_; ++token) {
    const std::string_view text = bytes(token);
    if (text.empty()) continue;
    longest_ = std::max(longest_, text.size());
    all.push_back({text, token});
    if (const std::size_t plain = plain_bytes(text); plain < text.size()) {
      behind_plain.push_back({text.substr(plain), token});
    } else {
      plain_.add(token);
    }
    const auto id =
        static_cast<std::size_t>(std::ranges::find_if_not(text, is_identifier_byte) - text.begin());
    if (id == 0) continue;
    const bool from_letter = text.front() < '0' || text.front() > '9';
    if (id == text.size()) {
      id_.add(token);
      if (from_letter) id_from_letter_.add(token);
    } else {
      (from_letter ? behind_id_from_letter : behind_id_from_digit)
          .push_back({text.substr(id), token});
    }
  }
  all_ = make_trie(std::move(all));
  behind_plain_ = make_trie(std::move(behind_plain));
  behind_id_from_letter_ = make_trie(std::move(behind_id_from_letter));
  behind_id_from_digit_ = make_trie(std::move(behind_id_from_digit));
}

TokenTrie::Trie TokenTrie::make_trie(std::vector<Entry> entries) {
  std::ranges::stable_sort(entries, {}, &Entry::text);
  Trie trie;
  std::vector<std::uint32_t> open;  // nodes of the last text
  std::string_view last;
  for (const auto& [text, token] : entries) {
    const auto [end, ignored] = std::ranges::mismatch(last, text);
    const auto common = static_cast<std::size_t>(end - last.begin());
    const auto close = [&](std::size_t depth) {
      for (; open.size() > depth; open.pop_back()) {
        trie.nodes[open.back()].end = static_cast<std::uint32_t>(trie.nodes.size());
      }
    };
    close(common);
    for (std::size_t i = common; i < text.size(); ++i) {
      open.push_back(static_cast<std::uint32_t>(trie.nodes.size()));
      trie.nodes.push_back({.end = 0,
                            .first = static_cast<std::uint32_t>(trie.tokens.size()),
                            .byte = static_cast<std::uint8_t>(text[i]),
                            .depth = static_cast<std::uint8_t>(i + 1)});
    }
    trie.tokens.push_back(token);
    last = text;
  }
  const auto count = static_cast<std::uint32_t>(trie.nodes.size());
  for (const std::uint32_t node : open) trie.nodes[node].end = count;
  trie.nodes.push_back({.end = count,
                        .first = static_cast<std::uint32_t>(trie.tokens.size()),
                        .byte = 0,
                        .depth = 0});
  return trie;
}

bool TokenTrie::begins_a_longer_one(std::string_view text) const {
  const std::vector<Node>& nodes = all_.nodes;
  std::size_t begin = 0, end = nodes.size() - 1;
  for (const char c : text) {
    while (begin < end && nodes[begin].byte != static_cast<std::uint8_t>(c)) {
      begin = nodes[begin].end;
    }
    if (begin == end) return false;
    end = nodes[begin].end;
    ++begin;
  }
  return begin < end;
}

std::size_t TokenTrie::longest_open_end(std::string_view text) const {
  std::size_t size = std::min(text.size(), longest_);
  while (size > 0 && !begins_a_longer_one(text.substr(text.size() - size))) --size;
  return size;
}

template <class At, class Step, class Found>
void TokenTrie::walk(const Trie& trie, At begin, Step step, Found found) {
  // at[d]: what d bytes of the text that is being walked lead to.
  std::array<At, kLongest + 1> at;
  at[0] = begin;
  const std::size_t count = trie.nodes.size() - 1;
  for (std::size_t i = 0; i < count;) {
    const Node& node = trie.nodes[i];
    const At next = step(at[node.depth - 1U], node.byte, node.depth);
    if (next.state == Automaton::kDead) {
      i = node.end;
      continue;
    }
    at[node.depth] = next;
    for (std::uint32_t t = node.first; t < trie.nodes[i + 1].first; ++t) {
      found(trie.tokens[t], next);
    }
    ++i;
  }
}

void TokenTrie::add_allowed(Automaton& automaton, Automaton::State state, TokenSet& out,
                            std::vector<Token>& naming) const {
  using State = Automaton::State;
  struct At {
    State state = Automaton::kDead;
    bool named = false;
  };
  const auto is_named = [&](State at) { return automaton.naming(at) != Automaton::Naming::no; };
  // first(state, byte): where it goes on from the state behind the first byte.
  const auto walk_from = [&](const Trie& trie, State begin, auto first) {
    walk(
        trie, At{begin, is_named(begin)},
        [&](At at, std::uint8_t byte, std::uint8_t depth) {
          State next = automaton.step(at.state, byte);
          if (depth == 1 && next != Automaton::kDead) next = first(next, static_cast<char>(byte));
          return At{next, at.named || is_named(next)};
        },
        [&](Token token, At at) {
          out.add(token);
          if (at.named) naming.push_back(token);
        });
  };
  const auto as_it_is = [](State next, char) { return next; };
  if (automaton.loops_on_text(state)) {
    out.add(plain_);
    return walk_from(behind_plain_, state, as_it_is);
  }
  switch (automaton.takes_identifiers(state)) {
    case Automaton::Identifier::no:
      return walk_from(all_, state, as_it_is);
    case Automaton::Identifier::anywhere: {
      const State identifier = automaton.identifier();
      out.add(id_);
      walk_from(behind_id_from_letter_, identifier, as_it_is);
      walk_from(behind_id_from_digit_, identifier, as_it_is);
      walk_from(all_, identifier,
                [](State next, char c) { return is_identifier_byte(c) ? Automaton::kDead : next; });
      return walk_from(all_, automaton.without_identifier(state), as_it_is);
    }
    case Automaton::Identifier::from_letter:
      out.add(id_from_letter_);
      walk_from(behind_id_from_letter_, automaton.identifier(), as_it_is);
      return walk_from(all_, state, [&](State next, char c) {
        return is_identifier_byte(c) ? automaton.without_identifier(next) : next;
      });
  }
}

void TokenTrie::add_allowed(Automaton& automaton, const CallNames& names, NamedState state,
                            TokenSet& out) const {
  walk(
      all_, state,
      [&](NamedState at, std::uint8_t byte, std::uint8_t) {
        return asynclm::step(automaton, names, at, byte);
      },
      [&](Token token, NamedState) { out.add(token); });
}

NamedState TokenMasks::step(const CallNames& names, NamedState state, Token token) const {
  if (const auto marker = markers_.marker(token)) {
    return asynclm::step(*automaton_, names, state, symbol_of(*marker));
  }
  const std::string_view bytes = trie_->bytes(token);
  if (bytes.empty()) return {};
  for (std::size_t i = 0; i < bytes.size() && state.state != Automaton::kDead; ++i) {
    state = asynclm::step(*automaton_, names, state, static_cast<unsigned char>(bytes[i]));
  }
  return state;
}

const TokenSet& TokenMasks::mask(const CallNames& names, NamedState state, TokenSet& out) {
  if (automaton_->naming(state.state) == Automaton::Naming::no) {
    const Entry& any = entry(state.state);
    if (any.naming.empty()) return any.allowed;
    if (any.naming.size() <= kFewNaming) {
      out = any.allowed;
      for (const Token token : any.naming) {
        if (step(names, state, token).state == Automaton::kDead) out.remove(token);
      }
      return out;
    }
  }
  out = TokenSet(trie_->vocabulary_size());
  trie_->add_allowed(*automaton_, names, state, out);
  for (std::size_t i = 0; i < kMarkerCount; ++i) {
    const Token token = markers_.token(static_cast<Marker>(i));
    if (step(names, state, token).state != Automaton::kDead) out.add(token);
  }
  return out;
}

TokenMasks::Entry& TokenMasks::entry(Automaton::State state) {
  const std::size_t bytes = static_cast<std::size_t>(trie_->vocabulary_size()) / 8 + 1;
  if (epoch_ != automaton_->epoch() || masks_.size() * bytes > kMaxBytes) {
    epoch_ = automaton_->epoch();
    masks_.clear();
  }
  const auto [at, is_new] =
      masks_.try_emplace(state, Entry{TokenSet(trie_->vocabulary_size()), {}});
  if (is_new) {
    trie_->add_allowed(*automaton_, state, at->second.allowed, at->second.naming);
    for (std::size_t i = 0; i < kMarkerCount; ++i) {
      const auto marker = static_cast<Marker>(i);
      if (automaton_->step(state, symbol_of(marker)) != Automaton::kDead) {
        at->second.allowed.add(markers_.token(marker));
      }
    }
  }
  return at->second;
}

}  // namespace asynclm
