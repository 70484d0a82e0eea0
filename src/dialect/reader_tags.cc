// SPDX-License-Identifier: Apache-2.0
// Calls in tags: <function=…> and <invoke name="…"> with a tag for each parameter, and GLM's pairs
// of key and value. Values are not escaped in these forms, so a tag in a value is told from one
// that ends it by what follows: a closing tag ends a value only if the next tag or the end comes
// behind it.
#include <algorithm>
#include <utility>

#include "base/ascii.h"
#include "dialect/reader_block.h"

namespace asynclm::dialect {
namespace {

constexpr std::string_view kNamespace = "]<]minimax[>[";
constexpr std::size_t kMaxTag = 512;  // bytes of a name with its attributes
constexpr int kMaxClosers = 8;        // closing tags that are looked at in one line

bool is_name_byte(int c) { return c > ' ' && c != '<' && c != '>' && c != '"' && c != '\''; }

// One line break at each end belongs to the tags.
std::string_view without_breaks(std::string_view text) {
  if (text.starts_with("\r\n")) {
    text.remove_prefix(2);
  } else if (text.starts_with('\n')) {
    text.remove_prefix(1);
  }
  if (text.ends_with('\n')) text.remove_suffix(text.ends_with("\r\n") ? 2 : 1);
  return text;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && ascii::is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && ascii::is_space(text.back())) text.remove_suffix(1);
  return text;
}

enum EndsValue : int { kData, kEnds, kTwoReadings };

}  // namespace

struct BlockReader::Tag {
  enum class Kind : std::uint8_t {
    none,
    parameter_open,
    parameter_close,
    call_close,
    block_close,
    other_open,  // of another call or block
    turn_end,
  };
  Kind kind = Kind::none;
  std::string name;
  bool marked_string = false;  // string="true"
  std::size_t begin = 0, end = 0;
};

bool BlockReader::at_line_start(std::size_t offset) const {
  while (offset > 0 && (in[offset - 1] == ' ' || in[offset - 1] == '\t')) --offset;
  return offset == 0 || in[offset - 1] == '\n';
}

// An unknown tool's parameters have any name.
bool BlockReader::declares(const Candidate& call, const std::string& parameter) const {
  return !call.tool || tools_.has_parameter(*call.tool, parameter);
}

void BlockReader::add(Candidate& call, const std::string& parameter, std::string_view text,
                      bool marked_string) const {
  auto value = call.tool ? tools_.typed(*call.tool, parameter, text, marked_string)
                         : json_string(std::string(text));
  if (!value) {
    call.unreadable = true;
    value.emplace();
  }
  call.arguments->members.push_back({parameter, std::move(*value)});
}

// name="value", or name=value without quotes.
Task<bool> BlockReader::attribute(std::string_view name, std::string& out, std::size_t& offset) {
  offset = co_await after_blanks(offset);
  if (!(co_await looks_at(offset, name))) co_return false;
  offset += name.size();
  const int quote = co_await in.peek(offset);
  const bool quoted = quote == '"' || quote == '\'';
  if (quoted) ++offset;
  out.clear();
  for (int c = co_await in.peek(offset); is_name_byte(c) && out.size() <= kMaxTag;
       c = co_await in.peek(offset)) {
    out += static_cast<char>(c);
    ++offset;
  }
  if (quoted && co_await in.peek(offset) != quote) co_return false;
  if (quoted) ++offset;
  co_return !out.empty();
}

void BlockReader::set_kind(const Mark& mark, Tag& tag) {
  using enum Tag::Kind;
  switch (mark.role) {
    case MarkRole::call_close:
      if (mark.text.contains("parameter")) tag.kind = parameter_close;
      if (mark.text.contains("function") || mark.text.contains("invoke")) tag.kind = call_close;
      break;
    case MarkRole::block_close:
      tag.kind = block_close;
      break;
    case MarkRole::section:
      tag.kind = mark.text.starts_with("</") ? block_close : other_open;
      break;
    case MarkRole::block_open:
    case MarkRole::call_open:
      tag.kind = other_open;
      break;
    case MarkRole::turn_end:
    case MarkRole::harmony_end:
    case MarkRole::result_open:
    case MarkRole::think_close:
      tag.kind = turn_end;
      break;
    default:
      break;
  }
}

// <parameter=name>, <parameter name="name" string="true">
Task<bool> BlockReader::parameter_tag(std::size_t offset, Tag& tag) {
  constexpr std::string_view kHeads[] = {"<parameter", "<｜DSML｜parameter"};
  std::size_t end = offset;
  for (const std::string_view head : kHeads) {
    if (co_await looks_at(offset, head)) end = offset + head.size();
  }
  if (end == offset) co_return false;
  const std::string_view key = co_await in.peek(end) == '=' ? "=" : "name=";
  if (!(co_await attribute(key, tag.name, end))) co_return false;
  std::string marked;
  if (co_await attribute("string=", marked, end)) tag.marked_string = marked == "true";
  end = co_await after_blanks(end);
  if (co_await in.peek(end) != '>') co_return false;
  tag.kind = Tag::Kind::parameter_open;
  tag.end = end + 1;
  co_return true;
}

