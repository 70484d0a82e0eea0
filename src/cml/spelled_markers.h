// SPDX-License-Identifier: Apache-2.0
// Markers spelled as text, for models whose vocabulary does not have them as tokens. Text from
// elsewhere that looks like a marker is disarmed before it enters a context, and armed again where
// the model copies it:
//
//   text    [END]    [.END]    [..END]
//   context [.END]   [..END]   [...END]
//
// Up to 32 dots: what has more is never a marker, and is left as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cml/markers.h"

namespace asynclm {

// With what a text begins.
struct SpelledMarker {
  enum class Kind : std::uint8_t {
    none,
    beginning,  // all of the text could be the beginning of a marker, disarmed or not
    marker,
    disarmed,
  };
  Kind kind = Kind::none;
  Marker marker = Marker::end;
  std::size_t size = 0;  // bytes of the text, for marker and disarmed
};
[[nodiscard]] SpelledMarker read_spelled_marker(std::string_view text);

// Markers that are not disarmed.
[[nodiscard]] std::size_t count_spelled_markers(std::string_view text);

[[nodiscard]] std::string disarm(std::string_view text);

}  // namespace asynclm
