// SPDX-License-Identifier: Apache-2.0
#include "bench/taught_engine.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <format>
#include <vector>

namespace asynclm::bench {
namespace {

// Allows the teacher's token alone. A token is asked for when the engine has come to its place, so
// none is taken that is not sampled.
class OnlyTaught final : public TokenFilter {
 public:
  OnlyTaught(const std::function<Token()>& next, TokenFilter* own, Token vocabulary_size)
      : next_(next), own_(own), words_((static_cast<std::size_t>(vocabulary_size) + 63) / 64) {}

  bool allows(Token token, std::size_t drafted) override { return token == taught(drafted); }
  std::span<const std::uint64_t> allowed(std::size_t drafted) override {
    std::ranges::fill(words_, 0);
    const auto token = static_cast<std::size_t>(taught(drafted));
    if (token / 64 < words_.size()) words_[token / 64] = std::uint64_t{1} << (token % 64);
    return words_;
  }
  // The session's filter would not have had it.
  [[nodiscard]] Token refused() const { return refused_; }

 private:
  Token taught(std::size_t drafted) {
    while (tokens_.size() <= drafted) {
      tokens_.push_back(next_());
      if (own_ != nullptr && !own_->allows(tokens_.back(), tokens_.size() - 1)) {
        refused_ = tokens_.back();
      }
    }
    return tokens_[drafted];
  }

  const std::function<Token()>& next_;
  TokenFilter* own_;
  std::vector<Token> tokens_;  // of this decode call
  std::vector<std::uint64_t> words_;
  Token refused_ = kNoToken;
};

}  // namespace

Result<void> TaughtEngine::decode(std::span<const DecodeItem> items, std::span<Token> sampled) {
  if (items.size() != 1 || sampled.size() != sampled_size(items)) {
    return fail(ErrorCode::invalid_argument, "a taught engine decodes one sequence at a time");
  }
  DecodeItem item = items.front();
  if (!item.sample) return inner().decode({&item, 1}, sampled);
  OnlyTaught filter(next_, item.filter, vocabulary().size());
  if (next_) item.filter = &filter;
  if (drafts_ != nullptr && !item.draft.empty()) {
    item.draft = item.draft.first(std::min(item.draft.size(), drafts_->limit()));
  }
  std::ranges::fill(sampled, kNoToken);
  const auto used = sampled.first(1 + item.draft.size());
  const auto begin = std::chrono::steady_clock::now();
  if (auto ok = inner().decode({&item, 1}, used); !ok) return ok;
  if (filter.refused() != kNoToken) {
    return fail(ErrorCode::engine, std::format("the call grammar does not allow the teacher's {}",
                                               vocabulary().spelling(filter.refused())));
  }
  if (drafts_ != nullptr) {
    drafts_->decoded(item.append.size() + item.draft.size(),
                     std::chrono::steady_clock::now() - begin);
    const auto end = std::ranges::find(used, kNoToken);
    drafts_->verified(item.draft.size(), static_cast<std::size_t>(end - used.begin()) - 1);
  }
  return {};
}

}  // namespace asynclm::bench