// MiniMax M3, behind the namespace token: the parameter's name is the tag's.
Task<bool> BlockReader::tag_of_parameter(std::size_t offset, Tag& tag) {
  const bool closing = co_await in.peek(offset + 1) == '/';
  std::size_t end = offset + (closing ? 1 : 0);
  if (!(co_await attribute(closing ? "/" : "<", tag.name, end))) co_return false;
  if (co_await in.peek(end) != '>') co_return false;
  tag.kind = closing ? Tag::Kind::parameter_close : Tag::Kind::parameter_open;
  tag.end = end + 1;
  co_return true;
}

Task<BlockReader::Tag> BlockReader::tag_at(std::size_t offset) {
  Tag tag;
  tag.begin = offset;
  const bool spaced = co_await looks_at(offset, kNamespace);
  if (spaced) offset += kNamespace.size();
  if (const Mark* mark = co_await mark_at(offset)) {
    tag.end = offset + mark->text.size();
    set_kind(*mark, tag);
  } else if (co_await in.peek(offset) == '<' && !(co_await parameter_tag(offset, tag)) && spaced) {
    (void)co_await tag_of_parameter(offset, tag);
  }
  co_return tag;
}

// Behind "<function=" or "<invoke ".
Task<Got> BlockReader::tagged(const Mark& open, Candidate& out) {
  out.form = CallForm::parameter_tags;
  out.begin = in.at;
  std::size_t offset = in.at;
  const bool named = open.text.ends_with("invoke ") ? co_await attribute("name=", out.name, offset)
                                                    : co_await attribute("", out.name, offset);
  offset = co_await after_blanks(offset);
  const int c = co_await in.peek(offset);
  if (!named || c != '>') co_return c < 0 ? Got::cut : Got::malformed;
  in.at = co_await after_space(offset + 1);
  out.tool = tools_.find(out.name);
  if (co_await in.next() != '{') co_return co_await parameters(out);

  tell(out);
  const Got got = co_await arguments(out);
  if (got != Got::value) co_return got;
  const Tag close = co_await tag_at(co_await after_space(in.at));
  if (close.kind == Tag::Kind::call_close) in.at = close.end;
  if (close.kind != Tag::Kind::none) co_return got;
  co_return co_await goes_on(false) ? Got::malformed : got;
}

Task<Got> BlockReader::parameters(Candidate& out) {
  out.arguments = json_object();
  // The end must not cut off a parameter that was to come.
  bool told = false;
  for (;;) {
    in.at = co_await after_space(in.at);
    Tag tag = co_await tag_at(in.at);
    if (!told && tag.kind != Tag::Kind::none) tell(out);
    told = told || tag.kind != Tag::Kind::none;
    switch (tag.kind) {
      case Tag::Kind::parameter_open: {
        in.at = tag.end;
        Tag next;
        std::string text;
        const Got got = co_await parameter_value(out, text, next);
        if (got != Got::value) co_return got;
        const bool doubled_tag = next.kind == Tag::Kind::parameter_open && next.name == tag.name &&
                                 trimmed(text).empty();
        if (doubled_tag) break;
        // Nothing, and no tag that says that it is meant.
        if (next.kind != Tag::Kind::none && trimmed(text).empty()) co_return Got::malformed;
        if (out.arguments->find(tag.name) != nullptr) co_return Got::malformed;
        add(out, tag.name, without_breaks(text), tag.marked_string);
        break;
      }
      case Tag::Kind::parameter_close:  // once too often
        in.at = tag.end;
        break;
      case Tag::Kind::call_close:
        in.at = out.end = tag.end;
        co_return Got::value;
      case Tag::Kind::block_close:
      case Tag::Kind::other_open:
      case Tag::Kind::turn_end:
        out.end = in.at;
        co_return told && !out.arguments->members.empty() ? Got::value : Got::malformed;
      case Tag::Kind::none: {
        out.end = in.at;
        const bool ends = co_await turn_ends(in.at) && !out.arguments->members.empty();
        if (ends) co_return Got::value;
        co_return co_await in.next() < 0 ? Got::cut : Got::malformed;
      }
    }
  }
}

