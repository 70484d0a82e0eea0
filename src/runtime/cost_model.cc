// SPDX-License-Identifier: Apache-2.0
#include "runtime/cost_model.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>

namespace asynclm {
namespace {

constexpr double kKeptCalls = 0.98;  // weight of the past against a new call of the same size
constexpr double kKeptMoves = 0.9;   // and against a new move
constexpr int kSweeps = 4;           // of the fit, for each call: it goes on from the last result

double seconds(Time time) { return std::chrono::duration<double>(time).count(); }
Time from_seconds(double value) {
  return std::chrono::duration_cast<Time>(std::chrono::duration<double>(value));
}

}  // namespace

void CostModel::decoded(const DecodeWork& work, Time took) {
  const double time = seconds(took);
  if (!(time > 0) || !(work.tokens >= 1)) return;
  const auto size = static_cast<std::size_t>(std::bit_width(static_cast<std::uint64_t>(work.tokens)));
  Sums& sums = sizes_[std::min(size, kSizes) - 1];
  const std::array<double, kTerms> terms{1 / time, work.tokens / time, work.attended / time};
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (std::size_t j = 0; j < kTerms; ++j) {
      double& product = sums.products[i * kTerms + j];
      product = product * kKeptCalls + terms[i] * terms[j];
    }
    sums.targets[i] = sums.targets[i] * kKeptCalls + terms[i];
  }
  ++calls_;
  fit();
}

// Coordinate descent under the condition that no term is negative: a cost below zero would make long
// prompts free. Tokens come first, since what one call alone cannot tell apart is best put on them.
void CostModel::fit() {
  Sums all;
  for (const Sums& sums : sizes_) {
    for (std::size_t i = 0; i < all.products.size(); ++i) all.products[i] += sums.products[i];
    for (std::size_t i = 0; i < kTerms; ++i) all.targets[i] += sums.targets[i];
  }
  std::array<double, kTerms> cost{cost_.call, cost_.token, cost_.attended};
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (const std::size_t i : {std::size_t{1}, std::size_t{0}, std::size_t{2}}) {
      const double square = all.products[i * kTerms + i];
      if (!(square > 0)) continue;
      double rest = all.targets[i];
      for (std::size_t j = 0; j < kTerms; ++j) {
        if (j != i) rest -= all.products[i * kTerms + j] * cost[j];
      }
      cost[i] = std::max(0.0, rest / square);
    }
  }
  cost_ = {cost[0], cost[1], cost[2]};
}

Time CostModel::decode(const DecodeWork& work) const {
  return from_seconds(cost_.call + cost_.token * work.tokens + cost_.attended * work.attended);
}

std::size_t CostModel::tokens_within(Time limit, const DecodeWork& others,
                                     std::size_t depth) const {
  const double left = seconds(limit - decode(others));
  if (calls_ == 0) return batch_tokens_;
  if (left <= 0) return 0;
  // slope * k + attended * k² / 2 = left, in the form that does not divide by a vanishing square.
  const double slope = cost_.token + cost_.attended * static_cast<double>(depth);
  const double root = std::sqrt(slope * slope + 2 * cost_.attended * left);
  const double count = slope + root > 0 ? 2 * left / (slope + root) : INFINITY;
  const auto most = static_cast<double>(batch_tokens_);
  return static_cast<std::size_t>(std::min(count, most));
}

Time CostModel::recompute(std::size_t tokens) const {
  DecodeWork work;
  work.add(tokens, 0);
  const std::size_t calls = (tokens + batch_tokens_ - 1) / std::max<std::size_t>(batch_tokens_, 1);
  const double more = cost_.call * (static_cast<double>(calls) - 1);
  return decode(work) + from_seconds(more);
}

void CostModel::moved(Move move, std::size_t bytes, Time took) {
  Rate& rate = rates_[static_cast<std::size_t>(move)];
  rate.seconds = rate.seconds * kKeptMoves + seconds(took);
  rate.bytes = rate.bytes * kKeptMoves + static_cast<double>(bytes);
}

void CostModel::saved(std::size_t tokens, std::size_t bytes) {
  saved_bytes_ = saved_bytes_ * kKeptMoves + static_cast<double>(bytes);
  saved_tokens_ = saved_tokens_ * kKeptMoves + static_cast<double>(tokens);
}

Time CostModel::move(Move move, std::size_t bytes) const {
  const Rate& rate = rates_[static_cast<std::size_t>(move)];
  return from_seconds(rate.seconds / rate.bytes * static_cast<double>(bytes));
}

std::size_t CostModel::bytes(std::size_t tokens) const {
  return static_cast<std::size_t>(saved_bytes_ / saved_tokens_ * static_cast<double>(tokens));
}

Time CostModel::host_round_trip(std::size_t tokens) const {
  const std::size_t size = bytes(tokens);
  return move(Move::to_host, size) + move(Move::from_host, size);
}

Time CostModel::disk_round_trip(std::size_t tokens) const {
  const std::size_t size = bytes(tokens);
  return host_round_trip(tokens) + move(Move::to_disk, size) + move(Move::from_disk, size);
}

}  // namespace asynclm
