// SPDX-License-Identifier: Apache-2.0
// The engine: what turns tokens into next tokens. Everything that enters a model's context is an
// append to a sequence; one decode call mixes appends and samples of many sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/types.h>

namespace asynclm {

// A model's tokens. Const and safe to use from several threads.
class Vocabulary {
 public:
  virtual ~Vocabulary() = default;

  [[nodiscard]] virtual Token size() const = 0;

  // Tokens of plain text. Spellings of control tokens in `text` stay plain characters: the result
  // never holds a control token (cml checks it once more).
  [[nodiscard]] virtual std::vector<Token> encode(std::string_view text) const = 0;

  // The control token that is spelled so ("[CALL]", "<|user|>"), or kNoToken.
  [[nodiscard]] virtual Token control(std::string_view spelling) const = 0;

  // Tokens by which the chat template sets turns and calls apart are control tokens here, also
  // where the model's file declares them otherwise.
  [[nodiscard]] virtual bool is_control(Token token) const = 0;

  // A control token of the chat template that the model was never trained on: its rows are those of
  // padding, so that it can neither be read nor written.
  [[nodiscard]] virtual bool is_untrained(Token /*token*/) const { return false; }

  // Tokens by which a model ends its turn.
  [[nodiscard]] virtual bool is_end_of_generation(Token token) const = 0;

  // Token that every context of this model begins with; kNoToken if it was trained without one.
  [[nodiscard]] virtual Token begin_of_text() const { return kNoToken; }

  // Appends the token's bytes (maybe part of a UTF-8 character); nothing for control tokens.
  virtual void append_piece(Token token, std::string& out) const = 0;

  // As append_piece, but control tokens by their spelling: for logs and people.
  [[nodiscard]] virtual std::string spelling(Token token) const = 0;

  // The Jinja chat template that the model file carries; empty if none.
  [[nodiscard]] virtual std::string chat_template() const = 0;
};

struct SamplingParams {
  float temperature = 0.0F;  // 0 = greedy; the filters below then have no effect
  std::int32_t top_k = 0;    // keep the k likeliest; 0 = all
  float top_p = 1.0F;        // keep the smallest set with at least this probability
  float min_p = 0.0F;        // drop tokens below this share of the likeliest one's probability
  std::uint64_t seed = 0;
};

// Error naming the first field that is out of its range.
[[nodiscard]] Result<void> validate(const SamplingParams& params);

using SequenceId = std::int32_t;

// What may be sampled, beyond a few banned tokens. It is asked after sampling, so it costs nothing
// where the model keeps to it by itself; only for a token that it does not allow the whole set is
// needed.
class TokenFilter {
 public:
  virtual ~TokenFilter() = default;
  // `drafted`: behind how many tokens of the item's draft.
  [[nodiscard]] virtual bool allows(Token token, std::size_t drafted) = 0;
  // Bit t % 64 of word t / 64: whether token t is allowed. Valid until the next call.
  [[nodiscard]] virtual std::span<const std::uint64_t> allowed(std::size_t drafted) = 0;
};

// One sequence's part of a decode call.
struct DecodeItem {
  SequenceId sequence = 0;
  std::span<const Token> append;  // at least one token, added at the sequence's end
  bool sample = true;             // sample the token that follows the last appended one
  std::span<const Token> banned;  // never sampled (probability zero); few: markers not legal now
  TokenFilter* filter = nullptr;  // nothing else is sampled; null: everything may be
  // A guess of what will be sampled, verified in the same call: as long as the token that is
  // sampled is the draft's, the next one is sampled too, and so on behind the draft's end. The
  // tokens, and the sampler afterwards, are those of as many calls without a draft. Needs `sample`.
  std::span<const Token> draft = {};
};

// Drafts that sessions make have so many tokens at most: longer ones are seldom right to their end.
inline constexpr std::size_t kMaxDraftTokens = 8;

// Entries of `sampled` that a decode call with these items has room for.
[[nodiscard]] inline std::size_t sampled_size(std::span<const DecodeItem> items) {
  std::size_t size = items.size();
  for (const DecodeItem& item : items) size += item.draft.size();
  return size;
}

struct EngineInfo {
  std::string model;              // name or description, for people
  std::string library;            // "libllama 0.7.0, ggml 0.27.0"; "fake"
  std::int32_t context_tokens;    // longest sequence
  std::int32_t max_sequences;     // at the same time
  std::int32_t max_batch_tokens;  // sum of appends and drafts in one decode call
  std::int32_t max_draft_tokens;  // sum of drafts in one decode call
  std::uint64_t fingerprint = 0;  // tells models apart; of the model's file
};

// Not thread-safe but for request_abort: one thread owns an engine.
class Engine {
 public:
  virtual ~Engine() = default;

