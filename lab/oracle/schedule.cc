// SPDX-License-Identifier: Apache-2.0
#include "oracle/schedule.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <utility>

namespace asynclm {
namespace {

constexpr Time kNever = Time::max();

Time last_of(const std::vector<std::size_t>& calls, std::span<const Time> returned) {
  Time at{};
  for (const std::size_t i : calls) at = std::max(at, returned[i]);
  return at;
}

// When everything that a call needs has returned; kNever where something that it needs or names is
// not written yet.
Time ready(const PlannedCall& call, std::span<const Time> returned) {
  if (last_of(call.starts_after, returned) == kNever) return kNever;
  return last_of(call.needs, returned);
}

// When a call returns whose last token is written at `written`.
Time result_time(const PlannedCall& call, Time written, std::span<const Time> returned) {
  return std::max(written, last_of(call.starts_after, returned)) + call.run;
}

class Search {
 public:
  Search(std::span<const PlannedCall> calls, std::uint64_t max_steps)
      : calls_(calls),
        paths_(remaining_paths(calls)),
        by_path_(calls.size()),
        returned_(calls.size(), kNever),
        max_steps_(max_steps) {
    std::iota(by_path_.begin(), by_path_.end(), std::size_t{0});
    std::ranges::stable_sort(by_path_,
                             [&](std::size_t a, std::size_t b) { return paths_[a] > paths_[b]; });
    best_.order = order_by_rank(calls, longest_path_ranks(calls));
    best_.makespan = asynclm::makespan(calls, best_.order);
  }

  BestOrder run() {
    best_.is_proven = true;
    descend(Time{}, Time{});
    return std::move(best_);
  }

  // Of what is not written yet, with the writer free from `now`: each call has to be written and to
  // run out; and of any calls that are written one after another, the last one has to run out.
  [[nodiscard]] Time bound(Time now) const {
    std::vector<Time> release(calls_.size());  // no earlier can a call be begun
    std::vector<Time> result(returned_.begin(), returned_.end());
    Time least{};
    for (std::size_t i = 0; i < calls_.size(); ++i) {
      if (returned_[i] != kNever) continue;
      release[i] = std::max(now, last_of(calls_[i].needs, result));
      result[i] = result_time(calls_[i], release[i] + calls_[i].write, result);
      least = std::max({least, release[i] + calls_[i].write + paths_[i], result[i]});
    }
    Time first = kNever, written{};
    for (const std::size_t i : by_path_) {
      if (returned_[i] != kNever) continue;
      first = std::min(first, release[i]);
      written += calls_[i].write;
      least = std::max(least, first + written + paths_[i]);
    }
    return least;
  }

 private:
  void descend(Time now, Time last) {
    if (order_.size() == calls_.size()) {
      if (last < best_.makespan) best_ = {order_, last, best_.is_proven, best_.steps};
      return;
    }
    if (std::max(last, bound(now)) >= best_.makespan) return;
    for (const std::size_t i : by_path_) {
      if (returned_[i] != kNever) continue;
      const Time from = ready(calls_[i], returned_);
      if (from == kNever) continue;
      if (best_.steps >= max_steps_) {
        best_.is_proven = false;
        return;
      }
      ++best_.steps;
      const Time written = std::max(now, from) + calls_[i].write;
      returned_[i] = result_time(calls_[i], written, returned_);
      order_.push_back(i);
      descend(written, std::max(last, returned_[i]));
      order_.pop_back();
      returned_[i] = kNever;
    }
  }

  std::span<const PlannedCall> calls_;
  std::vector<Time> paths_;
  std::vector<std::size_t> by_path_;  // the longest first
  std::vector<Time> returned_;        // of the calls in order_, else kNever
  std::vector<std::size_t> order_;
  BestOrder best_;
  std::uint64_t max_steps_;
};

}  // namespace

std::vector<Time> remaining_paths(std::span<const PlannedCall> calls) {
  std::vector<Time> behind(calls.size());  // the longest chain behind a call's result
  std::vector<Time> paths(calls.size());
  for (std::size_t i = calls.size(); i-- > 0;) {
    paths[i] = calls[i].run + behind[i];
    for (const std::size_t need : calls[i].needs) {
      assert(need < i);
      behind[need] = std::max(behind[need], calls[i].write + paths[i]);
    }
    for (const std::size_t named : calls[i].starts_after) {
      assert(named < i);
      behind[named] = std::max(behind[named], paths[i]);
    }
  }
  return paths;
}

std::vector<double> longest_path_ranks(std::span<const PlannedCall> calls) {
  std::vector<double> ranks;
  for (const Time path : remaining_paths(calls)) ranks.push_back(-to_ms(path));
  return ranks;
}

std::vector<std::size_t> order_by_rank(std::span<const PlannedCall> calls,
                                       std::span<const double> rank) {
  assert(rank.size() == calls.size());
  std::vector<Time> returned(calls.size(), kNever);
  std::vector<std::size_t> order;
  Time now{};
  while (order.size() < calls.size()) {
    std::size_t best = calls.size();
    Time next = kNever;  // when a call can be written, if none can be now
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (returned[i] != kNever) continue;
      const Time from = ready(calls[i], returned);
      next = std::min(next, from);
      if (from <= now && (best == calls.size() || rank[i] < rank[best])) best = i;
    }
    if (best == calls.size()) {
      now = next;
      continue;
    }
    now += calls[best].write;
    returned[best] = result_time(calls[best], now, returned);
    order.push_back(best);
  }
  return order;
}

Time makespan(std::span<const PlannedCall> calls, std::span<const std::size_t> order) {
  std::vector<Time> returned(calls.size(), kNever);
  Time now{};
  Time last{};
  for (const std::size_t i : order) {
    const Time from = ready(calls[i], returned);
    assert(from != kNever);
    now = std::max(now, from) + calls[i].write;
    returned[i] = result_time(calls[i], now, returned);
    last = std::max(last, returned[i]);
  }
  return last;
}

Time makespan_bound(std::span<const PlannedCall> calls) { return Search(calls, 0).bound(Time{}); }

std::vector<PlannedCall> with_taking_in(std::span<const PlannedCall> calls,
                                        std::span<const Time> taking_in) {
  assert(taking_in.size() == calls.size());
  std::vector<PlannedCall> out;
  std::vector<std::size_t> place(calls.size());  // of a call, and of taking in its result
  std::vector<std::size_t> known(calls.size());
  for (std::size_t i = 0; i < calls.size(); ++i) {
    PlannedCall call = calls[i];
    for (std::size_t& need : call.needs) need = known[need];
    for (std::size_t& named : call.starts_after) named = place[named];
    place[i] = known[i] = out.size();
    out.push_back(std::move(call));
    const bool is_needed = std::ranges::any_of(
        calls, [&](const PlannedCall& other) { return std::ranges::contains(other.needs, i); });
    if (!is_needed) continue;
    known[i] = out.size();
    out.push_back({.write = taking_in[i], .run = {}, .needs = {place[i]}});
  }
  return out;
}

BestOrder best_order(std::span<const PlannedCall> calls, std::uint64_t max_steps) {
  return Search(calls, max_steps).run();
}

}  // namespace asynclm
