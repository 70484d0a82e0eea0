// SPDX-License-Identifier: Apache-2.0
// Whether a call is the right one, as the Berkeley Function Calling Leaderboard checks it (its "AST
// match"): types and values count, not how they are written.
#pragma once

#include <asynclm/protocol.h>

namespace asynclm {

// `accept` has the right values of each parameter, as a list; "" in the list: it may be left out.
// The right values of an object are given in the same way. Texts are equal without case, spaces and
// the signs ,./-_*^'" ; numbers by value.
[[nodiscard]] bool accepts(const Json& accept, const Json& arguments);

// … and where `accept` is null, whether they are the right ones themselves.
[[nodiscard]] bool accepts(const Json& accept, const Json& right, const Json& arguments);

}  // namespace asynclm
