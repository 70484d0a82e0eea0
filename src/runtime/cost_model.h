// SPDX-License-Identifier: Apache-2.0
// What the engine's work costs in time: decode calls by the tokens in them and the tokens that these
// attend to, moves of saved sequences by their bytes. Learned from the operations themselves, so it
// is this engine's, this model's and this machine's; a measurement at start only gives it a
// beginning (calibrate). Pure arithmetic: no engine, no clock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <asynclm/types.h>

namespace asynclm {

// The size of a decode call.
struct DecodeWork {
  double tokens = 0;    // appended or drafted
  double attended = 0;  // for each of them, the tokens before it in its sequence

  // `count` tokens behind `depth` others.
  void add(std::size_t count, std::size_t depth) {
    const auto n = static_cast<double>(count);
    tokens += n;
    attended += n * (static_cast<double>(depth) + n / 2);
  }
};

// Seconds of a decode call: call + token * tokens + attended * attended. The first part is what has
// to be read for each call, above all the weights; the last makes a long prompt quadratic.
struct DecodeCost {
  double call = 0, token = 0, attended = 0;
};

// A saved sequence on its way between the engine, the host's memory and the disk.
enum class Move : std::uint8_t { to_host, from_host, to_disk, from_disk };
inline constexpr std::size_t kMoves = 4;

class CostModel {
 public:
  // `batch_tokens`: of one decode call at most (EngineInfo::max_batch_tokens).
  explicit CostModel(std::size_t batch_tokens) : batch_tokens_(batch_tokens) {}

  // One decode call took so long.
  void decoded(const DecodeWork& work, Time took);
  // A save or a file's write or read took so long.
  void moved(Move move, std::size_t bytes, Time took);
  // A sequence of so many tokens was saved in so many bytes.
  void saved(std::size_t tokens, std::size_t bytes);

  [[nodiscard]] bool knows_decode() const { return calls_ > 0; }
  [[nodiscard]] const DecodeCost& decode_cost() const { return cost_; }
  [[nodiscard]] Time decode(const DecodeWork& work) const;

  // Tokens behind `depth` others that fit into one decode call beside `others` so that it ends
  // within `limit`; batch_tokens while no call has been seen.
  [[nodiscard]] std::size_t tokens_within(Time limit, const DecodeWork& others,
                                          std::size_t depth) const;

  // Computing the first `tokens` tokens of a sequence again, in calls of batch_tokens.
  [[nodiscard]] Time recompute(std::size_t tokens) const;

  [[nodiscard]] Time move(Move move, std::size_t bytes) const;
  [[nodiscard]] std::size_t bytes(std::size_t tokens) const;

  // Out of the engine and back again, for a sequence of so many tokens.
  [[nodiscard]] Time host_round_trip(std::size_t tokens) const;
  [[nodiscard]] Time disk_round_trip(std::size_t tokens) const;

 private:
  static constexpr std::size_t kTerms = 3;   // of DecodeCost
  static constexpr std::size_t kSizes = 13;  // 1, 2, 4, … tokens of a call
  // Sums of a least-squares fit of relative errors. Each size of calls forgets for itself: hours of
  // single tokens must not make the cost of a prompt forgotten.
  struct Sums {
    std::array<double, kTerms * kTerms> products{};
    std::array<double, kTerms> targets{};
  };
  void fit();

  std::size_t batch_tokens_;
  std::array<Sums, kSizes> sizes_{};
  DecodeCost cost_;
  std::int64_t calls_ = 0;

  // Seconds and bytes, decaying; what they begin with is a guess that the first move outweighs.
  struct Rate {
    double seconds, bytes;
  };
  // 4 GB/s in memory, 500 MB/s to files; weighed as one kilobyte.
  std::array<Rate, kMoves> rates_{
      {{2.5e-7, 1000}, {2.5e-7, 1000}, {2e-6, 1000}, {2e-6, 1000}}};
  double saved_bytes_ = 4096, saved_tokens_ = 1;
};

}  // namespace asynclm
