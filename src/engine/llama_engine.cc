// SPDX-License-Identifier: Apache-2.0
// The engine on libllama. Whatever libllama answers with abort() is checked before it is called.
//
// KV cache: split, one part for each sequence, not unified. With two or more threads and flash
// attention, a unified cache gave logits off by 0.004 to 0.026 when a sequence was restored or
// batched with others; split, the difference is zero, and "same tokens whatever else runs" is a
// promise of this library. Split also means that a sequence cannot take another one's room, and
// that attention reads only its own cells. The price: memory holds context_tokens for every
// sequence.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <format>
#include <fstream>
#include <limits>
#include <memory>
#include <new>
#include <numeric>
#include <span>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include <llama.h>

#include <asynclm/engine.h>

#include "engine/abort_flag.h"
#include "engine/llama_library.h"
#include "engine/llama_vocabulary.h"
#include "engine/sampler.h"
#include "engine/saved_sequence.h"
#include "engine/sequence_table.h"

namespace asynclm {
namespace {

// Tokens of one llama_decode at most; libllama's own default. Larger decode calls are split.
constexpr std::int32_t kMaxLlamaBatch = 2048;
// Tokens computed at once; libllama's own default.
constexpr std::int32_t kMaxMicroBatch = 512;

struct FreeContext {
  void operator()(llama_context* context) const { llama_free(context); }
};

// The arrays of a llama_batch, allocated once.
class Batch {
 public:
  Batch(std::size_t capacity, std::size_t max_sequences)
      : tokens_(capacity),
        positions_(capacity),
        sequence_counts_(capacity, 1),
        sequence_ids_(capacity),
        outputs_(capacity),
        ids_(max_sequences) {
    std::iota(ids_.begin(), ids_.end(), 0);
  }

  [[nodiscard]] std::int32_t size() const { return size_; }
  [[nodiscard]] bool full() const { return static_cast<std::size_t>(size_) == tokens_.size(); }
  void clear() { size_ = 0; }
  void add(Token token, std::int32_t position, SequenceId sequence, bool output) {
    const auto at = static_cast<std::size_t>(size_++);
    tokens_[at] = token;
    positions_[at] = position;
    sequence_ids_[at] = &ids_[static_cast<std::size_t>(sequence)];
    outputs_[at] = output ? 1 : 0;
  }
  // Valid until the next change.
  [[nodiscard]] llama_batch view() {
    return {.n_tokens = size_,
            .token = tokens_.data(),
            .embd = nullptr,
            .pos = positions_.data(),
            .n_seq_id = sequence_counts_.data(),
            .seq_id = sequence_ids_.data(),
            .logits = outputs_.data()};
  }

