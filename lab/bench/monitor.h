// SPDX-License-Identifier: Apache-2.0
// What the token monitor costs and saves.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "bench/statistics.h"
#include "oracle/recordings.h"

namespace asynclm::bench {

struct MonitorCosts {
  Percentiles compile_us;     // a tool list, for each tool of it
  Percentiles accepted_ns;    // a token that the model wrote and the grammar allows
  Percentiles new_mask_us;    // the mask of a state that is asked for the first time
  Percentiles known_mask_us;  // and again
};

// Writes the calls of the recordings' first turns token by token through a monitor that each
// recording has for itself.
[[nodiscard]] Result<MonitorCosts> measure_costs(const Vocabulary& vocabulary,
                                                 const std::vector<Recording>& recordings);

// What of the monitor is on.
struct Features {
  std::string_view name;
  bool jump_forward, drafts;
};
inline constexpr std::array<Features, 4> kFeatures = {{{"plain", false, false},
                                                       {"jump-forward", true, false},
                                                       {"drafts", false, true},
                                                       {"both", true, true}}};

// These calls as a teacher writes them: how many decode calls they take.
struct CallTokens {
  std::int64_t calls = 0, refused = 0;  // refused: calls that the grammar does not allow
  std::int64_t tokens = 0;              // of all blocks, markers and ids included
  std::int64_t forced = 0;              // of these
  std::int64_t drafted = 0;             // proposed
  std::int64_t accepted = 0;            // proposed and right: of `tokens` too
  std::int64_t steps = 0;               // decode calls
};
[[nodiscard]] Result<CallTokens> count_tokens(const Vocabulary& vocabulary,
                                              const std::vector<Recording>& recordings,
                                              const Features& features);

// Wall time of decoding the calls with an engine that is kept to the teacher's tokens: each call in
// each of the four ways in turn, behind the same prompt (its end, where the context is too short).
struct DecodeTimes {
  std::array<Percentiles, kFeatures.size()> call_ms;
  std::array<double, kFeatures.size()> ratio{};  // of the sums, to plain
};
[[nodiscard]] Result<DecodeTimes> measure_decoding(Engine& engine,
                                                   const std::vector<Recording>& recordings);

}  // namespace asynclm::bench
