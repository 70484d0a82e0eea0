// SPDX-License-Identifier: Apache-2.0
#include "cml/markers.h"

#include <format>

namespace asynclm {

Result<Markers> Markers::find(const Vocabulary& vocabulary) {
  Markers markers;
  for (std::size_t i = 0; i < kMarkerCount; ++i) {
    const Token token = vocabulary.control(kMarkerSpellings[i]);
    if (token == kNoToken) {
      return fail(ErrorCode::unsupported,
                  std::format("the model's vocabulary has no control token {}: it was not trained "
                              "for asynchronous calls; use a model made by asynclm's lab/train/",
                              kMarkerSpellings[i]));
    }
    if (vocabulary.is_end_of_generation(token)) {
      return fail(ErrorCode::unsupported,
                  std::format("the inference library takes the marker {} for an end-of-generation "
                              "token; rename it in the model",
                              kMarkerSpellings[i]));
    }
    markers.tokens_[i] = token;
  }
  return markers;
}

std::optional<Marker> Markers::marker(Token token) const {
  for (std::size_t i = 0; i < kMarkerCount && token != kNoToken; ++i) {
    if (tokens_[i] == token) return static_cast<Marker>(i);
  }
  return std::nullopt;
}

}  // namespace asynclm