 private:
  std::int32_t size_ = 0;
  std::vector<llama_token> tokens_;
  std::vector<llama_pos> positions_;
  std::vector<std::int32_t> sequence_counts_;
  std::vector<llama_seq_id*> sequence_ids_;
  std::vector<std::int8_t> outputs_;
  std::vector<llama_seq_id> ids_;  // 0, 1, 2, …: what sequence_ids_ points at
};

// Tells model files apart, also those of the same shape: pieces from all over the file.
Result<std::uint64_t> model_fingerprint(const std::string& path) {
  constexpr std::int64_t kPieces = 16;
  constexpr std::int64_t kPieceBytes = 65536;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::int64_t size = file.tellg();
  std::vector<char> piece(kPieceBytes);
  auto hash = static_cast<std::uint64_t>(size);
  for (std::int64_t i = 0; file && i < kPieces; ++i) {
    file.seekg(std::max<std::int64_t>(size - kPieceBytes, 0) * i / (kPieces - 1));
    file.read(piece.data(), std::min(kPieceBytes, size));
    const auto count = static_cast<std::size_t>(file.gcount());
    hash = fingerprint(std::as_bytes(std::span(piece).first(count)), hash);
  }
  if (!file) return fail(ErrorCode::io, std::format("model file {} cannot be read", path));
  return hash;
}

std::string describe(const llama_model& model) {
  std::array<char, 256> text{};
  std::string out;
  if (llama_model_meta_val_str(&model, "general.name", text.data(), text.size()) > 0) {
    out = text.data();
  }
  if (llama_model_desc(&model, text.data(), text.size()) > 0) {
    out += (out.empty() ? "" : ", ") + std::string(text.data());
  }
  return out;
}

Result<void> check_options(const LlamaOptions& options) {
  struct Field {
    const char* name;
    std::int64_t value, low, high;
  };
  constexpr std::int64_t kMany = std::numeric_limits<std::int32_t>::max();
  const auto sequences = static_cast<std::int64_t>(llama_max_parallel_sequences());
  for (const Field& field : {Field{"context_tokens", options.context_tokens, 1, kMany},
                             Field{"max_sequences", options.max_sequences, 1, sequences},
                             Field{"batch_tokens", options.batch_tokens, 1, kMany},
                             Field{"threads", options.threads, 0, GGML_MAX_N_THREADS},
                             Field{"gpu_layers", options.gpu_layers, -1, kMany}}) {
    if (field.value >= field.low && field.value <= field.high) continue;
    return fail(ErrorCode::invalid_argument,
                std::format("{} is {}, but must be between {} and {}", field.name, field.value,
                            field.low, field.high));
  }
  return {};
}

// Rolling back after an error needs a cache of single cells.
Result<void> check_model(const llama_model& model, const std::string& path) {
  const char* kind = nullptr;
  if (llama_model_has_encoder(&model) || !llama_model_has_decoder(&model)) kind = "an encoder";
  if (llama_model_is_recurrent(&model) || llama_model_is_hybrid(&model)) kind = "a recurrent";
  if (llama_model_is_diffusion(&model)) kind = "a diffusion";
  if (kind == nullptr) return {};
  return fail(ErrorCode::unsupported,
              std::format("{} is {} model; asynclm needs a decoder-only transformer", path, kind));
}

// Tokens of the item's draft that were sampled, up to the first that was not.
std::size_t accepted(const DecodeItem& item, std::span<const Token> sampled) {
  std::size_t count = 0;
  while (count < item.draft.size() && sampled[count] == item.draft[count]) ++count;
  return count;
}

class LlamaEngine final : public Engine {
 public:
  static Result<std::unique_ptr<Engine>> make(const LlamaOptions& options);

  [[nodiscard]] const EngineInfo& info() const override { return info_; }
  [[nodiscard]] const Vocabulary& vocabulary() const override { return *vocabulary_; }
  [[nodiscard]] Result<SequenceId> create(const SamplingParams& params) override;
  void drop(SequenceId sequence) override;
  [[nodiscard]] std::int32_t length(SequenceId sequence) const override {
    return table_.length(sequence);
  }
  [[nodiscard]] Result<void> truncate(SequenceId sequence, std::int32_t tokens) override;
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
  // A token that is sampled from the logits of the current batch, if the draft was right so far.
  struct Output {
    std::size_t item;
    std::size_t drafted;  // tokens of the item's draft before it
    std::int32_t batch_index;
  };

  LlamaEngine(std::shared_ptr<llama_model> model, std::unique_ptr<LlamaVocabulary> vocabulary,
              EngineInfo info);
  Result<void> open_context(const LlamaOptions& options);
  Result<void> load_adapters(const LlamaOptions& options);

  Result<void> run(std::span<const DecodeItem> items, std::span<Token> sampled);
  Result<void> run_batch(std::span<const DecodeItem> items, std::span<Token> sampled);
  Result<void> keep_accepted(const DecodeItem& item, std::span<const Token> sampled);
  Result<void> compute();
  Result<void> roll_back(std::span<const DecodeItem> items);
  void clear_cells(SequenceId sequence);
  Result<void> load_state(SequenceId sequence, std::span<const std::byte> payload,
                          std::int32_t tokens);
  [[nodiscard]] SavedOrigin origin() const {
    return {.library = info_.library, .model = info_.fingerprint};
  }

  std::shared_ptr<llama_model> model_;
  std::unique_ptr<LlamaVocabulary> vocabulary_;
  EngineInfo info_;
  AbortFlag abort_;
  std::unique_ptr<llama_context, FreeContext> context_;  // calls abort_: goes before it
  llama_memory_t memory_ = nullptr;                      // the context's
  SequenceTable table_;
  Sampler sampler_;

