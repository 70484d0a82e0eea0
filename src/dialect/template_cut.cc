// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_cut.h"

#include <algorithm>

namespace asynclm {
namespace {

bool continues_character(std::string_view text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

// The beginning of the tag that `at` lies within, or `at`. A tag: `<…>` without white space, or
// capital letters in brackets.
std::size_t tag_begin(std::string_view text, std::size_t at) {
  for (std::size_t i = at; i-- > 0;) {
    const char c = text[i];
    if (c == '>' || c == ']' || c == ' ' || c == '\n' || c == '"' || c == '{') return at;
    if (c != '<' && c != '[') continue;
    const auto close = text.find_first_of(c == '<' ? "> \n\"" : "] \n\"{", at);
    const bool closed = close != std::string_view::npos && text[close] == (c == '<' ? '>' : ']');
    const bool capitals =
        c == '<' || (closed && std::ranges::all_of(text.substr(i + 1, close - i - 1), [](char x) {
                       return (x >= 'A' && x <= 'Z') || x == '_' || x == '/';
                     }));
    return closed && capitals ? i : at;
  }
  return at;
}

// Behind the tag that `at` lies within, or `at`.
std::size_t tag_end(std::string_view text, std::size_t at) {
  const std::size_t begin = tag_begin(text, at);
  return begin == at ? at : text.find(text[begin] == '<' ? '>' : ']', at) + 1;
}

bool follows(char a, char b) { return a >= '0' && a < '9' && b == a + 1; }

}  // namespace

std::size_t common_front(std::string_view a, std::string_view b) {
  std::size_t size = 0;
  while (size < a.size() && size < b.size() && a[size] == b[size]) ++size;
  while (size > 0 && (continues_character(a, size) || continues_character(b, size))) --size;
  return std::min(tag_begin(a, size), tag_begin(b, size));
}

std::size_t common_back(std::string_view a, std::string_view b) {
  std::size_t size = 0;
  while (size < a.size() && size < b.size() && a[a.size() - 1 - size] == b[b.size() - 1 - size]) {
    ++size;
  }
  while (size > 0 && continues_character(a, a.size() - size)) --size;
  return std::min(a.size() - tag_end(a, a.size() - size), b.size() - tag_end(b, b.size() - size));
}

std::optional<std::size_t> counter_front(std::string_view first, std::string_view second) {
  std::size_t at = 0;
  while (at < first.size() && at < second.size() && first[at] == second[at]) ++at;
  if (at == first.size() || at == second.size() || !follows(first[at], second[at])) {
    return std::nullopt;
  }
  return first.substr(at + 1) == second.substr(at + 1) ? std::optional(at) : std::nullopt;
}

std::optional<std::size_t> counter_back(std::string_view first, std::string_view second) {
  std::size_t size = 0;
  while (size < first.size() && size < second.size() &&
         first[first.size() - 1 - size] == second[second.size() - 1 - size]) {
    ++size;
  }
  if (size == 0 || size >= first.size() || size >= second.size()) return std::nullopt;
  const bool counts = follows(first[first.size() - 1 - size], second[second.size() - 1 - size]);
  return counts ? std::optional(size + 1) : std::nullopt;
}

std::optional<std::string> between(std::string_view text, std::string_view before,
                                   std::string_view after) {
  const auto begin = text.find(before);
  if (begin == std::string_view::npos) return std::nullopt;
  const auto from = begin + before.size();
  const auto end = text.find(after, from);
  if (end == std::string_view::npos) return std::nullopt;
  return std::string(text.substr(from, end - from));
}

}  // namespace asynclm
