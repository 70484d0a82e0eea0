// SPDX-License-Identifier: Apache-2.0
#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_sanitized.h"

namespace asynclm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Result<Token> sample_once(const SamplingParams& params, const std::vector<float>& logits,
                          const std::vector<Token>& banned = {}) {
  Sampler sampler(static_cast<Token>(logits.size()));
  SamplerState state(params);
  return sampler.sample(state, logits, banned);
}

std::vector<float> random_logits(std::size_t size, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> logits(size);
  for (float& logit : logits) logit = static_cast<float>(random.uniform() * 8 - 4);
  return logits;
}

// The distribution by definition: sort everything, cut, renormalise. Independent of the sampler.
std::vector<double> expected(const SamplingParams& params, const std::vector<float>& logits,
                             const std::vector<Token>& banned = {}) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::ranges::contains(banned, static_cast<Token>(i))) order.push_back(i);
  }
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  std::vector<double> weight(logits.size(), 0.0);
  for (const std::size_t i : order) {
    weight[i] = std::exp(static_cast<double>((logits[i] - logits[order[0]]) / params.temperature));
  }
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < order.size()) {
    order.resize(static_cast<std::size_t>(params.top_k));
  }
  const auto total = [&] {
    return std::accumulate(order.begin(), order.end(), 0.0,
                           [&](double sum, std::size_t i) { return sum + weight[i]; });
  };
  if (params.top_p < 1) {
    const double all = total();
    double sum = 0;
    std::size_t keep = 0;
    while (keep < order.size() && sum < static_cast<double>(params.top_p) * all) {
      sum += weight[order[keep++]];
    }
    order.resize(keep);
  }
  std::erase_if(order,
                [&](std::size_t i) { return weight[i] < static_cast<double>(params.min_p); });
  const double all = total();
  std::vector<double> probability(logits.size(), 0.0);
  for (const std::size_t i : order) probability[i] = weight[i] / all;
  return probability;
}

TEST(Greedy, TakesTheLargest) {
  EXPECT_EQ(sample_once({}, {0.0F, 3.0F, 1.0F}), 1);
  EXPECT_EQ(sample_once({}, {-5.0F}), 0);
}

TEST(Greedy, TiesGoToTheLowestId) {
  EXPECT_EQ(sample_once({}, {1.0F, 2.0F, 2.0F, 2.0F}), 1);
  EXPECT_EQ(sample_once({}, {1.0F, 2.0F, 2.0F, 2.0F}, {1}), 2);
  EXPECT_EQ(sample_once({}, {-0.0F, 0.0F}), 0);
}

// Every position, so that all lanes and the tail of the vectorised search are used.
TEST(Greedy, FindsTheLargestAnywhere) {
  for (const std::size_t size : {1U, 2U, 15U, 16U, 17U, 33U, 100U}) {
    for (std::size_t at = 0; at < size; ++at) {
      std::vector<float> logits(size, -1.0F);
      logits[at] = 1.0F;
      EXPECT_EQ(sample_once({}, logits), static_cast<Token>(at)) << size;
    }
  }
}

TEST(Greedy, EqualsASimpleSearchWithBans) {
  Random random(5);
  for (std::uint64_t round = 0; round < 300; ++round) {
    const std::vector<float> logits = random_logits(1 + random.below(200), round);
    std::vector<Token> banned;
    for (std::size_t i = random.below(8); i > 0; --i) {
      banned.push_back(static_cast<Token>(random.below(logits.size())));
    }
    Token best = kNoToken;
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (std::ranges::contains(banned, static_cast<Token>(i))) continue;
      if (best == kNoToken || logits[i] > logits[static_cast<std::size_t>(best)]) {
        best = static_cast<Token>(i);
      }
    }
    if (best == kNoToken) continue;
    EXPECT_EQ(sample_once({}, logits, banned), best);
  }
}

TEST(Greedy, DrawsNoRandomNumber) {
  Sampler sampler(3);
  SamplerState state(SamplingParams{.seed = 9});
  ASSERT_TRUE(sampler.sample(state, std::vector<float>{1, 2, 3}, {}).has_value());
  EXPECT_EQ(state.random.state(), Random(9).state());
}