  [[nodiscard]] virtual const EngineInfo& info() const = 0;
  [[nodiscard]] virtual const Vocabulary& vocabulary() const = 0;

  // A new empty sequence with its own sampler. limit_exceeded if all sequences are in use.
  [[nodiscard]] virtual Result<SequenceId> create(const SamplingParams& params) = 0;

  // Frees the sequence; its id may be used again. Unknown ids are ignored.
  virtual void drop(SequenceId sequence) = 0;

  // Tokens in the sequence (the token sampled last is not in it until it is appended), or -1.
  [[nodiscard]] virtual std::int32_t length(SequenceId sequence) const = 0;

  // The sequence keeps its first `tokens` tokens at most: fewer where the model's memory cannot be
  // cut there (recurrent models, sliding windows), which length() says. Its sampler stays as it is.
  [[nodiscard]] virtual Result<void> truncate(SequenceId sequence, std::int32_t tokens) = 0;

  // The sequence's tokens' state and sampler as bytes; only this engine, model and library version
  // can restore them. restore replaces what the sequence held; on error the sequence is empty.
  [[nodiscard]] virtual Result<std::vector<std::byte>> save(SequenceId sequence) const = 0;
  [[nodiscard]] virtual Result<void> restore(SequenceId sequence,
                                             std::span<const std::byte> state) = 0;

  // The same with one half left out. save_sampler: restore makes an empty sequence of it that goes
  // on with this sampler. restore_tokens: the sequence keeps its own sampler.
  [[nodiscard]] virtual Result<std::vector<std::byte>> save_sampler(SequenceId sequence) const = 0;
  [[nodiscard]] virtual Result<void> restore_tokens(SequenceId sequence,
                                                    std::span<const std::byte> state) = 0;

  // Appends and samples. `sampled` has sampled_size(items) entries: for one item after the other
  // the tokens that were sampled, 1 + draft.size() at most, and then kNoToken; of an item with
  // `sample` false one kNoToken. The sequence then holds the append, and all but the last of the
  // sampled tokens. Each sequence may occur once. Either all items are done, or an error is
  // returned and no sequence has changed: invalid_argument, limit_exceeded (context or batch),
  // cancelled (request_abort), engine.
  [[nodiscard]] virtual Result<void> decode(std::span<const DecodeItem> items,
                                            std::span<Token> sampled) = 0;

  // From any thread: makes the decode call that is running return `cancelled` soon. Without
  // one running it does nothing.
  virtual void request_abort() noexcept = 0;
};

// A GGUF file of a low-rank adapter, as llama.cpp converts them, and how strongly it acts.
struct LoraAdapter {
  std::string path;
  float scale = 1.0F;
};

struct LlamaOptions {
  std::string model_path;
  std::int32_t context_tokens = 4096;  // per sequence
  std::int32_t max_sequences = 4;
  std::int32_t batch_tokens = 512;
  std::int32_t threads = 0;      // 0 = number of cores less one, which is left to the tools
  std::int32_t gpu_layers = -1;  // -1 = all that fit, where the library has a GPU backend
  // Act together. Saved sequences of an engine with others are not taken.
  std::vector<LoraAdapter> adapters = {};
  std::string chat_template = {};  // Jinja, instead of the file's own; empty: the file's
};

// libllama. Errors: not_found (no such file), unsupported (library version, model without what is
// needed), engine (libllama's own words are in the message), invalid_argument.
[[nodiscard]] Result<std::unique_ptr<Engine>> make_llama_engine(const LlamaOptions& options);

// Only the vocabulary of a GGUF file (which may have no tensors).
[[nodiscard]] Result<std::unique_ptr<Vocabulary>> load_vocabulary(const std::string& model_path);

}  // namespace asynclm
