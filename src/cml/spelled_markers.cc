// SPDX-License-Identifier: Apache-2.0
#include "cml/spelled_markers.h"

#include <algorithm>

namespace asynclm {
namespace {

// A limit, so that text is not held back for ever.
constexpr std::size_t kMaxDots = 32;

}  // namespace

SpelledMarker read_spelled_marker(std::string_view text) {
  if (!text.starts_with('[')) return {};
  const std::size_t name = std::min(text.find_first_not_of('.', 1), text.size());
  if (name > 1 + kMaxDots) return {};
  const std::string_view rest = text.substr(name);
  for (std::size_t i = 0; i < kMarkerCount; ++i) {
    const std::string_view wanted = kMarkerSpellings[i].substr(1);  // behind the bracket
    if (wanted.starts_with(rest) && rest.size() < wanted.size()) {
      return {.kind = SpelledMarker::Kind::beginning};
    }
    if (!rest.starts_with(wanted)) continue;
    return {.kind = name == 1 ? SpelledMarker::Kind::marker : SpelledMarker::Kind::disarmed,
            .marker = static_cast<Marker>(i),
            .size = name + wanted.size()};
  }
  return {};
}

std::size_t count_spelled_markers(std::string_view text) {
  std::size_t count = 0;
  for (auto at = text.find('['); at != std::string_view::npos; at = text.find('[', at + 1)) {
    if (read_spelled_marker(text.substr(at)).kind == SpelledMarker::Kind::marker) ++count;
  }
  return count;
}

std::string disarm(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto open = std::min(text.find('['), text.size());
    out += text.substr(0, open);
    text.remove_prefix(open);
    if (text.empty()) break;
    const SpelledMarker found = read_spelled_marker(text);
    const bool is_one =
        found.kind == SpelledMarker::Kind::marker || found.kind == SpelledMarker::Kind::disarmed;
    out += is_one ? "[." : "[";
    text.remove_prefix(1);
  }
  return out;
}

}  // namespace asynclm