// Behind an opening tag, up to the closing one, which is skipped, or another tag that ends the
// value, which is not; `next` is the tag that then stands at `at`, if that is known.
Task<Got> BlockReader::parameter_value(const Candidate& call, std::string& out, Tag& next) {
  const std::size_t begin = in.at;
  int depth = 0;  // of parameters that are not declared, in the value
  for (std::size_t offset = begin;;) {
    const int c = co_await in.peek(offset);
    if (c < 0) co_return Got::cut;
    if (c != '<' && c != ']') {
      ++offset;
      continue;
    }
    Tag tag = co_await tag_at(offset);
    int ends = kData;
    const bool declared = tag.kind == Tag::Kind::parameter_open && declares(call, tag.name);
    if (declared) {
      ends = at_line_start(offset) ? kEnds : kData;
    } else if (tag.kind == Tag::Kind::parameter_open) {
      ++depth;
    } else if (tag.kind != Tag::Kind::none) {
      ends = co_await ends_value(call, tag, depth);
      if (ends == kData && tag.kind == Tag::Kind::parameter_close && depth > 0) --depth;
    }
    if (ends == kTwoReadings) co_return Got::malformed;
    if (ends == kEnds) {
      out = in.view(begin, offset);
      const bool closed = tag.kind == Tag::Kind::parameter_close;
      in.at = closed ? tag.end : offset;
      if (!closed) next = std::move(tag);
      co_return Got::value;
    }
    offset = tag.kind == Tag::Kind::none ? offset + 1 : tag.end;
  }
}

// Whether a tag in a value ends it.
Task<int> BlockReader::ends_value(const Candidate& call, const Tag& tag, int depth) {
  const std::size_t behind = co_await after_space(tag.end);
  const Tag next = co_await tag_at(behind);
  const bool end = co_await in.peek(behind) < 0;
  switch (tag.kind) {
    case Tag::Kind::parameter_close:
      if (next.kind == Tag::Kind::parameter_open) {
        if (declares(call, next.name)) co_return kEnds;
        if (depth > 0) co_return kData;
        co_return kTwoReadings;
      }
      if (next.kind == Tag::Kind::none)
        co_return end&& in.ending() == Ending::stopped ? kEnds : kData;
      if (next.kind == Tag::Kind::parameter_close && depth > 0) co_return kData;
      if (next.kind == Tag::Kind::call_close || next.kind == Tag::Kind::block_close)
        co_return co_await prose_behind_closers(tag.begin) ? kData : kEnds;
      co_return kEnds;
    case Tag::Kind::call_close:
      if (next.kind == Tag::Kind::none && !end) co_return kData;
      if (next.kind == Tag::Kind::parameter_open || next.kind == Tag::Kind::parameter_close)
        co_return kData;
      co_return co_await prose_behind_closers(tag.begin) ? kData : kEnds;
    case Tag::Kind::block_close: {
      const bool ends =
          end || next.kind == Tag::Kind::other_open || next.kind == Tag::Kind::turn_end;
      co_return ends ? kEnds : kData;
    }
    default:
      co_return kData;
  }
}

// Closing tags in the middle of a line, one behind the other, with prose behind them are quoted.
Task<bool> BlockReader::prose_behind_closers(std::size_t offset) {
  if (at_line_start(offset)) co_return false;
  for (int closers = 0; closers < kMaxClosers; ++closers) {
    const Tag tag = co_await tag_at(offset);
    if (tag.kind != Tag::Kind::parameter_close && tag.kind != Tag::Kind::call_close &&
        tag.kind != Tag::Kind::block_close) {
      const Mark* mark = co_await mark_at(offset);
      if (tag.kind != Tag::Kind::none || mark != nullptr) co_return false;
      break;
    }
    offset = co_await after_blanks(tag.end);
  }
  const int c = co_await in.peek(offset);
  co_return c >= 0 && !ascii::is_space(c);
}

// A key in front of its closing tag: `offset` is at the key or at the tag. Empty if none stands
// there.
Task<std::string> BlockReader::key_before(std::size_t offset, std::string_view close) {
  std::string key;
  int c = co_await in.peek(offset);
  for (; c >= 0 && c != '<' && c != '\n' && key.size() <= kMaxTag; c = co_await in.peek(offset)) {
    key += static_cast<char>(c);
    ++offset;
  }
  const bool closed = c == '<' && co_await looks_at(offset, close);
  co_return closed ? std::string(trimmed(key)) : std::string();
}

