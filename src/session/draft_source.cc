// SPDX-License-Identifier: Apache-2.0
#include "session/draft_source.h"

#include <algorithm>
#include <cstddef>

namespace asynclm {
namespace {

constexpr char kBetween = '\0';

// Bytes of `code` that are looked for at most: enough to tell occurrences apart.
constexpr std::size_t kMaxKey = 64;
constexpr std::size_t kMaxContinuation = 64;

// Bytes of UTF-8 beyond ASCII count as letters.
bool is_word_byte(char byte) {
  const auto c = static_cast<unsigned char>(byte);
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c >= 0x80;
}

}  // namespace

void DraftSource::add(std::string_view text) {
  if (text_.empty()) text_ += kBetween;
  text_ += text;
  text_ += kBetween;
}

std::string_view DraftSource::continuation(std::string_view code) const {
  const std::string_view text = text_;
  const std::size_t first = code.size() - std::min(code.size(), kMaxKey);
  for (std::size_t begin = std::max<std::size_t>(first, 1); begin < code.size(); ++begin) {
    // The value begins behind a quote, a bracket, '=' or a space; a word of it may be the key too.
    if (is_word_byte(code[begin - 1]) || !is_word_byte(code[begin])) continue;
    const std::string_view key = code.substr(begin);
    for (std::size_t at = text.rfind(key); at != std::string_view::npos && at > 0;
         at = text.rfind(key, at - 1)) {
      if (is_word_byte(text[at - 1])) continue;
      const std::string_view rest = text.substr(at + key.size(), kMaxContinuation);
      return rest.substr(0, rest.find(kBetween));
    }
  }
  return {};
}

}  // namespace asynclm