  // Used again by every decode call.
  Batch batch_{0, 0};
  std::vector<Output> outputs_;
  std::vector<std::size_t> order_;  // items by sequence id
  std::vector<std::size_t> first_;  // of each item: its first entry of `sampled`
  std::vector<Random> randoms_;     // the items' random states before the call
};

Result<std::unique_ptr<Engine>> LlamaEngine::make(const LlamaOptions& options) {
  // First, because check_options asks the library for its limits.
  const Result<std::string> library = start_llama_library();
  if (!library) return std::unexpected(library.error());
  if (Result<void> valid = check_options(options); !valid) return std::unexpected(valid.error());
  const std::string& path = options.model_path;
  const Result<std::shared_ptr<llama_model>> model =
      load_llama_model(path, false, options.gpu_layers);
  if (!model) return std::unexpected(model.error());
  if (Result<void> valid = check_model(**model, path); !valid) {
    return std::unexpected(valid.error());
  }
  Result<std::unique_ptr<LlamaVocabulary>> vocabulary =
      LlamaVocabulary::create(*model, path, options.chat_template);
  if (!vocabulary) {
    return fail(vocabulary.error().code, std::format("{}: {}", path, vocabulary.error().message));
  }
  const Result<std::uint64_t> fingerprint = model_fingerprint(path);
  if (!fingerprint) return std::unexpected(fingerprint.error());

  // Beyond the length that it was trained for, a model writes nonsense.
  const std::int32_t trained = llama_model_n_ctx_train(model->get());
  EngineInfo info{
      .model = describe(**model),
      .library = *library,
      .context_tokens =
          trained > 0 ? std::min(options.context_tokens, trained) : options.context_tokens,
      .max_sequences = options.max_sequences,
      .max_batch_tokens = options.batch_tokens,
      // Each needs room for a vocabulary of logits (0.5 MB at 128k tokens).
      .max_draft_tokens = static_cast<std::int32_t>(kMaxDraftTokens) * options.max_sequences,
      .fingerprint = *fingerprint,
  };
  std::unique_ptr<LlamaEngine> engine(
      new LlamaEngine(*model, std::move(*vocabulary), std::move(info)));
  Result<void> opened = engine->open_context(options);
  if (opened) opened = engine->load_adapters(options);
  if (!opened) return std::unexpected(opened.error());
  return engine;
}

LlamaEngine::LlamaEngine(std::shared_ptr<llama_model> model,
                         std::unique_ptr<LlamaVocabulary> vocabulary, EngineInfo info)
    : model_(std::move(model)),
      vocabulary_(std::move(vocabulary)),
      info_(std::move(info)),
      table_(info_, vocabulary_->size()),
      sampler_(vocabulary_->size()) {}

Result<void> LlamaEngine::open_context(const LlamaOptions& options) {
  const std::int64_t cells = std::int64_t{info_.context_tokens} * info_.max_sequences;
  if (cells > std::numeric_limits<std::int32_t>::max()) {
    return fail(ErrorCode::invalid_argument,
                std::format("context_tokens {} times max_sequences {} is too large",
                            info_.context_tokens, info_.max_sequences));
  }
  // One core is left to the tools: with all cores busy elsewhere, ggml's threads wait for each
  // other and decoding falls to a small part of its speed.
  const auto cores = static_cast<std::int32_t>(
      std::min<unsigned>(std::thread::hardware_concurrency(), GGML_MAX_N_THREADS));
  const std::int32_t threads = options.threads > 0 ? options.threads : std::max(1, cores - 1);
  const std::int32_t batch = std::min(info_.max_batch_tokens, kMaxLlamaBatch);
  llama_context_params params = llama_context_default_params();
  params.n_ctx = static_cast<std::uint32_t>(cells);
  params.n_seq_max = static_cast<std::uint32_t>(info_.max_sequences);
  params.n_batch = static_cast<std::uint32_t>(batch);
  params.n_ubatch = static_cast<std::uint32_t>(std::min(batch, kMaxMicroBatch));
  // One sampled token a sequence, and the drafts. The default reserves logits for a whole batch,
  // which are hundreds of megabytes with a vocabulary of 128k.
  const std::int32_t outputs = info_.max_sequences + info_.max_draft_tokens;
  params.n_outputs_max = static_cast<std::uint32_t>(outputs);
  params.n_threads = threads;
  params.n_threads_batch = threads;
  params.kv_unified = false;  // see the top of this file
  // On the CPU flash attention takes twice the time (the default model behind 600 tokens: 48 ms a
  // call with it, 32 without; behind 1,000: 132 and 56).
  params.flash_attn_type =
      llama_supports_gpu_offload() ? LLAMA_FLASH_ATTN_TYPE_AUTO : LLAMA_FLASH_ATTN_TYPE_DISABLED;
  params.no_perf = true;
  params.abort_callback = [](void* flag) { return static_cast<AbortFlag*>(flag)->requested(); };
  params.abort_callback_data = &abort_;

  const LlamaErrorLines errors;
  try {
    context_.reset(llama_init_from_model(model_.get(), params));
  } catch (const std::exception& error) {
    return fail(ErrorCode::engine, std::format("libllama cannot open the model: {}", error.what()));
  }
  if (!context_) {
    return fail(ErrorCode::engine,
                std::format("libllama cannot open a context of {} sequences with {} tokens each{}; "
                            "with fewer of them it needs less memory",
                            info_.max_sequences, info_.context_tokens, errors.text()));
  }
  memory_ = llama_get_memory(context_.get());
  // Everything that is checked later relies on these.
  if (memory_ == nullptr || llama_n_seq_max(context_.get()) < params.n_seq_max ||
      llama_n_ctx_seq(context_.get()) < static_cast<std::uint32_t>(info_.context_tokens)) {
    return fail(ErrorCode::engine, "libllama opened a smaller context than it was asked for");
  }
  const auto sequences = static_cast<std::size_t>(info_.max_sequences);
  batch_ = Batch(llama_n_batch(context_.get()), sequences);
  outputs_.reserve(static_cast<std::size_t>(outputs));
  order_.reserve(sequences);
  first_.reserve(sequences);
  randoms_.reserve(sequences);
  return {};
}

// The model frees them. What they change is another model: its fingerprint says so.
Result<void> LlamaEngine::load_adapters(const LlamaOptions& options) {
  std::vector<llama_adapter_lora*> adapters;
  std::vector<float> scales;
  for (const LoraAdapter& adapter : options.adapters) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(adapter.path, ignored)) {
      return fail(ErrorCode::not_found, std::format("adapter {} is no file", adapter.path));
    }
    if (!std::isfinite(adapter.scale)) {
      return fail(ErrorCode::invalid_argument,
                  std::format("adapter {}: the scale is no number", adapter.path));
    }
    const LlamaErrorLines errors;
    llama_adapter_lora* loaded = nullptr;
    std::string reason;
    try {
      loaded = llama_adapter_lora_init(model_.get(), adapter.path.c_str());
      reason = errors.text();
    } catch (const std::exception& error) {
      reason = std::string(": ") + error.what();
    }
    if (loaded == nullptr) {
      return fail(ErrorCode::invalid_argument,
                  std::format("adapter {} cannot be loaded: it is no adapter of this model{}",
                              adapter.path, reason));
    }
    const Result<std::uint64_t> hash = model_fingerprint(adapter.path);
    if (!hash) return std::unexpected(hash.error());
    const std::array<std::uint64_t, 2> parts = {*hash, std::bit_cast<std::uint32_t>(adapter.scale)};
    info_.fingerprint = fingerprint(std::as_bytes(std::span(parts)), info_.fingerprint);
    info_.model += std::format(", adapter {}:{}", adapter.path.substr(adapter.path.rfind('/') + 1),
                               adapter.scale);
    adapters.push_back(loaded);
    scales.push_back(adapter.scale);
  }
  if (adapters.empty()) return {};
  if (llama_set_adapters_lora(context_.get(), adapters.data(), adapters.size(), scales.data()) !=
      0) {
    return fail(ErrorCode::engine, "libllama does not take the adapters");
  }
  return {};
}

