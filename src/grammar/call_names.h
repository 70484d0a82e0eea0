// SPDX-License-Identifier: Apache-2.0
// The names of calls that a block may refer to (`after a`, `$a.path`, cancel(a), [TRAP] a). A
// grammar is compiled from tools alone and takes any name there; which calls there are is a
// session's own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "grammar/grammar.h"

namespace asynclm {

struct CallName {
  std::string id;
  bool open = true;  // it has not ended: it can be cancelled
  bool operator==(const CallName&) const = default;
};

class CallNames {
 public:
  // A name as far as it is written: those that begin so are names_[first, last). As small as it is,
  // so that a walk over a vocabulary can keep one for each byte.
  struct Place {
    std::uint16_t first = 0, last = 0, length = 0;
  };

  CallNames() = default;
  // At most 65,535; the rest cannot be named.
  explicit CallNames(std::vector<CallName> names);

  [[nodiscard]] const std::vector<CallName>& all() const { return names_; }
  // What there is to name.
  [[nodiscard]] Automaton::Naming most() const { return most_; }

  // Where no byte is written yet.
  [[nodiscard]] Place begin() const {
    return {.first = 0, .last = static_cast<std::uint16_t>(names_.size()), .length = 0};
  }
  // One byte further, of a name that `naming` asks for. Then `first == last` if there is none.
  [[nodiscard]] Place step(Place place, char byte, Automaton::Naming naming) const;
  // Whether what is written is a whole name.
  [[nodiscard]] bool is_whole(Place place, Automaton::Naming naming) const;

 private:
  std::vector<CallName> names_;  // by id
  Automaton::Naming most_ = Automaton::Naming::no;
};

// A state of the automaton, and where the name stands of which it is inside.
struct NamedState {
  Automaton::State state = Automaton::kDead;
  CallNames::Place place = {};
};

// As Automaton::step, but only names of `names` can be written: else the state is kDead.
[[nodiscard]] NamedState step(Automaton& automaton, const CallNames& names, NamedState from,
                              Symbol symbol);

}  // namespace asynclm
