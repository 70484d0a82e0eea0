// SPDX-License-Identifier: Apache-2.0
#include "engine/llama_vocabulary.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <format>
#include <utility>

#include <llama.h>

#include "engine/llama_library.h"
#include "engine/llama_untrained_tokens.h"

namespace asynclm {
namespace {

// llama_tokenize counts in int32; longer text is encoded in parts.
constexpr std::size_t kMaxEncodeBytes = std::size_t{1} << 28U;

// Bytes of the UTF-8 character that starts with `lead`; 1 for what starts none.
std::size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  if (byte >= 0xF0) return 4;
  if (byte >= 0xE0) return 3;
  if (byte >= 0xC0) return 2;
  return 1;
}

// "<tool_call>", "[TOOL_CALLS]": no white space, and no word of a text.
bool is_mark(std::string_view text) {
  if (text.size() < 3 || text.contains(' ') || text.contains('\n')) return false;
  return (text.front() == '<' && text.back() == '>') || (text.front() == '[' && text.back() == ']');
}

}  // namespace

Result<std::shared_ptr<llama_model>> load_llama_model(const std::string& path, bool vocabulary_only,
                                                      std::int32_t gpu_layers) {
  if (Result<std::string> library = start_llama_library(); !library) {
    return std::unexpected(library.error());
  }
  if (Result<void> file = check_model_file(path); !file) return std::unexpected(file.error());
  llama_model_params params = llama_model_default_params();
  params.vocab_only = vocabulary_only;
  params.n_gpu_layers = gpu_layers;
  const LlamaErrorLines errors;
  try {
    if (llama_model* model = llama_model_load_from_file(path.c_str(), params)) {
      return std::shared_ptr<llama_model>(model, llama_model_free);
    }
  } catch (const std::exception& error) {
    return fail(ErrorCode::engine, std::format("libllama cannot load {}: {}", path, error.what()));
  }
  return fail(ErrorCode::engine, std::format("libllama cannot load {}{}", path, errors.text()));
}

Result<std::unique_ptr<Vocabulary>> load_vocabulary(const std::string& model_path) {
  // A vocabulary needs no GPU.
  Result<std::shared_ptr<llama_model>> model = load_llama_model(model_path, true, 0);
  if (!model) return std::unexpected(model.error());
  Result<std::unique_ptr<LlamaVocabulary>> vocabulary = LlamaVocabulary::create(*model, model_path);
  if (!vocabulary) {
    vocabulary.error().message = std::format("{}: {}", model_path, vocabulary.error().message);
    return std::unexpected(vocabulary.error());
  }
  return std::move(*vocabulary);
}

Result<std::unique_ptr<LlamaVocabulary>> LlamaVocabulary::create(std::shared_ptr<llama_model> model,
                                                                 const std::string& path,
                                                                 std::string chat_template) {
  const llama_vocab* const vocab = llama_model_get_vocab(model.get());
  if (llama_vocab_type(vocab) == LLAMA_VOCAB_TYPE_NONE) {
    return fail(ErrorCode::unsupported, "the model has no vocabulary");
  }
  std::unique_ptr<LlamaVocabulary> self(new LlamaVocabulary(std::move(model)));
  bool ends = false;
  for (Token token = 0; token < self->size_; ++token) {
    ends = ends || llama_vocab_is_eog(vocab, token);
  }
  if (!ends) {
    return fail(ErrorCode::unsupported, "the vocabulary has no end-of-text token");
  }
  if (!chat_template.empty()) {
    self->chat_template_ = std::move(chat_template);
  } else if (const char* text = llama_model_chat_template(self->model_.get(), nullptr)) {
    self->chat_template_ = text;
  }
  self->find_controls();
  self->find_untrained(path);
  // A tokenizer without byte tokens throws at the first unknown character; better now than in
  // the middle of a session.
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    std::vector<Token> tokens;
    try {
      self->encode_into({&text, 1}, tokens);
    } catch (const std::exception& error) {
      return fail(ErrorCode::unsupported,
                  std::format("the vocabulary cannot encode byte 0x{:02X} ({}): it lacks byte "
                              "tokens",
                              byte, error.what()));
    }
  }
  return self;
}

// Some files declare a template's marks ("<tool_call>") as the user's own words, which libllama
// finds in any text. They are control tokens if the chat template has them.
void LlamaVocabulary::find_controls() {
  const std::string& words = chat_template_;
  is_control_.resize(static_cast<std::size_t>(size_));
  for (Token token = 0; token < size_; ++token) {
    bool control = llama_vocab_is_control(vocab_, token);
    if (!control && (llama_vocab_get_attr(vocab_, token) & LLAMA_TOKEN_ATTR_USER_DEFINED) != 0) {
      const std::string text = spelling(token);
      control = is_mark(text) && words.contains(text);
    }
    if (!control) continue;
    is_control_[static_cast<std::size_t>(token)] = true;
    controls_.emplace(spelling(token), token);
  }
}

