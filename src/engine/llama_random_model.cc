// SPDX-License-Identifier: Apache-2.0
#include "engine/llama_random_model.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <format>
#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include <ggml.h>
#include <gguf.h>

#include "base/random.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

// Weights that are made, quantised and written at once.
constexpr std::int64_t kChunkWeights = std::int64_t{1} << 20U;

struct CloseGguf {
  void operator()(gguf_context* file) const { gguf_free(file); }
};
struct CloseGgml {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

ggml_type ggml_type_of(WeightType type) {
  switch (type) {
    case WeightType::f16:
      return GGML_TYPE_F16;
    case WeightType::q8_0:
      return GGML_TYPE_Q8_0;
    case WeightType::q4_0:
      return GGML_TYPE_Q4_0;
    case WeightType::f32:
      break;
  }
  return GGML_TYPE_F32;
}

// The matrix that gives the logits is kept finer, as llama-quantize does: much of a small model's
// time goes into it.
ggml_type output_type_of(WeightType type, std::int64_t columns) {
  if (type != WeightType::q4_0) return ggml_type_of(type);
  return columns % ggml_blck_size(GGML_TYPE_Q6_K) == 0 ? GGML_TYPE_Q6_K : GGML_TYPE_Q8_0;
}

// llama_ftype, by which libllama and people name the file.
std::uint32_t file_type_of(WeightType type) {
  switch (type) {
    case WeightType::f16:
      return 1;
    case WeightType::q8_0:
      return 7;
    case WeightType::q4_0:
      return 2;
    case WeightType::f32:
      break;
  }
  return 0;
}

Result<void> check(const RandomModel& model) {
  const ModelShape& s = model.shape;
  const auto wrong = [](std::string what) -> Result<void> {
    return fail(ErrorCode::invalid_argument, "this model cannot be: " + std::move(what));
  };
  if (model.tokens.texts.empty()) return wrong("it has no tokens");
  if (model.tokens.types.size() != model.tokens.texts.size()) {
    return wrong("it has not one type for each token");
  }
  for (const std::uint32_t size :
       {s.context, s.embedding, s.layers, s.heads, s.kv_heads, s.feed_forward}) {
    if (size == 0) return wrong("a size is zero");
  }
  if (s.embedding % s.heads != 0 || s.heads % s.kv_heads != 0) {
    return wrong(std::format("an embedding of {} is not {} heads, or these are not {} groups",
                             s.embedding, s.heads, s.kv_heads));
  }
  const auto block = static_cast<std::uint32_t>(ggml_blck_size(ggml_type_of(model.weights)));
  if (s.embedding % block != 0 || s.feed_forward % block != 0) {
    return wrong(std::format("rows of {} and {} weights are not blocks of {}", s.embedding,
                             s.feed_forward, block));
  }
  return {};
}

// The file's header and the plan of its tensors; their data is made while it is written.
class Layout {
 public:
  explicit Layout(const RandomModel& model) : model_(model) {
    // A layer has nine tensors, the rest three.
    const std::size_t count = (std::size_t{9} * model.shape.layers) + 3;
    ggml_.reset(ggml_init(
        {.mem_size = count * ggml_tensor_overhead(), .mem_buffer = nullptr, .no_alloc = true}));
    add_tokens();
    add_shape();
    if (model.tensors) add_tensors();
  }

  [[nodiscard]] std::vector<std::byte> header() const {
    std::vector<std::byte> bytes(gguf_get_meta_size(gguf_.get()));
    gguf_get_meta_data(gguf_.get(), bytes.data());
    return bytes;
  }
  [[nodiscard]] const std::vector<const ggml_tensor*>& tensors() const { return tensors_; }
  [[nodiscard]] std::size_t padded(std::size_t bytes) const {
    return GGML_PAD(bytes, gguf_get_alignment(gguf_.get()));
  }
  [[nodiscard]] std::uint64_t bytes() const {
    std::uint64_t sum = gguf_get_meta_size(gguf_.get());
    for (const ggml_tensor* tensor : tensors_) sum += padded(ggml_nbytes(tensor));
    return sum;
  }

