// SPDX-License-Identifier: Apache-2.0
#include "engine/fake_engine.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <format>
#include <utility>

namespace asynclm {
namespace {

constexpr Token kFirstControl = 256;
constexpr std::array<std::string_view, 9> kControls{"[CALL]",   "[INTR]",        "[TRAP]",
                                                    "[END]",    "[HEAD]",        "<|system|>",
                                                    "<|user|>", "<|assistant|>", "<|end_of_text|>"};
constexpr Token kSize = kFirstControl + static_cast<Token>(kControls.size());
constexpr Token kEndOfText = kSize - 1;

// The default model's.
constexpr std::string_view kTemplate =
    "{%- for message in messages -%}<|{{ message.role }}|>{{ message.content }}"
    "{%- if message.role == 'assistant' -%}<|end_of_text|>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}";

}  // namespace

Token FakeVocabulary::size() const { return kSize; }

std::vector<Token> FakeVocabulary::encode(std::string_view text) const {
  std::vector<Token> out;
  out.reserve(text.size());
  for (const char byte : text) out.push_back(static_cast<unsigned char>(byte));
  return out;
}

Token FakeVocabulary::control(std::string_view spelling) const {
  const auto at = std::ranges::find(kControls, spelling);
  return at == kControls.end() ? kNoToken
                               : kFirstControl + static_cast<Token>(at - kControls.begin());
}

bool FakeVocabulary::is_control(Token token) const {
  return token >= kFirstControl && token < kSize;
}

bool FakeVocabulary::is_end_of_generation(Token token) const { return token == kEndOfText; }

void FakeVocabulary::append_piece(Token token, std::string& out) const {
  if (token >= 0 && token < kFirstControl) out.push_back(static_cast<char>(token));
}

std::string FakeVocabulary::spelling(Token token) const {
  if (is_control(token)) {
    return std::string(kControls[static_cast<std::size_t>(token - kFirstControl)]);
  }
  std::string out;
  append_piece(token, out);
  return out;
}

std::string FakeVocabulary::chat_template() const { return std::string(kTemplate); }

std::vector<Token> encode_with_controls(const Vocabulary& vocabulary, std::string_view text) {
  std::vector<std::pair<std::string, Token>> controls;
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (vocabulary.is_control(token)) controls.emplace_back(vocabulary.spelling(token), token);
  }
  std::vector<Token> out;
  std::size_t plain = 0;  // start of the text not yet encoded
  const auto flush = [&](std::size_t end) {
    const std::vector<Token> tokens = vocabulary.encode(text.substr(plain, end - plain));
    out.insert(out.end(), tokens.begin(), tokens.end());
  };
  for (std::size_t i = 0; i < text.size();) {
    const auto at = std::ranges::find_if(controls, [&](const auto& control) {
      return !control.first.empty() && text.substr(i).starts_with(control.first);
    });
    if (at == controls.end()) {
      ++i;
      continue;
    }
    flush(i);
    out.push_back(at->second);
    i += at->first.size();
    plain = i;
  }
  flush(text.size());
  return out;
}

FakeScript play(std::vector<Token> tokens, Token after) {
  return [tokens = std::move(tokens), after, next = std::size_t{0}](
             std::span<const Token>, std::span<const Token> banned) mutable {
    while (next < tokens.size() && std::ranges::contains(banned, tokens[next])) ++next;
    return next < tokens.size() ? tokens[next++] : after;
  };
}

FakeEngine::FakeEngine(const Vocabulary& vocabulary, FakeEngineOptions options)
    : vocabulary_(vocabulary),
      options_(std::move(options)),
      info_{.model = "scripted",
            .library = "fake",
            .context_tokens = options_.context_tokens,
            .max_sequences = options_.max_sequences,
            .max_batch_tokens = options_.max_batch_tokens,
            .max_draft_tokens = options_.max_draft_tokens,
            .fingerprint = static_cast<std::uint64_t>(vocabulary.size())},
      table_(info_, vocabulary.size()),
      sequences_(static_cast<std::size_t>(options_.max_sequences)) {}

void FakeEngine::script(SequenceId sequence, FakeScript script) {
  if (table_.contains(sequence)) at(sequence).script = std::move(script);
}

std::span<const Token> FakeEngine::tokens(SequenceId sequence) const {
  if (!table_.contains(sequence)) return {};
  return at(sequence).tokens;
}

Result<SequenceId> FakeEngine::create(const SamplingParams& params) {
  if (Result<void> valid = validate(params); !valid) return std::unexpected(valid.error());
  const Result<SequenceId> id = table_.add(SamplerState(params));
  if (!id) return id;
  at(*id).tokens.clear();
  at(*id).script = options_.scripts ? options_.scripts(*id) : FakeScript{};
  return id;
}

Result<SequenceId> FakeEngine::fork(SequenceId sequence) {
  if (Result<void> there = table_.check(sequence); !there) return std::unexpected(there.error());
  const Result<SequenceId> id = table_.add(table_.sampler(sequence));
  if (!id) return id;
  at(*id) = at(sequence);
  table_.set_length(*id, table_.length(sequence));
  return id;
}

void FakeEngine::drop(SequenceId sequence) {
  if (!table_.contains(sequence)) return;
  table_.remove(sequence);
  at(sequence) = {};
}

std::int32_t FakeEngine::length(SequenceId sequence) const { return table_.length(sequence); }

