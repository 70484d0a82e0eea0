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

// Words that tasks may use. The split is by word: no function and no word of a test task's values
// was ever seen in training. Parameters are partly of a few common words ("path"), in all splits.
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

  // For a model with this vocabulary. Some of the words picked for training are then made of its
  // own pieces: a word list has only some of these, and a token that no training text holds cannot
  // be copied from a prompt. In the other splits, words that are one piece are left out, since
  // training has seen them. invalid_argument where hardly any is left.
  [[nodiscard]] Result<void> fit(const Vocabulary& vocabulary);

  // So many of the picked ones are made of one or two pieces: every token of the vocabulary is then
  // copied about equally often. Of words alone, common ones, which are single tokens, hardly come
  // up.
  static constexpr double kOfPieces = 0.6;
  [[nodiscard]] std::string pick(Random& random) const;
  // A piece of the vocabulary that is text by itself; where there is none, a word.
  [[nodiscard]] std::string pick_piece(Random& random) const;
  [[nodiscard]] std::size_t size() const { return words_.size(); }
  [[nodiscard]] Split split() const { return split_; }

 private:
  std::vector<std::string> words_;
  std::vector<std::string> pieces_;  // lower-case ones, of the training split only
  std::vector<std::string> texts_;   // all that are text by themselves, likewise
  Split split_ = Split::train;
};

// How hard the tasks are. 1: one call a task, several tasks in one conversation: which tool is
// meant, and copying; 2: several independent calls, text to write; 3: chains, errors, two tasks in
// one conversation; 4: nearly all tasks have several calls, half of the calls are chained, tools
// are alike and values come again; 5: as 3, and the user interrupts (more to do, a correction, a
// withdrawal), wants failed calls tried again, or asks for what no tool does; 6: the calls stand in
// the prompt (oracle/dictated.h); 7: as 5, and tools tell parts of results while they run, calls
// come after others whose results they do not take, and the user wants to hear of all results
// together, or of one of two first; 8: as 6, with few words around lists of many calls, most of
// which come after others; 9: as 4, and of most results that a call takes, it takes one of several
// values.
inline constexpr int kLevels = 9;
inline constexpr int kDictatedLevel = 6, kLongListsLevel = 8, kDataFlowLevel = 9;

[[nodiscard]] TaskSequence make_tasks(const WordList& words, int level, Random& random);

}  // namespace asynclm
