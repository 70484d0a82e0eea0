// SPDX-License-Identifier: Apache-2.0
// Tasks as a command's input: synthetic ones, or recorded calls.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include <asynclm/error.h>

#include "oracle/recordings.h"
#include "oracle/synthetic.h"

namespace asynclm {

class TaskSource {
 public:
  // --recordings, --only, --without, --calls-in-prompt, --only-called, --words and --level (from
  // `lowest_level` on). Returns --recordings, for other options to need or exclude.
  CLI::Option* add_to(CLI::App& command, int lowest_level = 1);

  // Reads what was asked for, and says on standard error which recordings are left out that could
  // be expected. Of the word list, the words of the split are used, those for a model with this
  // vocabulary (WordList::fit) if not null. invalid_argument where no recording with a call is
  // left.
  [[nodiscard]] Result<void> open(Split split, const Vocabulary* vocabulary = nullptr);

  // Leaves out the recordings of which a function refuses a call, and says which: what is right
  // there cannot be done. invalid_argument where none is left.
  [[nodiscard]] Result<void> leave_out_refused();

  [[nodiscard]] bool is_recorded() const { return list_ == std::nullopt; }
  [[nodiscard]] std::uint64_t size() const { return recordings_.size(); }  // of recorded ones
  // For reports: the level, or the files' names and what was done with them.
  [[nodiscard]] Json describe() const;

  // Synthetic tasks are drawn; recorded ones begin anew behind the last.
  [[nodiscard]] TaskSequence sequence(std::uint64_t index, Random& random) const;
  // The recording's id; empty: synthetic.
  [[nodiscard]] std::string id(std::uint64_t index) const;

 private:
  [[nodiscard]] Result<std::vector<Recording>> read_recordings() const;

  std::vector<std::string> files_;
  std::string only_, without_;
  std::string words_ = "/usr/share/dict/words";
  bool calls_in_prompt_ = false, only_called_ = false;
  int level_ = 4;
  std::optional<WordList> list_;
  std::vector<Recording> recordings_;
};

}  // namespace asynclm