SavedOrigin FakeEngine::origin() const {
  return {.library = info_.library, .model = info_.fingerprint};
}

Result<std::vector<std::byte>> FakeEngine::save(SequenceId sequence) const {
  if (Result<void> there = table_.check(sequence); !there) return std::unexpected(there.error());
  const std::vector<Token>& tokens = at(sequence).tokens;
  const std::size_t bytes = tokens.size() * sizeof(Token);
  std::vector<std::byte> saved =
      make_saved(origin(), table_.length(sequence), table_.sampler(sequence), bytes);
  if (bytes > 0) std::memcpy(saved_payload(saved, bytes).data(), tokens.data(), bytes);
  seal_saved(saved);
  return saved;
}

Result<std::vector<std::byte>> FakeEngine::save_sampler(SequenceId sequence) const {
  if (Result<void> there = table_.check(sequence); !there) return std::unexpected(there.error());
  std::vector<std::byte> saved = make_saved(origin(), 0, table_.sampler(sequence), 0);
  seal_saved(saved);
  return saved;
}

Result<void> FakeEngine::restore_tokens(SequenceId sequence, std::span<const std::byte> state) {
  if (Result<void> there = table_.check(sequence); !there) return there;
  const SamplerState own = table_.sampler(sequence);
  Result<void> restored = restore(sequence, state);
  table_.sampler(sequence) = own;
  return restored;
}

Result<void> FakeEngine::restore(SequenceId sequence, std::span<const std::byte> state) {
  if (Result<void> there = table_.check(sequence); !there) return there;
  std::vector<Token>& tokens = at(sequence).tokens;
  tokens.clear();
  table_.set_length(sequence, 0);
  const Result<SavedSequence> saved = open_saved(state, origin());
  if (!saved) return std::unexpected(saved.error());
  const auto count = static_cast<std::size_t>(saved->tokens);
  if (saved->payload.size() != count * sizeof(Token)) {
    return fail(ErrorCode::invalid_argument, "the saved sequence is damaged");
  }
  if (saved->tokens > info_.context_tokens) {
    return fail(ErrorCode::limit_exceeded,
                std::format("the saved sequence has {} tokens, the engine's context {}",
                            saved->tokens, info_.context_tokens));
  }
  tokens.resize(count);
  if (count > 0) std::memcpy(tokens.data(), saved->payload.data(), saved->payload.size());
  table_.set_length(sequence, saved->tokens);
  table_.sampler(sequence) = saved->sampler;
  return {};
}

Result<void> FakeEngine::decode(std::span<const DecodeItem> items, std::span<Token> sampled) {
  if (Result<void> valid = table_.check(items, sampled.size()); !valid) return valid;
  if (next_error_) return std::unexpected(*std::exchange(next_error_, std::nullopt));
  abort_.begin();
  Result<void> result = run(items, sampled);
  if (!abort_.end()) result = fail(ErrorCode::cancelled, "decode was aborted on request");
  for (const DecodeItem& item : items) {
    std::vector<Token>& tokens = at(item.sequence).tokens;
    if (result) {
      table_.set_length(item.sequence, static_cast<std::int32_t>(tokens.size()));
    } else {
      tokens.resize(static_cast<std::size_t>(table_.length(item.sequence)));
    }
  }
  if (result) ++decode_calls_;
  return result;
}

Result<void> FakeEngine::run(std::span<const DecodeItem> items, std::span<Token> sampled) {
  std::int64_t tokens = 0;
  for (const DecodeItem& item : items) {
    std::vector<Token>& held = at(item.sequence).tokens;
    held.insert(held.end(), item.append.begin(), item.append.end());
    tokens += static_cast<std::int64_t>(item.append.size() + item.draft.size());
  }
  if (options_.clock != nullptr) {
    options_.clock->advance(options_.per_call + options_.per_token * tokens);
  }
  std::ranges::fill(sampled, kNoToken);
  std::size_t first = 0;  // entry of the item's first token
  for (const DecodeItem& item : items) {
    Sequence& sequence = at(item.sequence);
    for (std::size_t drafted = 0; item.sample; ++drafted) {
      const Result<Token> token = sample(sequence, item, drafted);
      if (!token) return std::unexpected(token.error());
      sampled[first + drafted] = *token;
      if (drafted == item.draft.size() || item.draft[drafted] != *token) break;
      sequence.tokens.push_back(*token);
    }
    first += 1 + item.draft.size();
  }
  return {};
}

Result<Token> FakeEngine::sample(Sequence& sequence, const DecodeItem& item,
                                 std::size_t drafted) const {
  if (!sequence.script) {
    return fail(ErrorCode::engine,
                std::format("sequence {} of the fake engine has no script", item.sequence));
  }
  const Token token = sequence.script(sequence.tokens, item.banned);
  if (token < 0 || token >= vocabulary_.size()) {
    return fail(ErrorCode::engine, std::format("sequence {}: the script gave {}, which is no token",
                                               item.sequence, token));
  }
  const bool banned = std::ranges::contains(item.banned, token);
  if (banned || (item.filter != nullptr && !item.filter->allows(token, drafted))) {
    return fail(ErrorCode::engine,
                std::format("sequence {}: the script gave {} after {} tokens, which {}",
                            item.sequence, vocabulary_.spelling(token), sequence.tokens.size(),
                            banned ? "is banned" : "the filter does not allow"));
  }
  return token;
}

}  // namespace asynclm