Result<SequenceId> LlamaEngine::create(const SamplingParams& params) {
  if (Result<void> valid = validate(params); !valid) return std::unexpected(valid.error());
  return table_.add(SamplerState(params));
}

void LlamaEngine::clear_cells(SequenceId sequence) {
  llama_memory_seq_rm(memory_, sequence, -1, -1);
}

void LlamaEngine::drop(SequenceId sequence) {
  if (!table_.contains(sequence)) return;
  clear_cells(sequence);
  table_.remove(sequence);
}

Result<void> LlamaEngine::truncate(SequenceId sequence, std::int32_t tokens) {
  if (Result<void> there = table_.check(sequence); !there) return there;
  if (tokens >= table_.length(sequence)) return {};
  tokens = std::max(tokens, 0);
  if (tokens > 0 && llama_memory_seq_rm(memory_, sequence, tokens, -1) &&
      llama_memory_seq_pos_max(memory_, sequence) == tokens - 1) {
    table_.set_length(sequence, tokens);
    return {};
  }
  clear_cells(sequence);
  table_.set_length(sequence, 0);
  return {};
}

// --- Decoding ---------------------------------------------------------------------------------

Result<void> LlamaEngine::decode(std::span<const DecodeItem> items, std::span<Token> sampled) {
  if (Result<void> valid = table_.check(items, sampled.size()); !valid) return valid;
  if (items.empty()) return {};
  randoms_.clear();
  for (const DecodeItem& item : items) randoms_.push_back(table_.sampler(item.sequence).random);

  abort_.begin();
  Result<void> done = run(items, sampled);
  for (std::size_t i = 0; done && i < items.size(); ++i) {
    done = keep_accepted(items[i], sampled.subspan(first_[i]));
  }
  if (!abort_.end() && (done || done.error().code != ErrorCode::cancelled)) {
    done = fail(ErrorCode::cancelled, "decode was to be aborted, but had come to its end");
  }
  if (!done) {
    if (Result<void> restored = roll_back(items); !restored) {
      done.error().message += "; " + restored.error().message;
    }
    return done;
  }
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::int32_t length = table_.length(items[i].sequence);
    const std::size_t added =
        items[i].append.size() + accepted(items[i], sampled.subspan(first_[i]));
    table_.set_length(items[i].sequence, length + static_cast<std::int32_t>(added));
  }
  return {};
}

