// SPDX-License-Identifier: Apache-2.0
// Training samples: conversations that the oracle had through a real Session on the virtual clock
// (paper section 4).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/session.h>

#include "base/random.h"
#include "oracle/oracle.h"
#include "oracle/task.h"

namespace asynclm {

// Whose tokens a part of a sample is.
enum class Author : std::uint8_t {
  prompt,     // system text and first message, in the model's chat template
  user,       // a further message
  model,      // with what the session appends to close the model's blocks
  interrupt,  // results, and what else interrupts
};
[[nodiscard]] std::string_view to_string(Author author);

// Half-open.
using TokenRange = std::pair<std::int32_t, std::int32_t>;

struct SamplePart {
  Author author;
  TokenRange tokens;
};

struct Sample {
  Mode mode = Mode::async;
  std::vector<Token> tokens;
  std::vector<SamplePart> parts;  // all tokens, in order
  std::vector<TokenRange> loss;   // what the model wrote and is to learn: the loss counts on these
  std::int32_t calls = 0;
  std::int32_t interrupted = 0;   // interrupts that came while the model had more to write
  std::int32_t cut_searches = 0;  // tasks whose order Policy::optimal may not have found
  // A call of the task that the session refuses, and why: it is no example. Empty: none.
  std::string refused;
  Time makespan{};
};

struct ModeShare {
  Mode mode;
  double share;  // of the samples; any positive numbers
};

struct DatasetOptions {
  // Interrupts in mid-generation are what is hardest to learn.
  std::vector<ModeShare> modes = {{Mode::async, 70}, {Mode::sync_parallel, 15}, {Mode::sync, 15}};
  Policy policy = Policy::lpt;
  std::int32_t max_tokens = 1024;  // longer samples are left out
  std::string stand_in = "ok";     // the result of calls whose result is not recorded
};

// The mode and the time per token are drawn; calls run as long as `sequence` says.
[[nodiscard]] Result<Sample> make_sample(const Vocabulary& vocabulary, const TaskSequence& sequence,
                                         const DatasetOptions& options, Random& random);

// Gives each call a run time of its own, of 1 ms to 1 s: half to twice its tool's estimate.
void draw_times(TaskSequence& sequence, Random& random);

// Sample `index` of a data set has a stream of its own, so that samples can be made in any order.
[[nodiscard]] Random random_for_sample(std::uint64_t seed, std::uint64_t index);

}  // namespace asynclm
