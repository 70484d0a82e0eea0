// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <format>
#include <limits>

namespace asynclm {
namespace {

constexpr float kNothing = -std::numeric_limits<float>::infinity();

// The largest value; NaN is ignored. Lanes, so that the compiler can use vector registers.
float maximum(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> lanes;
  lanes.fill(kNothing);
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float value = values[i + lane];
      lanes[lane] = value > lanes[lane] ? value : lanes[lane];
    }
  }
  float best = kNothing;
  for (const float value : lanes) best = value > best ? value : best;
  for (; i < values.size(); ++i) best = values[i] > best ? values[i] : best;
  return best;
}

bool is_set(std::span<const std::uint64_t> words, Token token) {
  const auto bit = static_cast<std::size_t>(token);
  return (words[bit / 64] >> (bit % 64) & 1U) != 0;
}

}  // namespace

Result<void> validate(const SamplingParams& params) {
  if (!std::isfinite(params.temperature) || params.temperature < 0) {
    return fail(ErrorCode::invalid_argument,
                std::format("temperature is {}, but must be 0 or more", params.temperature));
  }
  if (params.top_k < 0) {
    return fail(ErrorCode::invalid_argument,
                std::format("top_k is {}, but must be 0 (all tokens) or more", params.top_k));
  }
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return fail(ErrorCode::invalid_argument,
                std::format("top_p is {}, but must be above 0 and at most 1", params.top_p));
  }
  if (!(params.min_p >= 0 && params.min_p <= 1)) {
    return fail(ErrorCode::invalid_argument,
                std::format("min_p is {}, but must be between 0 and 1", params.min_p));
  }
  return {};
}

Sampler::Sampler(Token vocabulary_size) {
  candidates_.reserve(static_cast<std::size_t>(vocabulary_size));
  bans_.reserve(static_cast<std::size_t>(vocabulary_size));
}

Result<Token> Sampler::sample(SamplerState& state, std::span<const float> logits,
                              std::span<const Token> banned, TokenFilter* filter,
                              std::size_t drafted) {
  sort_bans(banned, static_cast<Token>(logits.size()));
  const Token best = greedy(logits);
  if (best == kNoToken) {
    if (maximum(logits) == kNothing) {
      return fail(ErrorCode::engine,
                  "the model gave no token a probability; its file or the "
                  "library may be damaged");
    }
    return fail(ErrorCode::invalid_argument,
                std::format("no token can be sampled: all that the model allows are among the {} "
                            "banned ones",
                            bans_.size()));
  }
  const Random before = state.random;
  const Token token =
      state.params.temperature == 0 ? best : draw(state, keep(state.params, logits, best, {}));
  if (filter == nullptr || filter->allows(token, drafted)) return token;
  auto allowed = sample_allowed(state, logits, best, filter->allowed(drafted));
  if (!allowed) state.random = before;
  return allowed;
}

Result<Token> Sampler::sample_allowed(SamplerState& state, std::span<const float> logits,
                                      Token best, std::span<const std::uint64_t> allowed) {
  if (state.params.temperature > 0) {
    const std::span<Candidate> kept = keep(state.params, logits, best, {});
    const auto dropped = std::ranges::remove_if(
        kept, [&](const Candidate& candidate) { return !is_set(allowed, candidate.token); });
    const std::span<const Candidate> left = kept.first(kept.size() - dropped.size());
    if (!left.empty()) return draw(state, left);
  }
  Token best_allowed = kNoToken;
  for_each_allowed_range(static_cast<Token>(logits.size()), [&](Token from, Token to) {
    for (Token token = from; token < to; ++token) {
      if (!is_set(allowed, token)) continue;
      const float logit = logits[static_cast<std::size_t>(token)];
      if (logit > kNothing &&
          (best_allowed == kNoToken || logit > logits[static_cast<std::size_t>(best_allowed)])) {
        best_allowed = token;
      }
    }
  });
  if (best_allowed == kNoToken) {
    return fail(ErrorCode::invalid_argument, "no token can be sampled: the filter allows none");
  }
  if (state.params.temperature == 0) return best_allowed;
  return draw(state, keep(state.params, logits, best_allowed, allowed));
}

void Sampler::sort_bans(std::span<const Token> banned, Token size) {
  bans_.clear();
  for (const Token token : banned) {
    if (token >= 0 && token < size) bans_.push_back(token);
  }
  std::ranges::sort(bans_);
  const auto repeated = std::ranges::unique(bans_);
  bans_.erase(repeated.begin(), repeated.end());
}

