// SPDX-License-Identifier: Apache-2.0
// The vocabulary of a model that libllama has loaded.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <asynclm/engine.h>

struct llama_model;
struct llama_vocab;

namespace asynclm {

// Keeps the model alive. Every method is safe for any token value, in range or not, and for any
// text; byte-pair vocabularies encode bytes that are no UTF-8 as U+FFFD.
class LlamaVocabulary final : public Vocabulary {
 public:
  // unsupported: no end-of-generation token, or text that it cannot encode.
  // `path`: the model's file, for is_untrained(). `chat_template`: instead of its own; empty: that.
  [[nodiscard]] static Result<std::unique_ptr<LlamaVocabulary>> create(
      std::shared_ptr<llama_model> model, const std::string& path, std::string chat_template = {});

  [[nodiscard]] Token size() const override { return size_; }
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const override;
  [[nodiscard]] Token control(std::string_view spelling) const override;
  [[nodiscard]] bool is_control(Token token) const override;
  [[nodiscard]] bool is_untrained(Token token) const override;
  [[nodiscard]] bool is_end_of_generation(Token token) const override;
  [[nodiscard]] Token begin_of_text() const override;
  void append_piece(Token token, std::string& out) const override;
  [[nodiscard]] std::string spelling(Token token) const override;
  [[nodiscard]] std::string chat_template() const override;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>{}(text);
    }
  };

  explicit LlamaVocabulary(std::shared_ptr<llama_model> model);
  [[nodiscard]] bool contains(Token token) const { return token >= 0 && token < size_; }
  void find_controls();
  void find_untrained(const std::string& path);
  void append_piece(Token token, bool with_control, std::string& out) const;
  void encode_into(std::string_view text, std::vector<Token>& out) const;

  std::shared_ptr<llama_model> model_;
  const llama_vocab* vocab_;  // the model's
  Token size_;
  std::unordered_map<std::string, Token, Hash, std::equal_to<>> controls_;
  std::string chat_template_;
  std::vector<bool> is_control_;  // of each token
  std::vector<Token> untrained_;  // ascending
};

// As std::shared_ptr, freed with llama_model_free.
[[nodiscard]] Result<std::shared_ptr<llama_model>> load_llama_model(const std::string& path,
                                                                    bool vocabulary_only,
                                                                    std::int32_t gpu_layers);

}  // namespace asynclm
