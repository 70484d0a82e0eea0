// SPDX-License-Identifier: Apache-2.0
// When a task's calls are written and when all results are there. One writer writes one call at a
// time; from then on the call runs by itself, beside the writing of others (paper section 4). In
// the field's words: one machine, precedence constraints, delivery times (1|prec, r_j|L_max).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <asynclm/types.h>

namespace asynclm {

struct PlannedCall {
  Time write{};                    // to generate its tokens
  Time run{};                      // from its last token to its result
  std::vector<std::size_t> needs;  // earlier calls whose results must be there before it is written
  // Earlier calls that must be written before it, since it names them, and whose results must be
  // there before it runs (futures and order of async+).
  std::vector<std::size_t> starts_after = {};
};

// For each call the time from its last token until nothing depends on it any more: its run, and the
// longest chain of writing and running behind it.
[[nodiscard]] std::vector<Time> remaining_paths(std::span<const PlannedCall> calls);

// One rank a call, for order_by_rank(): the longest remaining path first.
[[nodiscard]] std::vector<double> longest_path_ranks(std::span<const PlannedCall> calls);

// The calls in the order in which they are written when, of those that can be written, the one
// with the smallest rank always comes first (equal ranks: by index). Never waits while a call can
// be written. One rank a call.
[[nodiscard]] std::vector<std::size_t> order_by_rank(std::span<const PlannedCall> calls,
                                                     std::span<const double> rank);

// The time of the last result when the calls are written in this order, each as soon as can be. An
// order that has a call before one that it needs or names is a programming error.
[[nodiscard]] Time makespan(std::span<const PlannedCall> calls, std::span<const std::size_t> order);

// No order is faster than this.
[[nodiscard]] Time makespan_bound(std::span<const PlannedCall> calls);

// The same calls where taking in the result of call i takes the writer `taking_in[i]`, before it
// can write what needs that result. A result that no call needs costs nothing: it can wait until
// all is written.
[[nodiscard]] std::vector<PlannedCall> with_taking_in(std::span<const PlannedCall> calls,
                                                      std::span<const Time> taking_in);

struct BestOrder {
  std::vector<std::size_t> order;
  Time makespan{};
  bool is_proven = false;   // no order is faster; else the search was cut
  std::uint64_t steps = 0;  // orders begun
};

// Branch and bound, depth first, from the order of the longest remaining path. It may leave the
// writer idle while a call could be written. Cut after `max_steps` (not by a clock: the same answer
// on every machine); with 12 calls or fewer the limit is hardly ever met.
[[nodiscard]] BestOrder best_order(std::span<const PlannedCall> calls,
                                   std::uint64_t max_steps = 200'000);

}  // namespace asynclm
