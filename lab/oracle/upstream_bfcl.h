// SPDX-License-Identifier: Apache-2.0
// The Berkeley Function Calling Leaderboard as its own repository has it (ShishirPatil/gorilla,
// berkeley-function-call-leaderboard/bfcl_eval/data), brought into the form of oracle/recordings.h.
#pragma once

#include <string>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

namespace asynclm {

struct UpstreamBfcl {
  std::vector<Json> lines;  // as oracle/recordings.h describes them
  Json classes;             // of several turns: {class: [function]}
};

// Whether a line of a file is upstream's: {id, question, …}.
[[nodiscard]] bool is_upstream_bfcl(const Json& line);

// `questions` are the lines of the file `path`. Their answers are the file of the same name in
// possible_answer/ beside it, the functions of classes are in multi_turn_func_doc/. A call's
// arguments are the first values that are right; parameters that may be left out are left out.
// Upstream records no results. Errors: not_found names the file that is missing, invalid_argument
// the sample.
[[nodiscard]] Result<UpstreamBfcl> read_upstream_bfcl(const std::string& path,
                                                      const std::vector<Json>& questions);

}  // namespace asynclm
