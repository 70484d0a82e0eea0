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

#include "oracle/oracle.h"
#include "oracle/synthetic.h"

namespace asynclm {

struct Sample {
  Mode mode = Mode::async;
  std::vector<Token> tokens;
  // Half-open ranges of tokens that the model wrote: the loss counts on these.
  std::vector<std::pair<std::int32_t, std::int32_t>> loss;
  std::int32_t calls = 0;
  Time makespan{};
};

struct DatasetOptions {
  int level = kLevels;
  Policy policy = Policy::lpt;
  std::int32_t max_tokens = 1024;  // longer samples are left out
  std::uint64_t seed = 1;
};

// Sample `index` of the data set: the same for the same options, words and vocabulary.
[[nodiscard]] Result<Sample> make_sample(const Vocabulary& vocabulary, const WordList& words,
                                         const DatasetOptions& options, std::uint64_t index);

}  // namespace asynclm
