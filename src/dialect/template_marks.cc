// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_marks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/utf8.h"
#include "dialect/jinja_text.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;

// Begin and end of a spelling, end of a content, and its beginning for each origin.
constexpr std::size_t kSpellingBegin = 0;
constexpr std::size_t kSpellingEnd = 1;
constexpr std::size_t kContentEnd = 2;
constexpr std::size_t kContentBegin = 3;
constexpr std::size_t kMarks = kContentBegin + static_cast<std::size_t>(Origin::tool_error) + 1;

// Supplementary private use area A: four bytes each, and no two blocks of 64 share three of them.
constexpr std::uint32_t kFirstMark = 0xF0000;
constexpr std::uint32_t kBlock = 64;
constexpr std::size_t kMarkBytes = 4;

std::string encoded(std::uint32_t code_point) {
  std::string out;
  append_utf8(code_point, out);
  return out;
}

void append_text(std::vector<Span>& out, std::string_view text, Origin origin) {
  if (text.empty()) return;
  if (auto* last = out.empty() ? nullptr : std::get_if<TextSpan>(&out.back());
      last != nullptr && last->origin == origin) {
    last->bytes += text;
    return;
  }
  out.emplace_back(TextSpan{std::string(text), origin});
}

}  // namespace

ControlSpellings::ControlSpellings(const Vocabulary& vocabulary) : by_first_byte_(256) {
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (!vocabulary.is_control(token)) continue;
    std::string spelling = vocabulary.spelling(token);
    if (spelling.empty()) continue;
    by_first_byte_[static_cast<unsigned char>(spelling.front())].emplace_back(std::move(spelling),
                                                                              token);
  }
  for (auto& spellings : by_first_byte_) {
    std::ranges::stable_sort(
        spellings, [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  }
}

std::pair<Token, std::size_t> ControlSpellings::at_front(std::string_view text) const {
  if (text.empty()) return {kNoToken, 0};
  for (const auto& [spelling, token] : by_first_byte_[static_cast<unsigned char>(text.front())]) {
    if (text.starts_with(spelling)) return {token, spelling.size()};
  }
  return {kNoToken, 0};
}

std::vector<ControlSpellings::Placed> ControlSpellings::all_in(std::string_view text) const {
  std::vector<Placed> out;
  for (std::size_t i = 0; i < text.size();) {
    const auto [token, size] = at_front(text.substr(i));
    if (size > 0) out.push_back({token, i, i + size});
    i += std::max<std::size_t>(size, 1);
  }
  return out;
}

Marks::Marks(const ControlSpellings& controls, std::string_view inputs) : controls_(controls) {
  for (first_ = kFirstMark; inputs.contains(encoded(first_).substr(0, 3)); first_ += kBlock) {
  }
}

std::string Marks::mark(std::size_t index) const {
  return encoded(first_ + static_cast<std::uint32_t>(index));
}

std::size_t Marks::mark_at_front(std::string_view text) const {
  if (text.size() < kMarkBytes || text.front() != '\xF3') return kMarks;
  for (std::size_t index = 0; index < kMarks; ++index) {
    if (text.starts_with(mark(index))) return index;
  }
  return kMarks;
}

std::string Marks::marked(std::string_view text, std::optional<Origin> origin) const {
  std::string_view core = strip_right(strip_left(text));
  if (core.empty()) return std::string(text);
  const auto begin = static_cast<std::size_t>(core.data() - text.data());
  std::string out(text.substr(0, begin));
  const std::string_view behind = text.substr(begin + core.size());
  if (origin) out += mark(kContentBegin + static_cast<std::size_t>(*origin));
  while (!core.empty()) {
    const std::size_t size = controls_.at_front(core).second;
    if (size == 0) {
      out += core.front();
      core.remove_prefix(1);
      continue;
    }
    out += mark(kSpellingBegin);
    out += core.substr(0, size);
    out += mark(kSpellingEnd);
    core.remove_prefix(size);
  }
  if (origin) out += mark(kContentEnd);
  out += behind;
  return out;
}

Json Marks::marked_json(const Json& value, std::optional<Origin> origin) const {
  if (value.is_string()) return marked(value.get_ref<const std::string&>(), origin);
  if (value.is_array()) {
    Json out = Json::array();
    for (const Json& element : value) out.push_back(marked_json(element, origin));
    return out;
  }
  if (!value.is_object()) return value;
  Json out = Json::object();
  for (const auto& [key, element] : value.items()) {
    out[marked(key, std::nullopt)] = marked_json(element, origin);
  }
  return out;
}

std::string Marks::unmarked(std::string_view rendered) const {
  std::string out;
  while (!rendered.empty()) {
    const auto next = std::min(rendered.find('\xF3'), rendered.size());
    out += rendered.substr(0, next);
    rendered.remove_prefix(next);
    if (rendered.empty()) break;
    const bool is_mark = mark_at_front(rendered) != kMarks;
    if (!is_mark) out += rendered.front();
    rendered.remove_prefix(is_mark ? kMarkBytes : 1);
  }
  return out;
}

std::size_t Marks::marked_spelling(std::string_view text) const {
  if (mark_at_front(text) != kSpellingBegin) return 0;
  const std::string_view inside = text.substr(kMarkBytes);
  const std::size_t size = controls_.at_front(inside).second;
  return mark_at_front(inside.substr(size)) == kSpellingEnd ? size : 0;
}

std::vector<Span> Marks::spans(std::string_view rendered) const {
  std::vector<Span> out;
  Origin origin = Origin::chat_template;
  while (!rendered.empty()) {
    const std::size_t text = marked_spelling(rendered);
    if (const std::size_t index = mark_at_front(rendered); index != kMarks) {
      if (index == kContentEnd) origin = Origin::chat_template;
      if (index >= kContentBegin) origin = static_cast<Origin>(index - kContentBegin);
      append_text(out, rendered.substr(kMarkBytes, text), origin);
      rendered.remove_prefix(kMarkBytes + text);
      continue;
    }
    const auto [token, size] = controls_.at_front(rendered);
    if (size > 0) {
      out.emplace_back(ControlSpan{token});
      // The template wrote it, whatever came before: a content whose end was cut off has ended.
      origin = Origin::chat_template;
    } else {
      append_text(out, rendered.substr(0, 1), origin);
    }
    rendered.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

}  // namespace asynclm
