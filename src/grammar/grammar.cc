// SPDX-License-Identifier: Apache-2.0
#include "grammar/grammar.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "cml/call_syntax.h"

namespace asynclm {
namespace {

std::size_t mix(std::size_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x9E3779B97F4A7C15ULL + (hash >> 29);
}

// Digits first.
constexpr std::string_view kIdentifierBytes =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz";

// Whether a number that begins with `digits` can end between low and high; all from zero on.
bool can_reach(std::uint64_t digits, std::uint64_t low, std::uint64_t high) {
  std::uint64_t first = digits, last = digits;
  while (first <= high) {
    if (last >= low) return true;
    if (last > std::numeric_limits<std::uint64_t>::max() / 10 - 9) return false;
    first *= 10;
    last = last * 10 + 9;
  }
  return false;
}

}  // namespace

std::size_t Automaton::StackHash::operator()(const Stack& stack) const {
  std::size_t hash = mix(stack.top.node, stack.top.count);
  hash = mix(hash, stack.top.data);
  return mix(hash, stack.rest);
}

std::size_t Automaton::StateHash::operator()(const std::vector<StackId>& stacks) const {
  std::size_t hash = stacks.size();
  for (const StackId stack : stacks) hash = mix(hash, stack);
  return hash;
}

Automaton::Automaton(std::shared_ptr<const Grammar> grammar, Naming names)
    : grammar_(std::move(grammar)), names_(names) {
  begin();
}

void Automaton::begin() {
  stacks_.assign(1, {});  // kEmpty
  stack_ids_.clear();
  states_.clear();
  state_ids_.clear();
  (void)intern({});  // kDead
  finished_ = intern({kEmpty});
  call_ = intern({push({.node = grammar_->call_}, kEmpty)});
  trap_ = grammar_->trap_ == 0 ? kDead : intern({push({.node = grammar_->trap_}, kEmpty)});
  identifier_ = kUnknown;
}

// Behind a first letter with which no tool's name begins; where there is none, it is not found.
Automaton::State Automaton::identifier() {
  if (identifier_ != kUnknown) return identifier_;
  identifier_ = kDead;  // if there is none
  for (const char first : kIdentifierBytes) {
    const State state = step(call_, static_cast<Symbol>(first));
    if (state != kDead && std::ranges::all_of(kIdentifierBytes, [&](char next) {
          return step(state, static_cast<Symbol>(next)) == state;
        })) {
      return identifier_ = state;
    }
  }
  return kDead;
}

Automaton::State Automaton::without_identifier(State state) {
  if (!is_inside_identifier(state)) return state;
  std::vector<StackId> others;
  std::ranges::set_difference(*states_[state].stacks, *states_[identifier_].stacks,
                              std::back_inserter(others));
  return intern(std::move(others));
}

bool Automaton::is_inside_identifier(State state) const {
  return identifier_ != kDead &&
         std::ranges::includes(*states_[state].stacks, *states_[identifier_].stacks);
}

Automaton::Identifier Automaton::takes_identifiers(State state) {
  (void)identifier();
  if (is_inside_identifier(state)) return Identifier::anywhere;
  constexpr std::string_view kLetters = kIdentifierBytes.substr(10);
  const bool begins = std::ranges::all_of(kLetters, [&](char letter) {
    return is_inside_identifier(step(state, static_cast<Symbol>(letter)));
  });
  return begins ? Identifier::from_letter : Identifier::no;
}

void Automaton::trim() {
  if (states_.size() < kManyStates) return;
  ++epoch_;
  begin();
}

Automaton::StackId Automaton::push(Item item, StackId rest) {
  const Stack stack{item, rest, stacks_[rest].depth + 1};
  const auto [at, is_new] = stack_ids_.try_emplace(stack, static_cast<StackId>(stacks_.size()));
  if (is_new) stacks_.push_back(stack);
  return at->second;
}

Automaton::State Automaton::intern(std::vector<StackId> stacks) {
  std::ranges::sort(stacks);
  const auto repeated = std::ranges::unique(stacks);
  stacks.erase(repeated.begin(), repeated.end());
  // Never wrong, only narrower: what is left out cannot be written.
  if (stacks.size() > kMaxStacks) stacks.resize(kMaxStacks);
  const auto [at, is_new] =
      state_ids_.try_emplace(std::move(stacks), static_cast<State>(states_.size()));
  if (is_new) {
    StateData& state = states_.emplace_back();
    state.next.assign(kSymbols, at->first.empty() ? kDead : kUnknown);
    state.stacks = &at->first;  // nodes of the map do not move
    state.naming = naming_of(at->first);
  }
  return at->second;
}

// What is not a name begins with other characters, so one stack speaks for all.
Automaton::Naming Automaton::naming_of(const std::vector<StackId>& stacks) const {
  if (stacks.empty() || stacks.front() == kEmpty) return Naming::no;
  const Item& top = stacks_[stacks.front()].top;
  const Grammar::Node& node = grammar_->nodes_[top.node];
  if (node.kind != Grammar::Kind::name || top.count == 0) return Naming::no;
  return node.min == 0 ? Naming::any : Naming::open;
}

Automaton::State Automaton::step_slowly(State state, Symbol symbol) {
  found_.clear();
  for (const StackId stack : *states_[state].stacks) match(stack, symbol);
  const State next = intern(found_);
  states_[state].next[symbol] = next;
  return next;
}

void Automaton::match(StackId stack, Symbol symbol) {
  if (stack == kEmpty) return;
  const Item item = stacks_[stack].top;
  const StackId rest = stacks_[stack].rest;
  const Grammar::Node& node = grammar_->nodes_[item.node];
  switch (node.kind) {
    case Grammar::Kind::nothing:
      return match(rest, symbol);
    case Grammar::Kind::never:
      return;
    case Grammar::Kind::literal:
      if (grammar_->literals_[node.first + item.count] != symbol) return;
      return found(item.count + 1 == node.size ? rest : push({item.node, item.count + 1}, rest));
    case Grammar::Kind::bytes:
      if (symbol < 256 && grammar_->sets_[node.first][symbol]) found(rest);
      return;
    case Grammar::Kind::sequence: {
      StackId all = rest;
      for (std::uint32_t i = node.size; i-- > 0;) {
        all = push({.node = grammar_->children_[node.first + i]}, all);
      }
      return match(all, symbol);
    }
    case Grammar::Kind::choice:
      for (std::uint32_t i = 0; i < node.size; ++i) {
        const Grammar::NodeId child = grammar_->children_[node.first + i];
        if (may_begin(child, symbol)) match(push({.node = child}, rest), symbol);
      }
      return;
    case Grammar::Kind::repeat: {
      if (item.count < node.max) {
        // Where any number may follow, how many there were does not matter.
        const std::uint32_t count =
            node.max == Grammar::kUnbounded ? std::min(item.count + 1, node.min) : item.count + 1;
        match(push({.node = grammar_->children_[node.first]}, push({item.node, count}, rest)),
              symbol);
      }
      if (item.count >= node.min) match(rest, symbol);
      return;
    }
    case Grammar::Kind::trie:
      return match_trie(item, rest, symbol);
    case Grammar::Kind::members:
      return match_members(item, rest, symbol);
    case Grammar::Kind::items:
      return match_items(item, rest, symbol);
    case Grammar::Kind::integer:
      return match_integer(item, rest, symbol);
    case Grammar::Kind::named:
      if (names_ < (node.min == 0 ? Naming::any : Naming::open)) return;
      return match(push({.node = grammar_->children_[node.first]}, rest), symbol);
    case Grammar::Kind::name: {
      // Item.count: 1 behind the first character.
      const bool begun = item.count > 0;
      const bool goes_on = symbol < 256 && is_identifier_byte(static_cast<char>(symbol)) &&
                           (begun || symbol < '0' || symbol > '9');
      if (goes_on) return found(push({item.node, 1}, rest));
      if (begun) match(rest, symbol);
      return;
    }
  }
}

bool Automaton::may_begin(Grammar::NodeId id, Symbol symbol) const {
  const Grammar::Node* node = &grammar_->nodes_[id];
  while (node->kind == Grammar::Kind::sequence && node->size > 0) {
    node = &grammar_->nodes_[grammar_->children_[node->first]];
  }
  switch (node->kind) {
    case Grammar::Kind::literal:
      return grammar_->literals_[node->first] == symbol;
    case Grammar::Kind::bytes:
      return symbol < 256 && grammar_->sets_[node->first][symbol];
    default:
      return true;
  }
}

// Item.count: the place in the trie, 0 its root. In the keys of an object (node.size: its entry
// and one) Item.data are the keys used.
void Automaton::match_trie(const Item& item, StackId rest, Symbol symbol) {
  const Grammar& g = *grammar_;
  const Grammar::Node& node = g.nodes_[item.node];
  const Grammar::Object* object = node.size == 0 ? nullptr : &g.objects_[node.size - 1];
  const std::uint64_t possible =
      object == nullptr ? ~std::uint64_t{0} : keys_possible(*object, item.data);
  const std::uint32_t place = item.count == 0 ? node.first : item.count;
  for (std::uint32_t child = g.trie_[place].child; child != 0; child = g.trie_[child].sibling) {
    const Grammar::TrieNode& at = g.trie_[child];
    if (at.byte != symbol || (at.below & possible) == 0) continue;
    if (at.child != 0) found(push({item.node, child, item.data}, rest));
    if (at.then == 0) return;
    if (object == nullptr) return found(push({.node = at.then}, rest));
    const std::uint64_t bit = std::uint64_t{1} << at.key;
    if ((possible & bit) == 0) return;
    // ": value", then the rest of the object.
    const Item members{.node = node.min, .count = 1, .data = item.data | bit};
    return found(push({.node = object->close_key}, push({.node = at.then}, push(members, rest))));
  }
}

std::uint64_t Automaton::keys_possible(const Grammar::Object& object, std::uint64_t used) const {
  const std::uint64_t left = object.all & ~used;
  if (!object.canonical_order) return left;
  // After the last one used, up to and with the first one that must not be left out.
  const int last = used == 0 ? 0 : 64 - std::countl_zero(used);
  const std::uint64_t later = last == 64 ? 0 : left & (~std::uint64_t{0} << last);
  const std::uint64_t needed = later & object.required;
  if (needed == 0) return later;
  const int next = std::countr_zero(needed);
  return next == 63 ? later : later & ((std::uint64_t{1} << (next + 1)) - 1);
}

// Item.count: 0 after the opening bracket, 1 after a value. Item.data: the keys used.
void Automaton::match_members(const Item& item, StackId rest, Symbol symbol) {
  const Grammar::Object& object = grammar_->objects_[grammar_->nodes_[item.node].first];
  if ((object.required & ~item.data) == 0) match(push({.node = object.close}, rest), symbol);
  const auto after_comma = [&](StackId key) {
    StackId stack = push({.node = object.open_quote}, key);
    if (item.count > 0) stack = push({.node = object.comma}, stack);
    match(stack, symbol);
  };
  if (object.keys != 0 && keys_possible(object, item.data) != 0) {
    after_comma(push({.node = object.keys, .data = item.data}, rest));
  }
  if (object.additional_key != 0 && stacks_[rest].depth < kMaxDepth) {
    StackId stack = push({item.node, 1, item.data}, rest);
    stack = push({.node = object.additional_value}, stack);
    stack = push({.node = object.close_key}, stack);
    after_comma(push({.node = object.additional_key}, stack));
  }
}

// Item.count: the values so far.
void Automaton::match_items(const Item& item, StackId rest, Symbol symbol) {
  const Grammar::Array& array = grammar_->arrays_[grammar_->nodes_[item.node].first];
  if (item.count >= array.min) match(push({.node = array.close}, rest), symbol);
  if (item.count >= array.max || stacks_[rest].depth >= kMaxDepth) return;
  const std::uint32_t enough = std::max({array.min, array.size, std::uint32_t{1}});
  const std::uint32_t count =
      array.max == Grammar::kUnbounded ? std::min(item.count + 1, enough) : item.count + 1;
  const std::uint32_t place = std::min(item.count, array.size - 1);
  StackId stack = push({item.node, count}, rest);
  stack = push({.node = grammar_->children_[array.first + place]}, stack);
  if (item.count > 0) stack = push({.node = array.comma}, stack);
  match(stack, symbol);
}

// Item.count: 0 nothing yet, 1 a minus, 2 digits, 3 a minus and digits. Item.data: the digits.
void Automaton::match_integer(const Item& item, StackId rest, Symbol symbol) {
  const Grammar::Node& node = grammar_->nodes_[item.node];
  const std::int64_t low = grammar_->bounds_[node.first];
  const std::int64_t high = grammar_->bounds_[node.first + 1];
  const bool minus = (item.count & 1U) != 0;
  const bool some = item.count >= 2;
  // The bounds of the digits alone, as numbers from zero on; empty where first > last.
  const auto magnitude = [](std::int64_t value) {
    return value < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(value)
                     : static_cast<std::uint64_t>(value);
  };
  const bool none = minus ? low >= 0 : high < 0;
  const std::uint64_t first =
      minus ? (high < 0 ? magnitude(high) : 1) : (low > 0 ? magnitude(low) : 0);
  const std::uint64_t last = minus ? magnitude(low) : magnitude(high);
  if (item.count == 0 && symbol == '-' && low < 0) return found(push({item.node, 1}, rest));
  if (none) return;
  if (some && item.data >= first && item.data <= last) match(rest, symbol);
  if (symbol < '0' || symbol > '9' || (some && item.data == 0)) return;
  const auto digit = static_cast<std::uint64_t>(symbol - '0');
  if (minus && !some && digit == 0) return;  // no -0
  if (item.data > (std::numeric_limits<std::uint64_t>::max() - 9) / 10) return;
  const std::uint64_t digits = item.data * 10 + digit;
  if (digits == 0 ? first > 0 : !can_reach(digits, first, last)) return;
  found(push({item.node, minus ? 3U : 2U, digits}, rest));
}

std::optional<Symbol> Automaton::forced(State state) {
  if (states_[state].forced == kForcedUnknown) {
    std::int32_t only = kForcedNone;
    const auto symbols = static_cast<Symbol>(loops_on_text(state) ? 0 : kSymbols);
    for (Symbol symbol = 0; symbol < symbols; ++symbol) {
      if (step(state, symbol) == kDead) continue;
      if (only != kForcedNone) {
        only = kForcedNone;
        break;
      }
      only = symbol;
    }
    states_[state].forced = only;
  }
  const std::int32_t only = states_[state].forced;
  return only < 0 ? std::nullopt : std::optional(static_cast<Symbol>(only));
}

// Names begin with a letter, and there is a name for each of them.
bool Automaton::may_name(State state) {
  if (states_[state].may_name == Known::unknown) {
    const bool names =
        states_[state].naming != Naming::no || states_[step(state, 'a')].naming != Naming::no;
    states_[state].may_name = names ? Known::yes : Known::no;
  }
  return states_[state].may_name == Known::yes;
}

// In a string of any length that nothing else could be.
bool Automaton::is_inside_string(State state) const {
  const std::vector<StackId>& stacks = *states_[state].stacks;
  if (stacks.size() != 1) return false;
  const Item& top = stacks_[stacks.front()].top;
  const Grammar::Node& node = grammar_->nodes_[top.node];
  return node.kind == Grammar::Kind::repeat && node.max == Grammar::kUnbounded &&
         top.count == node.min && grammar_->children_[node.first] == grammar_->character_;
}

bool Automaton::loops_on_text(State state) {
  if (states_[state].loops == Known::unknown) {
    bool loops = state != kDead;
    const bool in_string = is_inside_string(state);  // then there is no need to try
    for (int byte = 0x20; loops && byte < 0x80; ++byte) {
      if (byte == '"' || byte == '\\') continue;
      const auto symbol = static_cast<Symbol>(byte);
      if (in_string) states_[state].next[symbol] = state;
      loops = step(state, symbol) == state;
    }
    // Strings have one set of characters, so one of each length speaks for all.
    for (const std::string_view text : {"\xC2\x80", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"}) {
      loops = loops && advance(state, text) == state;
    }
    states_[state].loops = loops ? Known::yes : Known::no;
  }
  return states_[state].loops == Known::yes;
}

}  // namespace asynclm
