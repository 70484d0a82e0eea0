// SPDX-License-Identifier: Apache-2.0
// From logits to a token. Own code, so that a sequence's sampler can be copied and saved, bans cost
// nothing, and the same seed gives the same tokens wherever the logits are the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <asynclm/engine.h>

#include "base/random.h"

namespace asynclm {

// What a sequence remembers between two samples.
struct SamplerState {
  explicit SamplerState(const SamplingParams& sampling) : params(sampling), random(sampling.seed) {}

  SamplingParams params;
  Random random;
};

// The order is: bans, temperature, top_k, top_p, min_p; each filter sees the distribution that the
// one before it left. Equal logits rank by token id, the lower one first.
class Sampler {
 public:
  // Vocabularies of up to `vocabulary_size` tokens are sampled without allocating.
  explicit Sampler(Token vocabulary_size);

  // Params must be valid. logits[i] belongs to token i; NaN counts as probability zero. Temperature
  // 0 draws no random number, any other exactly one. Errors leave `state` as it was:
  // invalid_argument if the bans leave nothing, engine if no logit is above -infinity.
  //
  // With a filter the result is distributed as if what it does not allow had been removed after
  // top_k, top_p and min_p, or before them where these leave nothing that it allows. A second
  // random number is drawn where the first token is not allowed. invalid_argument if it allows
  // nothing. `drafted` is handed to it.
  [[nodiscard]] Result<Token> sample(SamplerState& state, std::span<const float> logits,
                                     std::span<const Token> banned, TokenFilter* filter = nullptr,
                                     std::size_t drafted = 0);

 private:
  struct Candidate {
    float logit;
    float weight;  // probability relative to the likeliest token's
    Token token;
  };

  void sort_bans(std::span<const Token> banned, Token size);
  template <class Visit>
  void for_each_allowed_range(Token size, Visit visit) const;
  [[nodiscard]] Token greedy(std::span<const float> logits) const;
  [[nodiscard]] Result<Token> sample_allowed(SamplerState& state, std::span<const float> logits,
                                             Token best, std::span<const std::uint64_t> allowed);
  [[nodiscard]] std::span<Candidate> keep(const SamplingParams& params,
                                          std::span<const float> logits, Token best,
                                          std::span<const std::uint64_t> allowed);
  [[nodiscard]] static Token draw(SamplerState& state, std::span<const Candidate> kept);
  static bool ranks_before(const Candidate& a, const Candidate& b);

  // Reused by every call.
  std::vector<Candidate> candidates_;
  std::vector<Token> bans_;  // sorted, in range
};

}  // namespace asynclm