// Behind a name: pairs of <arg_key> and <arg_value>, of which tags may be missing. `key` is a key
// that ran together with the name.
Task<Got> BlockReader::pairs(Candidate& out, std::string key) {
  constexpr std::string_view kKey = "<arg_key>";
  constexpr std::string_view kKeyEnd = "</arg_key>";
  constexpr std::string_view kValue = "<arg_value>";
  constexpr std::string_view kValueEnd = "</arg_value>";
  out.form = CallForm::pair_tags;
  out.arguments = json_object();
  if (!out.tool && co_await looks_at(in.at, kKeyEnd)) {
    const auto glued = tools_.find_glued(out.name);
    if (!glued) co_return Got::malformed;
    out.tool = glued->tool;
    out.name = tools_[glued->tool].name;
    key = glued->parameter;
  }
  bool told = false;
  for (;;) {
    in.at = co_await after_space(in.at);
    out.end = in.at;
    if (key.empty()) {
      const int c = co_await in.next();
      if (co_await turn_ends(in.at) && out.tool) {
        if (!told) tell(out);
        co_return Got::value;
      }
      if (c < 0) co_return Got::cut;
      const Mark* mark = co_await mark_at(in.at);
      if (mark != nullptr && mark->role == MarkRole::block_close) {
        if (!told) tell(out);
        co_return Got::value;
      }
      const bool another = mark != nullptr && mark->role == MarkRole::block_open;
      if (another && out.tool && told) co_return Got::value;
      if (mark != nullptr && mark->text == kValueEnd) {
        in.at += kValueEnd.size();
        continue;
      }
      while (co_await looks_at(in.at, kKey)) in.at = co_await after_space(in.at + kKey.size());
      key = co_await key_before(in.at, kKeyEnd);
      if (key.empty()) key = co_await key_before(in.at, kValue);
      if (key.empty()) co_return co_await in.peek(in.at) < 0 ? Got::cut : Got::malformed;
      while (co_await in.next() != '<') ++in.at;
    }
    if (!told) tell(out);
    told = true;
    while (co_await looks_at(in.at, kKeyEnd)) in.at = co_await after_space(in.at + kKeyEnd.size());
    // The line break behind the opening tag is the value's, so spaces are not skipped twice.
    while (co_await looks_at(in.at, kValue)) {
      in.at += kValue.size();
      const std::size_t next = co_await after_space(in.at);
      if (!(co_await looks_at(next, kValue))) break;
      in.at = next;
    }
    std::string text;
    const Got got = co_await pair_value(out, text);
    if (got != Got::value) co_return got;
    if (out.arguments->find(key) != nullptr) co_return Got::malformed;
    add(out, key, without_breaks(text), false);
    key.clear();
  }
}

Task<Got> BlockReader::pair_value(const Candidate& call, std::string& out) {
  const std::size_t begin = in.at;
  for (std::size_t offset = begin;;) {
    const int c = co_await in.peek(offset);
    if (c < 0) co_return Got::cut;
    const Mark* mark = c == '<' ? co_await mark_at(offset) : nullptr;
    if (mark == nullptr) {
      ++offset;
      continue;
    }
    const int ends = co_await ends_pair_value(call, offset, *mark);
    if (ends == kTwoReadings) co_return Got::malformed;
    if (ends == kEnds) {
      out = in.view(begin, offset);
      in.at = mark->text == "</arg_value>" ? offset + mark->text.size() : offset;
      co_return Got::value;
    }
    offset += mark->text.size();
  }
}

Task<int> BlockReader::ends_pair_value(const Candidate& call, std::size_t offset,
                                       const Mark& mark) {
  const std::size_t end = offset + mark.text.size();
  const std::size_t behind = co_await after_space(end);
  const int c = co_await in.peek(behind);
  const Mark* next = co_await mark_at(behind);
  if (mark.text == "<arg_key>") {
    const std::string key = co_await key_before(behind, "</arg_key>");
    if (key.empty() || !declares(call, key)) co_return kData;
    co_return at_line_start(offset) ? kEnds : kTwoReadings;
  }
  const bool closes_block = mark.role == MarkRole::block_close;
  if (mark.text != "</arg_value>" && !closes_block) co_return kData;
  if (next == nullptr) {
    if (c < 0) co_return closes_block || in.ending() == Ending::stopped ? kEnds : kData;
    if (closes_block) co_return kData;
    const std::string key = co_await key_before(behind, "</arg_key>");
    co_return !key.empty() && declares(call, key) ? kEnds : kData;
  }
  const bool turn = next->role == MarkRole::turn_end || next->role == MarkRole::harmony_end ||
                    next->role == MarkRole::result_open || next->role == MarkRole::think_close;
  if (closes_block) co_return turn || next->role == MarkRole::block_open ? kEnds : kData;
  if (next->text == "<arg_key>" || next->text == "</arg_value>" || turn ||
      next->role == MarkRole::block_open)
    co_return kEnds;
  if (next->role != MarkRole::block_close) co_return kData;
  // In the middle of a line, with prose behind both, they are quoted.
  if (at_line_start(offset) || in.view(end, behind).contains('\n')) co_return kEnds;
  const int prose = co_await in.peek(co_await after_blanks(behind + next->text.size()));
  const bool marked =
      prose < 0 || ascii::is_space(prose) ||
      co_await mark_at(co_await after_blanks(behind + next->text.size())) != nullptr;
  co_return marked ? kEnds : kData;
}

}  // namespace asynclm::dialect
