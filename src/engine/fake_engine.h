// SPDX-License-Identifier: Apache-2.0
// An engine without a model: what it "samples" comes from a function of the context. For tests, the
// dataset generator and everything else that needs exact tokens and virtual time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>

#include "base/clock.h"
#include "engine/abort_flag.h"
#include "engine/saved_sequence.h"
#include "engine/sequence_table.h"

namespace asynclm {

// Bytes and the control tokens of the default model. Token b < 256 is byte b.
class FakeVocabulary final : public Vocabulary {
 public:
  [[nodiscard]] Token size() const override;
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const override;
  [[nodiscard]] Token control(std::string_view spelling) const override;
  [[nodiscard]] bool is_control(Token token) const override;
  [[nodiscard]] bool is_end_of_generation(Token token) const override;
  void append_piece(Token token, std::string& out) const override;
  [[nodiscard]] std::string spelling(Token token) const override;
  [[nodiscard]] std::string chat_template() const override;
};

// Tokens of text in which the vocabulary's control tokens are written by their spelling
// ("[CALL]get()[END]"): how scripts and expectations are written down. Never for untrusted text.
[[nodiscard]] std::vector<Token> encode_with_controls(const Vocabulary& vocabulary,
                                                      std::string_view text);

// The next token of a sequence that holds `context` (the tokens just appended included), where
// `banned` may not come out. kNoToken: the model fails, decode returns `engine`.
using FakeScript =
    std::function<Token(std::span<const Token> context, std::span<const Token> banned)>;

// A script that gives these tokens one after the other, whatever the context, and then `after`.
// What is banned it leaves out, as a model does: a trap, say, when the result is there already.
[[nodiscard]] FakeScript play(std::vector<Token> tokens, Token after);

struct FakeEngineOptions {
  std::int32_t context_tokens = 4096;
  std::int32_t max_sequences = 64;
  std::int32_t max_batch_tokens = 4096;
  std::int32_t max_draft_tokens = 1024;

  // Virtual time: each decode call moves the clock, if there is one, by
  // per_call + per_token * (tokens appended or drafted in it). Moved before the scripts are asked.
  VirtualClock* clock = nullptr;
  Time per_call{};
  Time per_token{};

  // Gives each new sequence its script. Without one, sequences fail to sample until script().
  std::function<FakeScript(SequenceId)> scripts = {};
};

class FakeEngine final : public Engine {
 public:
  // `vocabulary` (any) and the clock must outlive the engine.
  explicit FakeEngine(const Vocabulary& vocabulary, FakeEngineOptions options = {});

  // What `sequence` samples from now on. A fork starts with a copy of the function; restore keeps
  // the function of the sequence that is restored into. Unknown ids are ignored.
  void script(SequenceId sequence, FakeScript script);

  // The next decode call returns this error and changes nothing.
  void fail_next_decode(Error error) { next_error_ = std::move(error); }

  // Empty for unknown ids; valid until the sequence changes.
  [[nodiscard]] std::span<const Token> tokens(SequenceId sequence) const;
  [[nodiscard]] std::int64_t decode_calls() const { return decode_calls_; }  // that succeeded

  [[nodiscard]] const EngineInfo& info() const override { return info_; }
  [[nodiscard]] const Vocabulary& vocabulary() const override { return vocabulary_; }
  [[nodiscard]] Result<SequenceId> create(const SamplingParams& params) override;
  [[nodiscard]] Result<SequenceId> fork(SequenceId sequence) override;
  void drop(SequenceId sequence) override;
  [[nodiscard]] std::int32_t length(SequenceId sequence) const override;
  [[nodiscard]] Result<std::vector<std::byte>> save(SequenceId sequence) const override;
  [[nodiscard]] Result<void> restore(SequenceId sequence,
                                     std::span<const std::byte> state) override;
  [[nodiscard]] Result<std::vector<std::byte>> save_sampler(SequenceId sequence) const override;
  [[nodiscard]] Result<void> restore_tokens(SequenceId sequence,
                                            std::span<const std::byte> state) override;
  [[nodiscard]] Result<void> decode(std::span<const DecodeItem> items,
                                    std::span<Token> sampled) override;
  void request_abort() noexcept override { abort_.request(); }

 private:
  struct Sequence {
    std::vector<Token> tokens;
    FakeScript script;
  };
  [[nodiscard]] Sequence& at(SequenceId id) { return sequences_[static_cast<std::size_t>(id)]; }
  [[nodiscard]] const Sequence& at(SequenceId id) const {
    return sequences_[static_cast<std::size_t>(id)];
  }
  [[nodiscard]] SavedOrigin origin() const;
  [[nodiscard]] Result<void> run(std::span<const DecodeItem> items, std::span<Token> sampled);
  [[nodiscard]] Result<Token> sample(Sequence& sequence, const DecodeItem& item,
                                     std::size_t drafted) const;

  const Vocabulary& vocabulary_;
  FakeEngineOptions options_;
  EngineInfo info_;
  SequenceTable table_;
  std::vector<Sequence> sequences_;
  std::optional<Error> next_error_;
  std::int64_t decode_calls_ = 0;
  AbortFlag abort_;
};

}  // namespace asynclm
