// SPDX-License-Identifier: Apache-2.0
// Writes CML and the tool list of the prompt.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <asynclm/protocol.h>

#include "cml/markers.h"
#include "cml/span.h"

namespace asynclm {

// [INTR] id [HEAD] text [END]
[[nodiscard]] std::vector<Span> interrupt_spans(const Markers& markers, std::string_view id,
                                                std::string_view text, Origin origin);

// The longest estimate first; equal ones by name. Valid as long as `tools`.
[[nodiscard]] std::vector<const ToolSpec*> by_priority(const std::vector<ToolSpec>& tools);

// The system text: the mode and one line a tool, longest estimate first, numbered. The order is
// the priority of the paper (section 4: longest first), so a model need not compare numbers:
//   mode async
//   1 900 ms count the primes below a limit: count_primes(limit: integer)
// The description comes before the name: a model looks a tool up by what it is for, and copies
// what follows what it found.
[[nodiscard]] std::string tools_document(Mode mode, const std::vector<ToolSpec>& tools);

}  // namespace asynclm