// Takes the tokens of the draft that were not sampled out of the cache.
Result<void> LlamaEngine::keep_accepted(const DecodeItem& item, std::span<const Token> sampled) {
  const std::size_t kept = accepted(item, sampled);
  if (kept == item.draft.size()) return {};
  const auto length =
      table_.length(item.sequence) + static_cast<std::int32_t>(item.append.size() + kept);
  if (llama_memory_seq_rm(memory_, item.sequence, length, -1)) return {};
  return fail(ErrorCode::engine,
              std::format("sequence {}: libllama cannot remove a wrong draft", item.sequence));
}

Result<void> LlamaEngine::run(std::span<const DecodeItem> items, std::span<Token> sampled) {
  // libllama computes neighbouring sequences of a split cache together, if they come in order.
  order_.resize(items.size());
  std::iota(order_.begin(), order_.end(), std::size_t{0});
  std::ranges::sort(order_, {}, [&](std::size_t i) { return items[i].sequence; });

  std::ranges::fill(sampled, kNoToken);
  first_.clear();
  std::size_t next = 0;
  for (const DecodeItem& item : items) {
    first_.push_back(next);
    next += 1 + item.draft.size();
  }

  batch_.clear();
  outputs_.clear();
  for (const std::size_t i : order_) {
    const DecodeItem& item = items[i];
    std::int32_t position = table_.length(item.sequence);
    const std::size_t appended = item.append.size();
    for (std::size_t k = 0; k < appended + item.draft.size(); ++k) {
      if (batch_.full()) {
        if (Result<void> done = run_batch(items, sampled); !done) return done;
      }
      const bool output = item.sample && k + 1 >= appended;
      if (output) outputs_.push_back({i, k + 1 - appended, batch_.size()});
      batch_.add(k < appended ? item.append[k] : item.draft[k - appended], position++,
                 item.sequence, output);
    }
  }
  return run_batch(items, sampled);
}

Result<void> LlamaEngine::run_batch(std::span<const DecodeItem> items, std::span<Token> sampled) {
  if (Result<void> done = compute(); !done) return done;
  const auto vocabulary_size = static_cast<std::size_t>(vocabulary_->size());
  for (const Output& output : outputs_) {
    const DecodeItem& item = items[output.item];
    const std::span<Token> tokens = sampled.subspan(first_[output.item]);
    if (accepted(item, tokens) < output.drafted) continue;
    const float* const logits = llama_get_logits_ith(context_.get(), output.batch_index);
    if (logits == nullptr) {
      return fail(ErrorCode::engine, "libllama computed no logits for a sampled token");
    }
    const Result<Token> token =
        sampler_.sample(table_.sampler(item.sequence), {logits, vocabulary_size}, item.banned,
                        item.filter, output.drafted);
    if (!token) {
      return fail(token.error().code,
                  std::format("sequence {}: {}", item.sequence, token.error().message));
    }
    tokens[output.drafted] = *token;
  }
  batch_.clear();
  outputs_.clear();
  return {};
}

Result<void> LlamaEngine::compute() {
  // libllama asks the abort callback on the CPU only; on a GPU this is the place.
  if (abort_.requested()) return fail(ErrorCode::cancelled, "decode was aborted between batches");
  const LlamaErrorLines errors;
  try {
    switch (const std::int32_t code = llama_decode(context_.get(), batch_.view())) {
      case 0:
        return {};
      case 1:
        return fail(ErrorCode::engine, "libllama found no room in its KV cache");
      case 2:
        return fail(ErrorCode::cancelled, "decode was aborted within a batch");
      default:
        return fail(ErrorCode::engine,
                    std::format("llama_decode failed with {}{}", code, errors.text()));
    }
  } catch (const std::exception& error) {
    return fail(ErrorCode::engine, std::format("llama_decode failed: {}", error.what()));
  }
}