TEST(Sampler, NothingLeftIsAnError) {
  for (const float temperature : {0.0F, 1.0F}) {
    const SamplingParams params{.temperature = temperature};
    const auto all_banned = sample_once(params, {1, 2}, {0, 1});
    ASSERT_FALSE(all_banned.has_value());
    EXPECT_EQ(all_banned.error().code, ErrorCode::invalid_argument);
    // A banned token is the only one that the model gives a chance.
    EXPECT_EQ(sample_once(params, {1, -kInfinity}, {0}).error().code, ErrorCode::invalid_argument);
    for (const auto& logits : {std::vector<float>{}, std::vector<float>{-kInfinity, -kInfinity},
                               std::vector<float>{kNan, kNan}}) {
      const auto nothing = sample_once(params, logits);
      ASSERT_FALSE(nothing.has_value());
      EXPECT_EQ(nothing.error().code, ErrorCode::engine);
    }
  }
}

TEST(Sampler, AnErrorLeavesTheStateAlone) {
  Sampler sampler(2);
  SamplerState state(SamplingParams{.temperature = 1, .seed = 4});
  ASSERT_FALSE(sampler.sample(state, std::vector<float>{1, 2}, std::vector<Token>{0, 1}));
  EXPECT_EQ(state.random.state(), Random(4).state());
}

TEST(Sampler, NanAndInfinityAreNoTrap) {
  for (const float temperature : {0.0F, 0.5F, 1e-40F}) {
    const SamplingParams params{.temperature = temperature, .top_p = 0.9F, .min_p = 0.1F};
    EXPECT_EQ(sample_once(params, {kNan, 1.0F, kNan}), 1);
    EXPECT_EQ(sample_once(params, {1.0F, kInfinity, kNan, -kInfinity}), 1);
  }
}

TEST(Sampler, BannedTokensNeverComeOut) {
  const std::vector<float> logits = random_logits(20, 3);
  const std::vector<Token> banned{19, 0, 7, 7, 12};
  Sampler sampler(20);
  for (const SamplingParams& params :
       {SamplingParams{.temperature = 3}, SamplingParams{.temperature = 3, .top_k = 15},
        SamplingParams{.temperature = 3, .top_p = 0.99F},
        SamplingParams{.temperature = 3, .min_p = 0.001F}}) {
    SamplerState state(params);
    for (int i = 0; i < 2000; ++i) {
      const Result<Token> token = sampler.sample(state, logits, banned);
      ASSERT_TRUE(token.has_value());
      ASSERT_FALSE(std::ranges::contains(banned, *token));
    }
  }
}

// Chi-square against the distribution by definition; seeds are fixed, so it passes or fails for
// good. A token of expected count below 5 is merged into a common bin, as usual.
TEST(Sampler, TheDistributionIsTheExpectedOne) {
  constexpr int kDraws = kSanitized ? 10'000 : 40'000;
  const std::vector<float> logits = random_logits(40, 11);
  const std::vector<Token> banned{3, 17};
  const std::vector<SamplingParams> cases{
      {.temperature = 1},
      {.temperature = 0.5F},
      {.temperature = 2.5F},
      {.temperature = 1, .top_k = 7},
      {.temperature = 1.5F, .top_k = 1000},
      {.temperature = 1, .top_p = 0.8F},
      {.temperature = 1, .min_p = 0.1F},
      {.temperature = 2, .top_k = 20, .top_p = 0.9F, .min_p = 0.2F},
      {.temperature = 2, .top_p = 0.7F, .min_p = 0.3F},
  };
  for (std::size_t c = 0; c < cases.size(); ++c) {
    for (const auto& bans : {std::vector<Token>{}, banned}) {
      const std::vector<double> probability = expected(cases[c], logits, bans);
      Sampler sampler(40);
      SamplingParams params = cases[c];
      params.seed = 100 + c;
      SamplerState state(params);
      std::vector<int> counts(logits.size());
      for (int i = 0; i < kDraws; ++i) {
        ++counts[static_cast<std::size_t>(sampler.sample(state, logits, bans).value())];
      }
      double chi_square = 0;
      int bins = 0;
      double rare_expected = 0;
      double rare_count = 0;
      const auto add_bin = [&](double count, double wanted) {
        chi_square += (count - wanted) * (count - wanted) / wanted;
        ++bins;
      };
      for (std::size_t i = 0; i < counts.size(); ++i) {
        if (probability[i] == 0) {
          EXPECT_EQ(counts[i], 0) << "token " << i << " of case " << c;
        } else if (probability[i] * kDraws < 5) {
          rare_expected += probability[i] * kDraws;
          rare_count += counts[i];
        } else {
          add_bin(counts[i], probability[i] * kDraws);
        }
      }
      if (rare_expected > 0) add_bin(rare_count, std::max(rare_expected, 1.0));
      // The 99.99 % quantile, by Wilson and Hilferty.
      const double degrees = std::max(bins - 1, 1);
      const double spread = 2.0 / (9.0 * degrees);
      const double limit = degrees * std::pow(1 - spread + 3.719 * std::sqrt(spread), 3);
      EXPECT_LT(chi_square, limit) << "case " << c << " with " << bans.size() << " bans";
    }
  }
}

