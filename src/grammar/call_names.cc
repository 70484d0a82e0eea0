// SPDX-License-Identifier: Apache-2.0
#include "grammar/call_names.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace asynclm {
namespace {

bool may_be(const CallName& name, Automaton::Naming naming) {
  return name.open || naming == Automaton::Naming::any;
}

}  // namespace

CallNames::CallNames(std::vector<CallName> names) : names_(std::move(names)) {
  constexpr std::size_t kMost = std::numeric_limits<std::uint16_t>::max();
  // The latest ones are the likeliest to be named.
  if (names_.size() > kMost) names_.erase(names_.begin(), names_.end() - kMost);
  std::ranges::sort(names_, {}, &CallName::id);
  if (names_.empty()) return;
  most_ = std::ranges::any_of(names_, &CallName::open) ? Automaton::Naming::open
                                                       : Automaton::Naming::any;
}

CallNames::Place CallNames::step(Place place, char byte, Automaton::Naming naming) const {
  const auto at = [&](std::uint16_t i) { return names_.begin() + i; };
  // Those that have ended already come first, then by the next byte.
  const auto next = [&](const CallName& name) {
    return name.id.size() > place.length ? static_cast<unsigned char>(name.id[place.length]) : -1;
  };
  const auto found = std::ranges::equal_range(at(place.first), at(place.last),
                                              static_cast<unsigned char>(byte), {}, next);
  if (std::ranges::none_of(found, [&](const CallName& name) { return may_be(name, naming); })) {
    return {};
  }
  return {.first = static_cast<std::uint16_t>(found.begin() - names_.begin()),
          .last = static_cast<std::uint16_t>(found.end() - names_.begin()),
          .length = static_cast<std::uint16_t>(place.length + 1)};
}

bool CallNames::is_whole(Place place, Automaton::Naming naming) const {
  // The shortest of those that begin so comes first.
  return place.first < place.last && names_[place.first].id.size() == place.length &&
         may_be(names_[place.first], naming);
}

NamedState step(Automaton& automaton, const CallNames& names, NamedState from, Symbol symbol) {
  using Naming = Automaton::Naming;
  const Automaton::State to = automaton.step(from.state, symbol);
  const Naming was = automaton.naming(from.state), is = automaton.naming(to);
  if (is != Naming::no) {
    const CallNames::Place place = was == Naming::no ? names.begin() : from.place;
    const CallNames::Place next = names.step(place, static_cast<char>(symbol), is);
    return next.first == next.last ? NamedState{} : NamedState{to, next};
  }
  if (was != Naming::no && !names.is_whole(from.place, was)) return {};
  return {to, {}};
}

}  // namespace asynclm
