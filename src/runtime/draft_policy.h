// SPDX-License-Identifier: Apache-2.0
// How long drafts pay on this engine, with this model and these tasks. A token of a draft makes a
// decode call wider, and saves one call if it and all before it are accepted.
#pragma once

#include <cstddef>

#include <asynclm/types.h>

namespace asynclm {

class DraftPolicy {
 public:
  // One decode call: tokens in it (appended and drafted) and its time. Long prompts are left out:
  // what one more token costs is wanted at the size of a draft.
  void decoded(std::size_t tokens, Time took);

  // One draft was verified.
  void verified(std::size_t drafted, std::size_t accepted);

  // Tokens that the next draft should have at most: as many as are likelier to be accepted, with
  // all before them, than they cost. 0: drafts do not pay now; they are tried again from time to
  // time.
  [[nodiscard]] std::size_t limit();

  // Cost of one more token in a decode call, as a share of a call with one. 0 while not known.
  [[nodiscard]] double cost() const;

 private:
  // Sums of a fit of time against tokens, forgetting old calls.
  double calls_ = 0, tokens_ = 0, squares_ = 0, time_ = 0, products_ = 0;
  // Accepted and tried tokens, forgetting old ones; the first of them are a guess.
  double accepted_ = 6, tried_ = 8;
  int idle_ = 0;  // limits of 0 in a row
};

}  // namespace asynclm