TEST(Sampler, TopPKeepsTheSmallestSufficientSet) {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> logits{std::log(4.0F), std::log(2.0F), 0, 0};
  std::map<Token, int> seen;
  Sampler sampler(4);
  SamplerState state(SamplingParams{.temperature = 1, .top_p = 0.6F});
  for (int i = 0; i < 1000; ++i) ++seen[sampler.sample(state, logits, {}).value()];
  EXPECT_EQ(seen.size(), 2U);
  EXPECT_TRUE(seen.contains(0) && seen.contains(1));
  // Of the two equal ones the lower id is in.
  seen.clear();
  state = SamplerState(SamplingParams{.temperature = 1, .top_p = 0.8F});
  for (int i = 0; i < 1000; ++i) ++seen[sampler.sample(state, logits, {}).value()];
  EXPECT_EQ(seen.size(), 3U);
  EXPECT_FALSE(seen.contains(3));
}

TEST(Sampler, TopKOfOneIsGreedy) {
  const std::vector<float> logits = random_logits(100, 8);
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    EXPECT_EQ(sample_once({.temperature = 5, .top_k = 1, .seed = seed}, logits),
              sample_once({}, logits).value());
  }
}

TEST(Sampler, SameSeedSameTokensAndAnotherSeedOthers) {
  const std::vector<float> logits = random_logits(500, 2);
  const auto run = [&](std::uint64_t seed) {
    Sampler sampler(500);
    SamplerState state(SamplingParams{.temperature = 1, .top_p = 0.95F, .seed = seed});
    std::vector<Token> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(sampler.sample(state, logits, {}).value());
    return tokens;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

// Pinned: these tokens must not change with the compiler, the platform or a rewrite.
TEST(Sampler, TokensOfASeedArePinned) {
  const std::vector<float> logits{0, 1, 0.5F, 2, -1, 1.5F, 0, 0.25F};
  Sampler sampler(8);
  SamplerState state(SamplingParams{.temperature = 2, .seed = 42});
  std::vector<Token> tokens;
  for (int i = 0; i < 16; ++i) tokens.push_back(sampler.sample(state, logits, {}).value());
  EXPECT_EQ(tokens, (std::vector<Token>{5, 1, 2, 3, 0, 6, 1, 5, 2, 4, 1, 3, 3, 3, 5, 1}));
}

TEST(Sampler, ACopiedStateContinuesTheSameWay) {
  const std::vector<float> logits = random_logits(50, 6);
  Sampler sampler(50);
  SamplerState state(SamplingParams{.temperature = 1, .seed = 77});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(sampler.sample(state, logits, {}));
  SamplerState copy = state;
  for (int i = 0; i < 20; ++i) {
    const Token token = sampler.sample(state, logits, {}).value();
    EXPECT_EQ(sampler.sample(copy, logits, {}), token);
  }
}

class SetFilter final : public TokenFilter {
 public:
  explicit SetFilter(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
    for (const Token token : tokens_)
      words_[static_cast<std::size_t>(token) / 64] |= 1ULL << (token % 64);
  }
  bool allows(Token token, std::size_t /*drafted*/) override {
    return std::ranges::contains(tokens_, token);
  }
  std::span<const std::uint64_t> allowed(std::size_t /*drafted*/) override {
    ++built;
    return words_;
  }
  int built = 0;

 private:
  std::vector<Token> tokens_;
  std::array<std::uint64_t, 2> words_{};
};

// The distribution by definition, then what the filter does not allow removed.
std::vector<double> expected_filtered(const SamplingParams& params,
                                      const std::vector<float>& logits, SetFilter& filter) {
  std::vector<double> out = expected(params, logits);
  const auto narrow = [&] {
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!filter.allows(static_cast<Token>(i), 0)) out[i] = 0;
    }
    return std::accumulate(out.begin(), out.end(), 0.0);
  };
  double sum = narrow();
  if (sum == 0) {  // before the other filters, since these leave nothing
    std::vector<Token> banned;
    for (std::size_t i = 0; i < out.size(); ++i) {
      if (!filter.allows(static_cast<Token>(i), 0)) banned.push_back(static_cast<Token>(i));
    }
    out = expected(params, logits, banned);
    sum = narrow();
  }
  for (double& p : out) p /= sum;
  return out;
}

