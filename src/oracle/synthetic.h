// SPDX-License-Identifier: Apache-2.0
// Synthetic tasks. Function, parameter and value names are drawn at random from a large word list,
// so that a model learns to read the tool list instead of remembering it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "base/random.h"
#include "oracle/task.h"

namespace asynclm {

// Words that tasks may use. The split is by word: no name of a test task was ever seen in
// training.
enum class Split : std::uint8_t { train, validation, test };

struct NamedSplit {
  std::string_view name;
  Split split;
};
inline constexpr std::array<NamedSplit, 3> kSplits = {
    {{"train", Split::train}, {"validation", Split::validation}, {"test", Split::test}}};

class WordList {
 public:
  // One word a line; only lower-case ASCII words of 3 to 7 letters are used. not_found / io.
  [[nodiscard]] static Result<WordList> load(const std::string& path, Split split);

  // Some of the words picked from now on are made of the vocabulary's own pieces. A word list has
  // only some of these, and a token that no training text holds cannot be copied from a prompt.
  void add_pieces(const Vocabulary& vocabulary);

  // So many of the picked ones are made of one or two pieces: every token of the vocabulary is then
  // copied about equally often. Of words alone, common ones, which are single tokens, hardly come
  // up.
  static constexpr double kOfPieces = 0.6;
  [[nodiscard]] std::string pick(Random& random) const;
  // A piece of the vocabulary that is text by itself; where there is none, a word.
  [[nodiscard]] std::string pick_piece(Random& random) const;
  [[nodiscard]] std::size_t size() const { return words_.size(); }

 private:
  std::vector<std::string> words_;
  std::vector<std::string> pieces_;  // lower-case ones
  std::vector<std::string> texts_;   // all that are text by themselves
  Split split_ = Split::train;
};

// How hard the tasks are. 1: one call a task, several tasks in one conversation: which tool is
// meant, and copying; 2: several independent calls, text to write; 3: chains, errors, two tasks in
// one conversation; 4: nearly all tasks have several calls, half of the calls are chained, tools
// are alike and values come again; 5: as 3, and the user interrupts (more to do, a correction, a
// withdrawal), wants failed calls tried again, or asks for what no tool does; 6: the calls stand in
// the prompt (oracle/dictated.h).
inline constexpr int kLevels = 6;

[[nodiscard]] TaskSequence make_tasks(const WordList& words, int level, Random& random);

}  // namespace asynclm