// The token ranges between the bans: a few ranges are quicker than a test for every token.
template <class Visit>
void Sampler::for_each_allowed_range(Token size, Visit visit) const {
  Token from = 0;
  for (const Token ban : bans_) {
    if (from < ban) visit(from, ban);
    from = ban + 1;
  }
  if (from < size) visit(from, size);
}

Token Sampler::greedy(std::span<const float> logits) const {
  float best = kNothing;
  Token best_from = kNoToken;
  for_each_allowed_range(static_cast<Token>(logits.size()), [&](Token from, Token to) {
    const float here = maximum(
        logits.subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(to - from)));
    if (here > best) {  // not >=: of equal logits the lowest id wins
      best = here;
      best_from = from;
    }
  });
  if (best_from == kNoToken) return kNoToken;
  const auto at = std::find(logits.begin() + best_from, logits.end(), best);
  return static_cast<Token>(at - logits.begin());
}

bool Sampler::ranks_before(const Candidate& a, const Candidate& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
}

// The candidates that the filters leave, with their weights. `allowed` empty: all tokens.
std::span<Sampler::Candidate> Sampler::keep(const SamplingParams& params,
                                            std::span<const float> logits, Token best,
                                            std::span<const std::uint64_t> allowed) {
  const float top = logits[static_cast<std::size_t>(best)];

  candidates_.clear();
  for_each_allowed_range(static_cast<Token>(logits.size()), [&](Token from, Token to) {
    for (Token token = from; token < to; ++token) {
      const float logit = logits[static_cast<std::size_t>(token)];
      if (logit > kNothing && (allowed.empty() || is_set(allowed, token))) {
        candidates_.push_back({logit, 0, token});
      }
    }
  });

  // From here on the order of the candidates is part of the result, so it must not depend on how
  // the standard library partitions: by token id, or by rank where a filter has ranked them.
  const auto top_k = static_cast<std::size_t>(params.top_k);
  const bool ranked = top_k > 0 && top_k < candidates_.size();
  if (ranked) {
    std::ranges::nth_element(candidates_, candidates_.begin() + params.top_k - 1, ranks_before);
    candidates_.resize(top_k);
    std::ranges::sort(candidates_, ranks_before);
  }

  double total = 0;
  for (Candidate& candidate : candidates_) {
    // Equality first: it also keeps infinite logits and tiny temperatures from giving NaN.
    candidate.weight =
        candidate.logit == top ? 1.0F : std::exp((candidate.logit - top) / params.temperature);
    total += static_cast<double>(candidate.weight);
  }

  std::span<Candidate> kept = candidates_;
  if (params.top_p < 1) {
    const double wanted = static_cast<double>(params.top_p) * total;
    std::size_t count = 0;
    total = 0;
    if (ranked) {
      while (count < kept.size() && total < wanted) {
        total += static_cast<double>(kept[count++].weight);
      }
      kept = kept.first(count);
    } else {
      // A heap ranks only as many as are kept, which is few of a large vocabulary. It hands them
      // to the back, the likeliest last.
      const auto ranks_after = [](const Candidate& a, const Candidate& b) {
        return ranks_before(b, a);
      };
      std::ranges::make_heap(kept, ranks_after);
      while (count < kept.size() && total < wanted) {
        std::ranges::pop_heap(kept.first(kept.size() - count), ranks_after);
        ++count;
        total += static_cast<double>(kept[kept.size() - count].weight);
      }
      kept = kept.last(count);
    }
  }
  if (params.min_p > 0) {
    const auto dropped = std::ranges::remove_if(
        kept, [&](const Candidate& candidate) { return candidate.weight < params.min_p; });
    kept = kept.first(kept.size() - dropped.size());
  }
  return kept;
}

Token Sampler::draw(SamplerState& state, std::span<const Candidate> kept) {
  double total = 0;
  for (const Candidate& candidate : kept) total += static_cast<double>(candidate.weight);
  const double target = state.random.uniform() * total;
  double sum = 0;
  for (const Candidate& candidate : kept) {
    sum += static_cast<double>(candidate.weight);
    if (target < sum) return candidate.token;
  }
  // Only if the sums were rounded differently, which they are not: same order, same additions.
  return kept.back().token;
}

}  // namespace asynclm
