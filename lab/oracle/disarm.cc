// SPDX-License-Identifier: Apache-2.0
#include "oracle/disarm.h"

#include <algorithm>

#include "cml/markers.h"

namespace asynclm {
namespace {

// The rest of a marker, disarmed or not, behind its bracket.
bool is_marker(std::string_view rest) {
  rest.remove_prefix(std::min(rest.find_first_not_of('.'), rest.size()));
  return std::ranges::any_of(kMarkerSpellings, [&](std::string_view spelling) {
    return rest.starts_with(spelling.substr(1));
  });
}

}  // namespace

std::string disarm(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] == '[' && is_marker(text.substr(i + 1))) out += '.';
  }
  return out;
}

}  // namespace asynclm
