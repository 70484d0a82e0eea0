// SPDX-License-Identifier: Apache-2.0
// The five marker tokens of CML (paper section 3) in a model's vocabulary.
#pragma once

#include <array>
#include <optional>
#include <string_view>

#include <asynclm/engine.h>
#include <asynclm/error.h>

namespace asynclm {

enum class Marker : std::uint8_t { call, intr, trap, end, head };
inline constexpr std::size_t kMarkerCount = 5;
inline constexpr std::array<std::string_view, kMarkerCount> kMarkerSpellings = {
    "[CALL]", "[INTR]", "[TRAP]", "[END]", "[HEAD]"};

class Markers {
 public:
  // Of a vocabulary that has none: no token is a marker.
  [[nodiscard]] static Markers none() {
    Markers markers;
    markers.tokens_.fill(kNoToken);
    return markers;
  }
  // unsupported: the vocabulary has not all of them as control tokens, or the library takes one for
  // an end-of-generation token.
  [[nodiscard]] static Result<Markers> find(const Vocabulary& vocabulary);

  [[nodiscard]] Token token(Marker marker) const {
    return tokens_[static_cast<std::size_t>(marker)];
  }
  [[nodiscard]] std::optional<Marker> marker(Token token) const;

 private:
  std::array<Token, kMarkerCount> tokens_{};
};

}  // namespace asynclm