void LlamaVocabulary::find_untrained(const std::string& path) {
  constexpr std::size_t kEnough = 64;  // rows of padding to compare with
  const std::string& words = chat_template_;
  std::vector<Token> named, others;
  for (Token token = size_ - 1; token >= 0; --token) {
    const bool unused = (llama_vocab_get_attr(vocab_, token) & LLAMA_TOKEN_ATTR_UNUSED) != 0;
    if (!unused && !is_control(token)) continue;
    if (!unused && words.contains(spelling(token))) {
      named.push_back(token);
    } else if (others.size() < kEnough) {
      others.push_back(token);
    }
  }
  if (!named.empty() && !others.empty()) untrained_ = untrained_tokens(path, named, others);
}

LlamaVocabulary::LlamaVocabulary(std::shared_ptr<llama_model> model)
    : model_(std::move(model)),
      vocab_(llama_model_get_vocab(model_.get())),
      size_(llama_vocab_n_tokens(vocab_)) {}

std::vector<Token> LlamaVocabulary::encode(std::string_view text) const {
  std::vector<Token> out;
  while (text.size() > kMaxEncodeBytes) {
    encode_into(text.substr(0, kMaxEncodeBytes), out);
    text.remove_prefix(kMaxEncodeBytes);
  }
  encode_into(text, out);
  return out;
}

void LlamaVocabulary::encode_into(std::string_view text, std::vector<Token>& out) const {
  if (text.empty()) return;
  const std::size_t start = out.size();
  const auto bytes = static_cast<std::int32_t>(text.size());
  out.resize(start + text.size() + 1);  // rarely more tokens than bytes
  const auto room = static_cast<std::int32_t>(text.size() + 1);
  std::int32_t count =
      llama_tokenize(vocab_, text.data(), bytes, out.data() + start, room, false, false);
  if (count < 0) {
    out.resize(start + static_cast<std::size_t>(-count));
    count = llama_tokenize(vocab_, text.data(), bytes, out.data() + start, -count, false, false);
  }
  out.resize(start + static_cast<std::size_t>(std::max(count, 0)));

  // With special-token parsing off, merges of plain pieces can still arrive at a control token's
  // text ("[END" + "]"). Such a spelling is data: encode it in two parts that do not merge.
  const auto forged = std::ranges::find_if(out.begin() + static_cast<std::ptrdiff_t>(start),
                                           out.end(), [&](Token t) { return is_control(t); });
  if (forged == out.end()) return;
  const std::vector<Token> tokens(out.begin() + static_cast<std::ptrdiff_t>(start), out.end());
  out.resize(start);
  for (const Token token : tokens) {
    if (!is_control(token)) {
      out.push_back(token);
      continue;
    }
    const std::string written = spelling(token);
    const std::size_t head = written.empty() ? 0 : utf8_length(written.front());
    // A control token of one character has no other spelling: its text is left out.
    if (head >= written.size()) continue;
    encode_into(std::string_view(written).substr(0, head), out);
    encode_into(std::string_view(written).substr(head), out);
  }
}

Token LlamaVocabulary::control(std::string_view spelling) const {
  const auto at = controls_.find(spelling);
  return at == controls_.end() ? kNoToken : at->second;
}

bool LlamaVocabulary::is_control(Token token) const {
  return contains(token) && is_control_[static_cast<std::size_t>(token)];
}

bool LlamaVocabulary::is_untrained(Token token) const {
  return std::ranges::binary_search(untrained_, token);
}

bool LlamaVocabulary::is_end_of_generation(Token token) const {
  return contains(token) && llama_vocab_is_eog(vocab_, token);
}

Token LlamaVocabulary::begin_of_text() const {
  if (!llama_vocab_get_add_bos(vocab_)) return kNoToken;
  const Token token = llama_vocab_bos(vocab_);
  return contains(token) ? token : kNoToken;
}

void LlamaVocabulary::append_piece(Token token, std::string& out) const {
  if (!is_control(token)) append_piece(token, false, out);
}

std::string LlamaVocabulary::spelling(Token token) const {
  std::string out;
  append_piece(token, true, out);
  return out;
}

void LlamaVocabulary::append_piece(Token token, bool with_control, std::string& out) const {
  if (!contains(token)) return;
  constexpr std::int32_t kUsual = 32;  // bytes; longer pieces take a second call
  const std::size_t start = out.size();
  out.resize(start + kUsual);
  std::int32_t length =
      llama_token_to_piece(vocab_, token, out.data() + start, kUsual, 0, with_control);
  if (length < 0) {
    out.resize(start + static_cast<std::size_t>(-length));
    length = llama_token_to_piece(vocab_, token, out.data() + start, -length, 0, with_control);
  }
  out.resize(start + static_cast<std::size_t>(std::max(length, 0)));
}

std::string LlamaVocabulary::chat_template() const { return chat_template_; }

}  // namespace asynclm
