// SPDX-License-Identifier: Apache-2.0
#include "engine/sequence_table.h"

#include <format>

namespace asynclm {

SequenceTable::SequenceTable(const EngineInfo& info, Token vocabulary_size)
    : info_(info),
      vocabulary_size_(vocabulary_size),
      entries_(static_cast<std::size_t>(info.max_sequences)) {}

Result<SequenceId> SequenceTable::add(const SamplerState& sampler) {
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (entries_[i].length >= 0) continue;
    entries_[i].length = 0;
    entries_[i].sampler = sampler;
    return static_cast<SequenceId>(i);
  }
  return fail(ErrorCode::limit_exceeded,
              std::format("all {} sequences of the engine are in use; drop one or raise "
                          "max_sequences",
                          info_.max_sequences));
}

void SequenceTable::remove(SequenceId id) {
  if (contains(id)) at(id).length = -1;
}

bool SequenceTable::contains(SequenceId id) const { return length(id) >= 0; }

Result<void> SequenceTable::check(SequenceId id) const {
  if (contains(id)) return {};
  return fail(ErrorCode::invalid_argument, std::format("there is no sequence {}", id));
}

std::int32_t SequenceTable::length(SequenceId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < entries_.size() ? at(id).length : -1;
}

Result<void> SequenceTable::check_token(SequenceId id, const char* what, Token token) const {
  if (token >= 0 && token < vocabulary_size_) return {};
  return fail(ErrorCode::invalid_argument,
              std::format("sequence {}: {} token {} is not in the vocabulary of {}", id, what,
                          token, vocabulary_size_));
}

Result<void> SequenceTable::check(std::span<const DecodeItem> items, std::size_t sampled_size) {
  if (const std::size_t needed = asynclm::sampled_size(items); sampled_size != needed) {
    return fail(
        ErrorCode::invalid_argument,
        std::format("decode of {} items has room for {} sampled tokens; it needs {}: one an "
                    "item and one a token of a draft",
                    items.size(), sampled_size, needed));
  }
  ++calls_;
  std::size_t total = 0, drafts = 0;
  for (const DecodeItem& item : items) {
    const SequenceId id = item.sequence;
    if (Result<void> there = check(id); !there) return there;
    if (at(id).last_call == calls_) {
      return fail(ErrorCode::invalid_argument,
                  std::format("sequence {} occurs twice in one decode call", id));
    }
    at(id).last_call = calls_;
    if (item.append.empty()) {
      return fail(
          ErrorCode::invalid_argument,
          std::format("sequence {}: nothing to append; decode needs at least one token", id));
    }
    if (!item.sample && !item.draft.empty()) {
      return fail(ErrorCode::invalid_argument,
                  std::format("sequence {}: there is a draft, but nothing is to be sampled", id));
    }
    const auto room = static_cast<std::size_t>(info_.context_tokens - at(id).length);
    const std::size_t size = item.append.size() + item.draft.size();
    if (size > room) {
      return fail(ErrorCode::limit_exceeded,
                  std::format("sequence {}: {} tokens do not fit behind {} in a context of {}", id,
                              size, at(id).length, info_.context_tokens));
    }
    for (const Token token : item.append) {
      if (Result<void> known = check_token(id, "appended", token); !known) return known;
    }
    for (const Token token : item.draft) {
      if (Result<void> known = check_token(id, "drafted", token); !known) return known;
    }
    for (const Token token : item.banned) {
      if (Result<void> known = check_token(id, "banned", token); !known) return known;
    }
    total += size;
    drafts += item.draft.size();
  }
  if (drafts > static_cast<std::size_t>(info_.max_draft_tokens)) {
    return fail(ErrorCode::limit_exceeded,
                std::format("decode with drafts of {} tokens at once; the engine takes {}", drafts,
                            info_.max_draft_tokens));
  }
  if (total > static_cast<std::size_t>(info_.max_batch_tokens)) {
    return fail(ErrorCode::limit_exceeded,
                std::format("decode of {} tokens at once; the engine takes {} (batch_tokens)",
                            total, info_.max_batch_tokens));
  }
  return {};
}

}  // namespace asynclm
