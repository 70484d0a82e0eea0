// SPDX-License-Identifier: Apache-2.0
// The solution in the prompt, as in the paper's experiments on latency (section 6, "cheat sheet"):
// with it each way of calling, and each model that can copy, makes the same calls.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "oracle/task.h"

namespace asynclm {

// What follows the user's text, one line a call; the header is that of CML:
//   Make these calls and say nothing else:
//   a: find(name="x")
//   b after a: open(path="/tmp/x")
// A call stands behind those that it needs; among these, and only then, the smaller rank of
// `ranks_of` comes first. The task's calls are put into this order and get the ids as labels, which
// go on from task to task. What an argument took from a result it now has from the sheet, so the
// calls depend on each other by order alone. The results are not to be reported. A call that an
// interruption asks for stands in the interruption's text. For tasks whose arguments all have
// values, and that withdraw and retry nothing.
void write_cheat_sheet(TaskSequence& sequence,
                       const std::function<std::vector<double>(const Task&)>& ranks_of);

}  // namespace asynclm