 private:
  void add_tokens() {
    gguf_context* const g = gguf_.get();
    const ModelTokens& tokens = model_.tokens;
    const auto add_texts = [g](const char* key, const std::vector<std::string>& texts) {
      std::vector<const char*> pointers;
      pointers.reserve(texts.size());
      for (const std::string& text : texts) pointers.push_back(text.c_str());
      gguf_set_arr_str(g, key, pointers.data(), pointers.size());
    };
    gguf_set_val_str(g, "tokenizer.ggml.model", tokens.kind.c_str());
    if (!tokens.pre.empty()) gguf_set_val_str(g, "tokenizer.ggml.pre", tokens.pre.c_str());
    add_texts("tokenizer.ggml.tokens", tokens.texts);
    gguf_set_arr_data(g, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, tokens.types.data(),
                      tokens.types.size());
    if (!tokens.scores.empty()) {
      gguf_set_arr_data(g, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, tokens.scores.data(),
                        tokens.scores.size());
    }
    if (!tokens.merges.empty()) add_texts("tokenizer.ggml.merges", tokens.merges);
    if (tokens.unknown) gguf_set_val_u32(g, "tokenizer.ggml.unknown_token_id", *tokens.unknown);
    if (tokens.end) gguf_set_val_u32(g, "tokenizer.ggml.eos_token_id", *tokens.end);
    gguf_set_val_bool(g, "tokenizer.ggml.add_bos_token", false);
    gguf_set_val_bool(g, "tokenizer.ggml.add_space_prefix", false);
    if (!tokens.chat_template.empty()) {
      gguf_set_val_str(g, "tokenizer.chat_template", tokens.chat_template.c_str());
    }
    // As the trained models have them (train/tokenizer.py).
    gguf_set_val_u32(g, "asynclm.cml.version", 1);
    gguf_set_val_str(g, "asynclm.cml.language", "python");
  }

  void add_shape() {
    gguf_context* const g = gguf_.get();
    const ModelShape& shape = model_.shape;
    const auto key = [this](std::string_view name) {
      return std::format("{}.{}", model_.architecture, name);
    };
    gguf_set_val_str(g, "general.architecture", model_.architecture.c_str());
    gguf_set_val_str(g, "general.name", model_.name.c_str());
    gguf_set_val_u32(g, "general.file_type", file_type_of(model_.weights));
    gguf_set_val_u32(g, "general.quantization_version", GGML_QNT_VERSION);
    gguf_set_val_u32(g, key("context_length").c_str(), shape.context);
    gguf_set_val_u32(g, key("embedding_length").c_str(), shape.embedding);
    gguf_set_val_u32(g, key("block_count").c_str(), shape.layers);
    gguf_set_val_u32(g, key("feed_forward_length").c_str(), shape.feed_forward);
    gguf_set_val_u32(g, key("vocab_size").c_str(),
                     static_cast<std::uint32_t>(model_.tokens.texts.size()));
    gguf_set_val_u32(g, key("attention.head_count").c_str(), shape.heads);
    gguf_set_val_u32(g, key("attention.head_count_kv").c_str(), shape.kv_heads);
    gguf_set_val_f32(g, key("attention.layer_norm_rms_epsilon").c_str(), 1e-5F);
    gguf_set_val_u32(g, key("rope.dimension_count").c_str(), shape.embedding / shape.heads);
    gguf_set_val_f32(g, key("rope.freq_base").c_str(), shape.rope_base);
  }

  // A matrix of `rows` outputs from `columns` inputs.
  void add_matrix(const std::string& name, ggml_type type, std::int64_t columns,
                  std::int64_t rows) {
    add(name, ggml_new_tensor_2d(ggml_.get(), type, columns, rows));
  }
  void add_norm(const std::string& name) {
    add(name, ggml_new_tensor_1d(ggml_.get(), GGML_TYPE_F32, model_.shape.embedding));
  }
  void add(const std::string& name, ggml_tensor* tensor) {
    ggml_set_name(tensor, name.c_str());
    gguf_add_tensor(gguf_.get(), tensor);
    tensors_.push_back(tensor);
  }

  void add_tensors() {
    const ModelShape& shape = model_.shape;
    const std::int64_t embedding = shape.embedding;
    const std::int64_t kv = embedding / shape.heads * shape.kv_heads;
    const std::int64_t feed_forward = shape.feed_forward;
    const auto vocabulary = static_cast<std::int64_t>(model_.tokens.texts.size());
    const ggml_type type = ggml_type_of(model_.weights);
    const ggml_type output_type = output_type_of(model_.weights, embedding);
    add_matrix("token_embd.weight", shape.tied ? output_type : type, embedding, vocabulary);
    add_norm("output_norm.weight");
    if (!shape.tied) add_matrix("output.weight", output_type, embedding, vocabulary);
    for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
      const std::string block = std::format("blk.{}.", layer);
      add_norm(block + "attn_norm.weight");
      add_matrix(block + "attn_q.weight", type, embedding, embedding);
      add_matrix(block + "attn_k.weight", type, embedding, kv);
      add_matrix(block + "attn_v.weight", type, embedding, kv);
      add_matrix(block + "attn_output.weight", type, embedding, embedding);
      add_norm(block + "ffn_norm.weight");
      add_matrix(block + "ffn_gate.weight", type, embedding, feed_forward);
      add_matrix(block + "ffn_up.weight", type, embedding, feed_forward);
      add_matrix(block + "ffn_down.weight", type, feed_forward, embedding);
    }
  }

