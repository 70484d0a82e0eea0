// SPDX-License-Identifier: Apache-2.0
// What a runtime has done and how it stands: one plain structure, copied out as a whole by
// Runtime::metrics(). Counters and histograms count from the runtime's start.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include <asynclm/types.h>

namespace asynclm {

// Durations in buckets whose bounds are fixed, half an octave each: 1 µs · 2^(i/2) is the upper
// bound of bucket i, the last one takes all that is longer (about 50 minutes and more).
class Histogram {
 public:
  static constexpr std::size_t kBuckets = 64;

  void add(Time duration);

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] Time sum() const { return sum_; }
  [[nodiscard]] const std::array<std::uint64_t, kBuckets>& buckets() const { return buckets_; }
  [[nodiscard]] static Time upper_bound(std::size_t bucket);

  // The duration that a share of `q` (0 to 1) is not above, to within a bucket: the bound of the
  // bucket, or the longest seen if that is less. Zero without any.
  [[nodiscard]] Time quantile(double q) const;

 private:
  std::array<std::uint64_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  Time sum_{};
  Time longest_{};
};

// Where the computed tokens of a session are.
enum class Residency : std::uint8_t {
  resident,   // in the engine: a sequence is the session's
  host,       // saved in the host's memory
  disk,       // saved in a file
  discarded,  // nowhere: they are computed again from the token log
};
inline constexpr std::size_t kResidencies = 4;

struct KvUse {
  std::int64_t sessions = 0;
  std::int64_t tokens = 0;
  std::int64_t bytes = 0;  // of saved ones
};

struct Metrics {
  Time at{};  // since the runtime's start

  // Sessions now.
  std::int64_t queued = 0;     // started, nothing computed yet
  std::int64_t returning = 0;  // can go on, but have no sequence in the engine
  std::int64_t running = 0;    // are in decode calls
  std::int64_t trapped = 0;    // wait for a result
  std::int64_t most_trapped = 0;

  // Since the start.
  std::int64_t started = 0;
  std::int64_t admitted = 0;               // got their first sequence
  std::int64_t refused = 0;                // overloaded
  std::array<std::int64_t, 6> finished{};  // by FinishReason
  std::int64_t calls_started = 0, calls_ended = 0;

  // Tokens by kind, of decode calls.
  std::int64_t tokens_appended = 0;  // prompts, interrupts, sampled and forced tokens
  std::int64_t tokens_sampled = 0;
  std::int64_t tokens_drafted = 0, tokens_accepted = 0;
  std::int64_t tokens_recomputed = 0;  // of tokens_appended: once more
  std::int64_t tokens_shared = 0;      // of prompts, taken from a kept prefix instead of computed

  // Decode calls, and the time that they and everything around them took. own_time / tokens_sampled
  // is the runtime's cost of a token.
  std::int64_t decode_calls = 0;
  std::int64_t batch_sessions = 0;  // sum over the calls
  Time decode_time{}, own_time{};
  Time moving_time{};  // saves, restores, files; in neither of the two

  // The KV cache.
  std::array<KvUse, kResidencies> kv{};          // by Residency; sessions that have computed tokens
  std::int64_t swaps_out = 0, swaps_in = 0;      // engine to host memory, and back
  std::int64_t disk_writes = 0, disk_reads = 0;  // host memory to file, and back
  std::int64_t discards = 0, recomputes = 0;
  std::int64_t prefetches = 0;   // of swaps_in and recomputes: begun before the result was there
  std::int64_t preemptions = 0;  // of swaps_out and discards: of sessions that were writing
  std::int64_t lost = 0;         // saved ones that could not be read again: recomputed

  Histogram decode_call;  // how long they took
  Histogram queue_time;   // from start to a sequence
  Histogram first_token;  // from start to the first token
  Histogram token_gap;    // between decode calls that gave one session a token
  Histogram trap_time;    // paused for results
  Histogram return_time;  // from the end of a trap to a sequence, of evicted sessions
  // From where an interrupt could enter the context to the first token that is sampled behind it:
  // the rest of the decode call that was running, and its own.
  Histogram interrupt_delay;
  // Before that, from its arrival: the model was inside a block, or waits for other results first.
  Histogram interrupt_held;
};

}  // namespace asynclm
