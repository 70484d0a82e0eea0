// SPDX-License-Identifier: Apache-2.0
#include "runtime/prefix_cache.h"

#include <algorithm>
#include <utility>

namespace asynclm {
namespace {

constexpr std::size_t kMaxKept = 8;     // modes times versions of the tool list, and some more
constexpr std::size_t kMaxRecent = 16;  // prompts that a new one is compared with
// A state is kept for so many more tokens than the one that is there: below, saving and restoring
// cost about as much as computing, and every two tasks have a few words in common.
constexpr std::size_t kMinShared = 32;

bool begins_with(std::span<const Token> text, std::span<const Token> prefix) {
  return text.size() > prefix.size() && std::ranges::equal(text.first(prefix.size()), prefix);
}

std::size_t shared_length(std::span<const Token> a, std::span<const Token> b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

const PrefixCache::Kept* PrefixCache::find(std::span<const Token> context) {
  Kept* best = nullptr;
  for (Kept& kept : kept_) {
    if (!begins_with(context, kept.tokens)) continue;
    if (best == nullptr || kept.tokens.size() > best->tokens.size()) best = &kept;
  }
  if (best != nullptr) best->used = ++uses_;
  return best;
}

std::size_t PrefixCache::remember(std::span<const Token> prompt) {
  const Kept* kept = find(prompt);
  const std::size_t known = kept == nullptr ? 0 : kept->tokens.size();
  std::size_t longest = 0;
  for (const std::vector<Token>& other : recent_) {
    longest = std::max(longest, shared_length(prompt, other));
  }
  longest = std::min(longest, prompt.size() - 1);  // one token is left to sample behind
  if (recent_.size() == kMaxRecent) {
    recent_.push_back(std::move(recent_.front()));  // its memory is used again
    recent_.pop_front();
  } else {
    recent_.emplace_back();
  }
  recent_.back().assign(prompt.begin(), prompt.end());
  return longest >= known + kMinShared ? longest : 0;
}

void PrefixCache::announce(std::span<const Token> prefix, RunId owner) {
  coming_.push_back({{prefix.begin(), prefix.end()}, owner});
}

bool PrefixCache::is_coming(std::span<const Token> context) const {
  return std::ranges::any_of(
      coming_, [&](const Coming& coming) { return begins_with(context, coming.tokens); });
}

void PrefixCache::keep(std::span<const Token> prefix, std::vector<std::byte> state) {
  std::erase_if(coming_,
                [&](const Coming& coming) { return std::ranges::equal(coming.tokens, prefix); });
  if (std::ranges::any_of(
          kept_, [&](const Kept& kept) { return std::ranges::equal(kept.tokens, prefix); })) {
    return;
  }
  if (kept_.size() == kMaxKept) kept_.erase(std::ranges::min_element(kept_, {}, &Kept::used));
  kept_.push_back({{prefix.begin(), prefix.end()}, std::move(state), ++uses_});
}

void PrefixCache::abandon(RunId owner) {
  std::erase_if(coming_, [&](const Coming& coming) { return coming.owner == owner; });
}

}  // namespace asynclm
