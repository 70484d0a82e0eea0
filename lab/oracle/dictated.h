// SPDX-License-Identifier: Apache-2.0
// Synthetic tasks whose calls stand in the prompt (oracle/cheat_sheet.h): tools as real programs
// have them, with arguments of all types, called side by side and in chains. What a model learns
// from them is to follow such a list exactly, whatever stands in it.
#pragma once

#include <cstdint>

#include "base/random.h"
#include "oracle/synthetic.h"
#include "oracle/task.h"

namespace asynclm {

enum class DictatedLists : std::uint8_t {
  varied,         // as prompts of real programs are: long descriptions, lists of any length
  long_and_terse  // mostly decisions: many calls that come after others, few words around them
};

[[nodiscard]] TaskSequence make_dictated_tasks(const WordList& words, Random& random,
                                               DictatedLists lists);

}  // namespace asynclm
