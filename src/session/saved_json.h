// SPDX-License-Identifier: Apache-2.0
// Fields of a saved session, written and read.
#pragma once

#include <format>
#include <string>

#include <asynclm/protocol.h>

namespace asynclm {

// What a reader takes for a session that this code did not save.
struct BadSave {
  std::string why;
};

inline void require(bool holds, const char* why) {
  if (!holds) throw BadSave{why};
}

template <class E>
[[nodiscard]] Json enum_json(E value) {
  return static_cast<int>(value);
}

// An enumerator up to `last`.
template <class E>
[[nodiscard]] E enumerator(const Json& json, E last) {
  const int value = json.get<int>();
  if (value < 0 || value > static_cast<int>(last)) {
    throw BadSave{std::format("{} is no value of its field", value)};
  }
  return static_cast<E>(value);
}

}  // namespace asynclm
