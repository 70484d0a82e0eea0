// SPDX-License-Identifier: Apache-2.0
#include "bench/random_models.h"

#include <algorithm>
#include <format>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "bench/large_vocabulary.h"
#include "cml/markers.h"

namespace asynclm::bench {
namespace {

constexpr std::string_view kEndOfText = "<|end_of_text|>";

// The default model's (train/tokenizer.py).
constexpr std::string_view kChatTemplate =
    "{%- for message in messages -%}<|{{ message.role }}|>{{ message.content }}"
    "{%- if message.role == 'assistant' -%}<|end_of_text|>{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}";

// Byte-level vocabularies spell a byte as a printable character: itself where it is one in Latin-1,
// else the next free one from U+0100 on.
std::array<std::string, 256> byte_spellings() {
  std::array<std::string, 256> out;
  std::uint32_t next = 0x100;
  for (std::size_t byte = 0; byte < out.size(); ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    append_utf8(printable ? static_cast<std::uint32_t>(byte) : next++, out[byte]);
  }
  return out;
}

// A piece is made of the two that it is cut into, the first as long as possible, where both are
// pieces. Others are found only where the text is cut to exactly them, as libllama does for
// Llama 3.
std::vector<std::string> merges_of(const std::vector<std::string>& pieces,
                                   const std::array<std::string, 256>& spellings) {
  const std::unordered_set<std::string_view> known(pieces.begin(), pieces.end());
  const auto spell = [&](std::string_view bytes) {
    std::string out;
    for (const char c : bytes) out += spellings[static_cast<unsigned char>(c)];
    return out;
  };
  std::vector<std::string> out;
  for (const std::string_view piece : pieces) {
    for (std::size_t cut = piece.size() - 1; cut > 0; --cut) {
      if (!known.contains(piece.substr(0, cut)) || !known.contains(piece.substr(cut))) continue;
      out.push_back(spell(piece.substr(0, cut)) + " " + spell(piece.substr(cut)));
      break;
    }
  }
  return out;
}

Result<ModelTokens> make_tokens(const NamedShape& shape, const std::string& words) {
  const auto pieces = vocabulary_pieces(words, shape.plain_tokens);
  if (!pieces) {
    return fail(pieces.error().code,
                pieces.error().message + "; install one (Debian: wamerican) or name one (--words)");
  }
  if (pieces->size() < shape.plain_tokens) {
    return fail(ErrorCode::invalid_argument,
                std::format("the word list '{}' is too short: it gives {} tokens, and {} needs {}",
                            words, pieces->size(), shape.name, shape.plain_tokens));
  }
  const std::array<std::string, 256> spellings = byte_spellings();
  ModelTokens out{.kind = "gpt2", .pre = "llama-bpe", .texts = {}, .types = {}};
  for (const std::string& piece : *pieces) {
    std::string& text = out.texts.emplace_back();
    for (const char c : piece) text += spellings[static_cast<unsigned char>(c)];
  }
  for (const std::string_view marker : kMarkerSpellings) out.texts.emplace_back(marker);
  for (const std::string_view role : {"system", "user", "assistant"}) {
    out.texts.push_back(std::format("<|{}|>", role));
  }
  out.end = static_cast<std::uint32_t>(out.texts.size());
  out.texts.emplace_back(kEndOfText);
  for (std::size_t i = 0; out.texts.size() < shape.plain_tokens + shape.control_tokens; ++i) {
    out.texts.push_back(std::format("<|reserved_special_token_{}|>", i));
  }
  out.types.assign(shape.plain_tokens, TokenType::normal);
  out.types.resize(out.texts.size(), TokenType::control);
  out.merges = merges_of(*pieces, spellings);
  out.chat_template = kChatTemplate;
  return out;
}

}  // namespace

Result<RandomModel> random_model(std::string_view shape, WeightType weights,
                                 const std::string& words, std::uint64_t seed) {
  const auto* const named = std::ranges::find(kShapes, shape, &NamedShape::name);
  if (named == kShapes.end()) {
    std::string names;
    for (const NamedShape& known : kShapes) {
      names += std::format("{}{}", names.empty() ? "" : ", ", known.name);
    }
    return fail(ErrorCode::invalid_argument,
                std::format("no shape is named '{}'; there are {}", shape, names));
  }
  auto tokens = make_tokens(*named, words);
  if (!tokens) return std::unexpected(tokens.error());
  return RandomModel{.name = std::format("random weights, {}", shape),
                     .shape = named->shape,
                     .tokens = std::move(*tokens),
                     .weights = weights,
                     .seed = seed};
}

}  // namespace asynclm::bench
