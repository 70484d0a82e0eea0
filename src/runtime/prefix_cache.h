// SPDX-License-Identifier: Apache-2.0
// Beginnings that prompts have in common: the system text with the tool list, and whatever else
// sessions share. Each is computed once, by the second prompt that has it; those after it take the
// saved state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include <asynclm/runtime.h>

namespace asynclm {

class PrefixCache {
 public:
  struct Kept {
    std::vector<Token> tokens;
    std::vector<std::byte> state;  // Engine::save of a sequence with these tokens
    std::uint64_t used = 0;
  };

  // The longest kept one that the context begins with and goes beyond; null if there is none. Valid
  // until the next call that is not const.
  [[nodiscard]] const Kept* find(std::span<const Token> context);

  // A new prompt. Tokens after which its owner should save its sequence, because earlier prompts
  // begin with the same; 0 if what they share is kept already, or not worth it.
  [[nodiscard]] std::size_t remember(std::span<const Token> prompt);

  // `owner` computes this prefix: others that begin with it wait, as long as is_coming().
  void announce(std::span<const Token> prefix, RunId owner);
  [[nodiscard]] bool is_coming(std::span<const Token> context) const;

  void keep(std::span<const Token> prefix, std::vector<std::byte> state);

  // The owner will not come to it.
  void abandon(RunId owner);
  void abandon_all() { coming_.clear(); }

 private:
  struct Coming {
    std::vector<Token> tokens;
    RunId owner;
  };
  std::vector<Kept> kept_;
  std::vector<Coming> coming_;
  std::deque<std::vector<Token>> recent_;  // prompts
  std::uint64_t uses_ = 0;
};

}  // namespace asynclm