  const RandomModel& model_;
  std::unique_ptr<ggml_context, CloseGgml> ggml_;
  std::unique_ptr<gguf_context, CloseGguf> gguf_{gguf_init_empty()};
  std::vector<const ggml_tensor*> tensors_;
};

// A full disk is better known before some minutes of writing.
Result<void> check_room(const fs::path& path, std::uint64_t bytes) {
  std::error_code unknown;
  const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const fs::space_info space = fs::space(folder, unknown);
  if (unknown || space.available >= bytes) return {};
  return fail(ErrorCode::io,
              std::format("{} needs {:.1f} MB, and {} has {:.1f} MB free", path.string(),
                          static_cast<double>(bytes) / 1e6, folder.string(),
                          static_cast<double>(space.available) / 1e6));
}

class ModelFile {
 public:
  explicit ModelFile(std::string path) : path_(std::move(path)) {}
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;
  ~ModelFile() {
    if (file_ == nullptr) return;
    file_.reset();
    std::error_code ignored;
    fs::remove(partial(), ignored);
  }

  Result<void> open() {
    file_.reset(std::fopen(partial().c_str(), "wb"));
    return file_ == nullptr ? failed() : Result<void>();
  }
  Result<void> write(std::span<const std::byte> bytes) {
    written_ += bytes.size();
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) return failed();
    return {};
  }
  Result<void> close() {
    if (std::fflush(file_.get()) != 0) return failed();
    if (std::rename(partial().c_str(), path_.c_str()) != 0) return failed();
    file_.reset();
    return {};
  }
  [[nodiscard]] std::uint64_t written() const { return written_; }

 private:
  [[nodiscard]] std::string partial() const { return path_ + ".partial"; }
  [[nodiscard]] Result<void> failed() const {
    return fail(ErrorCode::io, std::format("{} cannot be written: {}", path_,
                                           std::generic_category().message(errno)));
  }

  std::string path_;
  std::unique_ptr<std::FILE, CloseFile> file_;
  std::uint64_t written_ = 0;
};

Result<void> write_tensor(const ggml_tensor& tensor, Random& random, ModelFile& file,
                          std::vector<float>& values, std::vector<std::byte>& bytes) {
  const std::int64_t columns = tensor.ne[0];
  const std::int64_t rows = ggml_nrows(&tensor);
  const bool norm = ggml_n_dims(&tensor) == 1;
  // Larger than a trained model's, so that the logits of different contexts differ clearly.
  const float scale = 3.0F / std::sqrt(static_cast<float>(columns));
  const std::int64_t most = std::max<std::int64_t>(1, kChunkWeights / columns);
  for (std::int64_t row = 0; row < rows; row += most) {
    const std::int64_t count = std::min(most, rows - row);
    values.resize(static_cast<std::size_t>(count * columns));
    for (float& value : values) {
      value = norm ? 1.0F : scale * (2.0F * static_cast<float>(random.uniform()) - 1.0F);
    }
    bytes.resize(ggml_row_size(tensor.type, columns) * static_cast<std::size_t>(count));
    ggml_quantize_chunk(tensor.type, values.data(), bytes.data(), 0, count, columns, nullptr);
    if (Result<void> ok = file.write(bytes); !ok) return ok;
  }
  return {};
}

}  // namespace

Result<void> write_random_model(const RandomModel& model, const std::string& path,
                                const std::function<void(double)>& progress) {
  if (Result<void> valid = check(model); !valid) return valid;
  std::error_code unknown;
  if (fs::is_directory(path, unknown)) {
    return fail(ErrorCode::io, path + " is a folder; name a file in it");
  }
  const Layout layout(model);
  if (Result<void> room = check_room(path, layout.bytes()); !room) return room;
  ModelFile file(path);
  if (Result<void> ok = file.open(); !ok) return ok;
  if (Result<void> ok = file.write(layout.header()); !ok) return ok;
  const auto total = static_cast<double>(layout.bytes());
  Random random(model.seed);
  std::vector<float> values;
  std::vector<std::byte> bytes;
  for (const ggml_tensor* tensor : layout.tensors()) {
    if (Result<void> ok = write_tensor(*tensor, random, file, values, bytes); !ok) return ok;
    const std::size_t size = ggml_nbytes(tensor);
    bytes.assign(layout.padded(size) - size, std::byte{0});
    if (Result<void> ok = file.write(bytes); !ok) return ok;
    if (progress) progress(static_cast<double>(file.written()) / total);
  }
  return file.close();
}

}  // namespace asynclm
