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
  // Of a vocabulary that has them as control tokens. unsupported: one is missing, or the library
  // takes it for an end-of-generation token.
  [[nodiscard]] static Result<Markers> find(const Vocabulary& vocabulary);

  // Of any vocabulary: text that spells them, in whatever tokens (cml/spelled_markers.h).
  [[nodiscard]] static Markers spelled();
  [[nodiscard]] bool are_spelled() const { return tokens_.front() == kNoToken; }

  // kNoToken if the markers are spelled.
  [[nodiscard]] Token token(Marker marker) const {
    return tokens_[static_cast<std::size_t>(marker)];
  }
  [[nodiscard]] std::optional<Marker> marker(Token token) const;

 private:
  std::array<Token, kMarkerCount> tokens_{};
};

}  // namespace asynclm