// After an error some parts of the call may be in the cache.
Result<void> LlamaEngine::roll_back(std::span<const DecodeItem> items) {
  Result<void> result;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const SequenceId id = items[i].sequence;
    const std::int32_t length = table_.length(id);
    table_.sampler(id).random = randoms_[i];
    if (llama_memory_seq_rm(memory_, id, length, -1) &&
        llama_memory_seq_pos_max(memory_, id) == length - 1) {
      continue;
    }
    clear_cells(id);
    table_.set_length(id, 0);
    result = fail(ErrorCode::engine,
                  std::format("sequence {} could not be rolled back and is now empty", id));
  }
  return result;
}

Result<std::vector<std::byte>> LlamaEngine::save(SequenceId sequence) const {
  if (Result<void> there = table_.check(sequence); !there) return std::unexpected(there.error());
  const std::int32_t tokens = table_.length(sequence);
  const std::size_t bytes = tokens == 0 ? 0 : llama_state_seq_get_size(context_.get(), sequence);
  std::vector<std::byte> saved = make_saved(origin(), tokens, table_.sampler(sequence), bytes);
  if (bytes > 0) {
    auto* const data = reinterpret_cast<std::uint8_t*>(saved_payload(saved, bytes).data());
    const LlamaErrorLines errors;
    if (llama_state_seq_get_data(context_.get(), data, bytes, sequence) != bytes) {
      return fail(ErrorCode::engine,
                  std::format("libllama cannot write out sequence {}{}", sequence, errors.text()));
    }
  }
  seal_saved(saved);
  return saved;
}

Result<std::vector<std::byte>> LlamaEngine::save_sampler(SequenceId sequence) const {
  if (Result<void> there = table_.check(sequence); !there) return std::unexpected(there.error());
  std::vector<std::byte> saved = make_saved(origin(), 0, table_.sampler(sequence), 0);
  seal_saved(saved);
  return saved;
}

Result<void> LlamaEngine::restore_tokens(SequenceId sequence, std::span<const std::byte> state) {
  if (Result<void> there = table_.check(sequence); !there) return there;
  const SamplerState own = table_.sampler(sequence);
  Result<void> restored = restore(sequence, state);
  table_.sampler(sequence) = own;
  return restored;
}

Result<void> LlamaEngine::restore(SequenceId sequence, std::span<const std::byte> state) {
  if (Result<void> there = table_.check(sequence); !there) return there;
  clear_cells(sequence);
  table_.set_length(sequence, 0);
  const Result<SavedSequence> saved = open_saved(state, origin());
  if (!saved) return std::unexpected(saved.error());
  if (saved->tokens > info_.context_tokens) {
    return fail(ErrorCode::limit_exceeded,
                std::format("the saved sequence has {} tokens, the engine's context {}",
                            saved->tokens, info_.context_tokens));
  }
  if (Result<void> loaded = load_state(sequence, saved->payload, saved->tokens); !loaded) {
    return loaded;
  }
  table_.set_length(sequence, saved->tokens);
  table_.sampler(sequence) = saved->sampler;
  return {};
}

// Into an empty sequence, which is empty again after an error.
Result<void> LlamaEngine::load_state(SequenceId sequence, std::span<const std::byte> payload,
                                     std::int32_t tokens) {
  if (tokens == 0 && payload.empty()) return {};
  const LlamaErrorLines errors;
  const auto* const data = reinterpret_cast<const std::uint8_t*>(payload.data());
  std::string reason;
  try {
    if (llama_state_seq_set_data(context_.get(), data, payload.size(), sequence) ==
            payload.size() &&
        llama_memory_seq_pos_max(memory_, sequence) == tokens - 1 &&
        (tokens == 0 || llama_memory_seq_pos_min(memory_, sequence) == 0)) {
      return {};
    }
    reason = errors.text();
  } catch (const std::exception& error) {
    reason = std::string(": ") + error.what();
  }
  clear_cells(sequence);
  return fail(ErrorCode::engine,
              "libllama cannot read the sequence's state; it fits only engines "
              "of the same max_sequences" +
                  reason);
}

}  // namespace

Result<std::unique_ptr<Engine>> make_llama_engine(const LlamaOptions& options) {
  return LlamaEngine::make(options);
}

}  // namespace asynclm
