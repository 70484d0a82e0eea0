// SPDX-License-Identifier: Apache-2.0
#include "engine/llama_untrained_tokens.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <memory>

#include <ggml.h>
#include <gguf.h>

namespace asynclm {
namespace {

// Rows that training left alone differ by their noise only: between 0.99 and 1 in the files that
// were looked at, where trained ones stay below 0.9.
constexpr double kSameDirection = 0.98;

// A matrix of the file with a row for each token, read row by row.
class RowReader {
 public:
  RowReader(const std::string& path, const gguf_context* gguf, const ggml_context* tensors,
            const char* name)
      : file_(path, std::ios::binary) {
    const std::int64_t index = gguf_find_tensor(gguf, name);
    const ggml_tensor* tensor = ggml_get_tensor(const_cast<ggml_context*>(tensors), name);
    if (index < 0 || tensor == nullptr) return;
    traits_ = ggml_get_type_traits(tensor->type);
    if (tensor->type != GGML_TYPE_F32 && traits_->to_float == nullptr) return;
    type_ = tensor->type;
    columns_ = tensor->ne[0];
    rows_ = tensor->ne[1];
    row_bytes_ = ggml_row_size(tensor->type, columns_);
    offset_ = gguf_get_data_offset(gguf) + gguf_get_tensor_offset(gguf, index);
  }

  // Of length 1; empty where there is none.
  std::vector<float> row(Token token) {
    if (token < 0 || token >= rows_) return {};
    std::vector<char> bytes(row_bytes_);
    file_.seekg(
        static_cast<std::streamoff>(offset_ + static_cast<std::size_t>(token) * row_bytes_));
    if (!file_.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) {
      file_.clear();
      return {};
    }
    std::vector<float> out(static_cast<std::size_t>(columns_));
    if (type_ == GGML_TYPE_F32) {
      std::ranges::copy(bytes, reinterpret_cast<char*>(out.data()));
    } else {
      traits_->to_float(bytes.data(), out.data(), columns_);
    }
    double square = 0;
    for (const float x : out) square += static_cast<double>(x) * x;
    if (!(square > 0)) return out;  // a row of zeros is like any other one
    for (float& x : out) x = static_cast<float>(x / std::sqrt(square));
    return out;
  }

 private:
  std::ifstream file_;
  const ggml_type_traits* traits_ = nullptr;
  ggml_type type_ = GGML_TYPE_F32;
  std::int64_t columns_ = 0, rows_ = 0;
  std::size_t row_bytes_ = 0, offset_ = 0;
};

bool same_direction(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.empty() || a.size() != b.size()) return false;
  double product = 0;
  for (std::size_t i = 0; i < a.size(); ++i) product += static_cast<double>(a[i]) * b[i];
  return product > kSameDirection || std::ranges::equal(a, b);
}

}  // namespace

std::vector<Token> untrained_tokens(const std::string& model_path, std::span<const Token> tokens,
                                    std::span<const Token> others) {
  ggml_context* made = nullptr;
  const gguf_init_params params{.no_alloc = true, .ctx = &made};
  const std::unique_ptr<gguf_context, void (*)(gguf_context*)> gguf(
      gguf_init_from_file(model_path.c_str(), params), gguf_free);
  const std::unique_ptr<ggml_context, void (*)(ggml_context*)> tensors(made, ggml_free);
  if (!gguf || !tensors) return {};
  std::vector<Token> out;
  for (const char* name : {"token_embd.weight", "output.weight"}) {
    RowReader reader(model_path, gguf.get(), tensors.get(), name);
    std::vector<std::vector<float>> padding;
    for (const Token other : others) padding.push_back(reader.row(other));
    for (const Token token : tokens) {
      if (std::ranges::contains(out, token)) continue;
      const std::vector<float> row = reader.row(token);
      const bool untrained = std::ranges::any_of(
          padding, [&](const std::vector<float>& other) { return same_direction(row, other); });
      if (untrained) out.push_back(token);
    }
  }
  std::ranges::sort(out);
  return out;
}

}  // namespace asynclm
