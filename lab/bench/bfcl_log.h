// SPDX-License-Identifier: Apache-2.0
// What `asynclm-lab bench bfcl` has run so far, in a file that grows by a line a sample: a bench
// that was cut goes on with what is missing.
#pragma once

#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/tool.h>

#include "bench/bfcl_run.h"

namespace asynclm::bench {

// One sample in all arms, or why it cannot be run.
using BfclSampleRuns = Result<std::vector<BfclRun>>;

class BfclLog {
 public:
  // A new file, or one that a bench with the same options has begun; a last line that was cut is
  // taken away. Errors: invalid_argument, it is no such file, or names the options that differ; io.
  [[nodiscard]] static Result<BfclLog> open(const std::string& path, const Json& options);

  // Nothing: it is still to be run.
  [[nodiscard]] std::optional<BfclSampleRuns> find(const std::string& key) const;
  [[nodiscard]] Result<void> add(const std::string& key, const BfclSampleRuns& runs);
  // Samples that were there when it was opened.
  [[nodiscard]] std::size_t recalled() const { return lines_.size(); }

 private:
  std::string path_;
  std::map<std::string, Json> lines_;
  std::ofstream file_;
};

}  // namespace asynclm::bench
