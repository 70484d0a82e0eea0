// SPDX-License-Identifier: Apache-2.0
// How fast the runtime decodes for many sessions at once, and what it takes for itself: everything
// between two calls of the engine.
#pragma once

#include <cstdint>
#include <memory>

#include <asynclm/engine.h>
#include <asynclm/error.h>

namespace asynclm::bench {

struct BatchedDecodeTask {
  std::int32_t sessions = 1;
  std::int32_t prompt_tokens = 64;  // at least: what the chat template adds may be more
  std::int32_t generated_tokens = 64;
};

struct BatchedDecode {
  std::int32_t prompt_tokens = 0;  // of each session, as they were
  std::int64_t steps = 0;          // decode calls in which all sessions got their next token
  double tokens_per_second = 0;    // of all sessions together, sampling and the runtime included
  double own_us_per_token = 0;     // time outside the engine's calls
};

// Sessions with equal prompts write text until each has its tokens: control tokens are banned, so
// that none ends before. Only the calls are counted that are one token for each session. The
// engine needs task.sessions sequences with room for all tokens. limit_exceeded: it has not.
[[nodiscard]] Result<BatchedDecode> measure_batched_decode(std::unique_ptr<Engine> engine,
                                                           const BatchedDecodeTask& task);

}  // namespace asynclm::bench