TEST(SamplerFilter, TheResultHasTheMaskedDistribution) {
  const std::vector<SamplingParams> all = {{.temperature = 1},
                                           {.temperature = 1.5F, .top_k = 5},
                                           {.temperature = 0.7F, .top_p = 0.8F},
                                           {.temperature = 1, .min_p = 0.1F},
                                           {.temperature = 1, .top_k = 2}};
  const std::vector<float> logits = random_logits(70, 5);
  for (const SamplingParams& params : all) {
    for (const std::vector<Token>& allowed :
         {std::vector<Token>{1, 2, 3, 5, 8, 13, 21, 34, 55, 69}, std::vector<Token>{7, 64}}) {
      SetFilter filter(allowed);
      const std::vector<double> wanted = expected_filtered(params, logits, filter);
      Sampler sampler(static_cast<Token>(logits.size()));
      SamplerState state(params);
      state.random = Random(17);
      constexpr int kDraws = kSanitized ? 6'000 : 60'000;
      std::vector<int> counts(logits.size());
      for (int i = 0; i < kDraws; ++i) {
        ++counts[static_cast<std::size_t>(sampler.sample(state, logits, {}, &filter).value())];
      }
      for (std::size_t i = 0; i < counts.size(); ++i) {
        const double p = wanted[i];
        const double spread = std::sqrt(p * (1 - p) / kDraws);
        EXPECT_NEAR(static_cast<double>(counts[i]) / kDraws, p, 5 * spread + 1e-12)
            << "token " << i;
      }
    }
  }
}

TEST(SamplerFilter, GreedyTakesTheBestThatIsAllowed) {
  Sampler sampler(4);
  SamplerState state(SamplingParams{});
  SetFilter best({1, 2}), other({0, 3}), none({});
  const std::vector<float> logits = {0, 5, 1, 2};
  EXPECT_EQ(sampler.sample(state, logits, {}, &best), 1);
  EXPECT_EQ(best.built, 0) << "no mask where the first token is allowed";
  EXPECT_EQ(sampler.sample(state, logits, {}, &other), 3);
  const std::vector<Token> banned = {3};
  EXPECT_EQ(sampler.sample(state, logits, banned, &other), 0);
  const auto nothing = sampler.sample(state, logits, {}, &none);
  ASSERT_FALSE(nothing.has_value());
  EXPECT_EQ(nothing.error().code, ErrorCode::invalid_argument);
}

TEST(SamplingParamsTest, RangesAreChecked) {
  EXPECT_TRUE(validate({}).has_value());
  EXPECT_TRUE(validate({.temperature = 100, .top_k = 1, .top_p = 0.01F, .min_p = 1}).has_value());
  const std::vector<std::pair<SamplingParams, std::string>> wrong{
      {{.temperature = -0.1F}, "temperature"},
      {{.temperature = kNan}, "temperature"},
      {{.temperature = kInfinity}, "temperature"},
      {{.top_k = -1}, "top_k"},
      {{.top_p = 0}, "top_p"},
      {{.top_p = 1.01F}, "top_p"},
      {{.top_p = kNan}, "top_p"},
      {{.min_p = -0.1F}, "min_p"},
      {{.min_p = 1.1F}, "min_p"},
      {{.min_p = kNan}, "min_p"},
      {{.temperature = -1, .top_k = -1}, "temperature"}};  // the first one is named
  for (const auto& [params, field] : wrong) {
    const Result<void> result = validate(params);
    ASSERT_FALSE(result.has_value()) << field;
    EXPECT_EQ(result.error().code, ErrorCode::invalid_argument);
    EXPECT_TRUE(result.error().message.starts_with(field)) << result.error().message;
  }
}

}  // namespace
}  // namespace asynclm
