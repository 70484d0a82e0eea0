// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_call_probe.h"

#include <algorithm>
#include <format>
#include <utility>

#include "dialect/template_cut.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;
using Kind = TemplatePiece::Kind;

constexpr std::string_view kValue = "Quzvala";
constexpr std::string_view kValue2 = "Quzvalb";
constexpr int kNumber = 40123;

std::string key(std::size_t index) { return std::string(kProbeKeys[index]); }

bool same_json(const Json& a, const Json& b) { return nlohmann::json(a) == nlohmann::json(b); }

// Behind the object that begins at `begin`; npos if it does not end.
std::size_t object_end(std::string_view text, std::size_t begin) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = begin; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      ++depth;
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return i + 1;
    }
  }
  return std::string_view::npos;
}

struct Found {
  std::size_t begin = 0;
  std::size_t end = 0;
  ArgumentsForm form = {};
};

// The spacing of an object with the probe's first two arguments.
void read_spacing(std::string_view text, ArgumentsForm& form) {
  const std::string first = "\"" + key(0) + "\"";
  const std::string value = std::format("\"{}\"", kValue);
  const std::string second = "\"" + key(1) + "\"";
  form.sorted = text.find(second) > text.find(first);  // given the other way round
  form.key_separator = between(text, first, value).value_or(": ");
  const auto item =
      form.sorted ? between(text, value, second) : between(text, std::to_string(kNumber), first);
  form.item_separator = item.value_or(", ");
}

std::optional<Found> find_object(std::string_view text, const Json& arguments) {
  const auto inside = text.find("\"" + key(0) + "\"");
  if (inside == std::string_view::npos) return std::nullopt;
  for (auto begin = text.rfind('{', inside); begin != std::string_view::npos;
       begin = begin == 0 ? std::string_view::npos : text.rfind('{', begin - 1)) {
    const auto end = object_end(text, begin);
    if (end == std::string_view::npos) continue;
    const Json object = Json::parse(text.substr(begin, end - begin), nullptr, false);
    if (object.is_discarded() || !same_json(object, arguments)) continue;
    Found found{begin, end, {}};
    read_spacing(text.substr(begin, end - begin), found.form);
    return found;
  }
  return std::nullopt;
}

// The object as a string within JSON.
std::optional<Found> find_object_text(std::string_view text, const Json& arguments) {
  const auto inside = text.find("\\\"" + key(0));
  if (inside == std::string_view::npos) return std::nullopt;
  const auto begin = text.rfind("\"{", inside);
  if (begin == std::string_view::npos) return std::nullopt;
  std::size_t end = begin + 1;
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  if (end >= text.size()) return std::nullopt;
  ++end;
  const Json string = Json::parse(text.substr(begin, end - begin), nullptr, false);
  if (!string.is_string()) return std::nullopt;
  const auto whole = string.get<std::string>();
  const Json object = Json::parse(whole, nullptr, false);
  if (object.is_discarded() || !same_json(object, arguments)) return std::nullopt;
  Found found{begin, end, {}};
  found.form.kind = ArgumentsForm::Kind::json_text;
  read_spacing(whole, found.form);
  return found;
}

// The probe's first call with other arguments.
class PairReader {
 public:
  PairReader(const CallTexts& texts, const ChatCall& call) : texts_(texts), call_(call) {}

  std::optional<ArgumentsForm> read() {
    const auto text = with({{key(0), kValue}});
    const auto number = with({{key(0), kNumber}});
    const auto two = with({{key(0), kValue}, {key(1), kValue2}});
    const auto none = with(Json::object());
    if (!text || !number || !two) return std::nullopt;
    const auto before = cut_before(*text);
    const auto mid_text = between(behind(*text, before.size()), key(0), kValue);
    const auto mid_number =
        between(behind(*number, cut_before(*number).size()), key(0), std::to_string(kNumber));
    const auto gap = between(*two, kValue, key(1));
    if (!mid_text || !mid_number || !gap) return std::nullopt;
    const std::string after_text = behind_of(*text, kValue);
    const std::string after_number = behind_of(*number, std::to_string(kNumber));

    ArgumentsForm form;
    form.kind = ArgumentsForm::Kind::pairs;
    const std::size_t shared = common_front(*mid_text, *mid_number);
    form.after_key = mid_text->substr(0, shared);
    form.string_open = behind(*mid_text, shared);
    form.other_open = behind(*mid_number, shared);
    const std::size_t tail = common_back(after_text, after_number);
    form.string_close = after_text.substr(0, after_text.size() - tail);
    form.other_close = after_number.substr(0, after_number.size() - tail);
    const std::string rest = behind(after_text, form.string_close.size());
    read_edges(before, rest, none.value_or(""), form);
    form.between = inner(*gap, form.string_close + form.after_value, form.before_key);
    const auto truth = with({{key(0), true}});
    if (truth && truth->contains("True")) form.values = ArgumentsForm::Values::python;
    const auto order = with({{key(1), kValue2}, {key(0), kValue}});
    form.sorted = order && order->find(key(0)) < order->find(key(1));
    return form;
  }

  // What a call without arguments has behind them.
  [[nodiscard]] const std::string& after() const { return after_; }

 private:
  std::optional<std::string> with(Json arguments) const {
    ChatCall call = call_;
    call.arguments = std::move(arguments);
    return texts_({call});
  }
  static std::string cut_before(const std::string& text) {
    return text.substr(0, text.find(key(0)));
  }
  static std::string behind_of(const std::string& text, std::string_view value) {
    const auto at = text.find(value, text.find(key(0)));
    return behind(text, at + value.size());
  }
  static std::string inner(std::string gap, std::string_view front, std::string_view back) {
    if (gap.starts_with(front)) gap.erase(0, front.size());
    if (gap.ends_with(back)) gap.resize(gap.size() - back.size());
    return gap;
  }

  // Which part of the text around an argument is its own: the rest is there without arguments too.
  void read_edges(const std::string& before, const std::string& rest, const std::string& none,
                  ArgumentsForm& form) {
    const std::size_t front = common_front(before, none);
    form.before_key = behind(before, front);
    after_ = behind(none, front);
    if (!rest.ends_with(after_)) after_ = behind(rest, rest.size() - common_back(rest, after_));
    form.after_value = rest.substr(0, rest.size() - after_.size());
  }

  const CallTexts& texts_;
  const ChatCall& call_;
  std::string after_;
};

std::optional<Found> find_pairs(const CallTexts& texts, const ChatCall& call,
                                std::string_view text) {
  PairReader reader(texts, call);
  auto form = reader.read();
  if (!form) return std::nullopt;
  const auto first = std::min(text.find(key(0)), text.find(key(1)));
  if (first == std::string_view::npos || first < form->before_key.size()) return std::nullopt;
  if (!text.ends_with(reader.after())) return std::nullopt;
  Found found{first - form->before_key.size(), text.size() - reader.after().size(),
              *std::move(form)};
  const std::string_view written = text.substr(found.begin, found.end - found.begin);
  if (written != written_arguments(found.form, call.arguments)) return std::nullopt;
  return found;
}

struct Hole {
  Kind kind;
  std::size_t begin;
  std::size_t end;
};

// Where the call's parts stand, in order. None if a part is missing.
std::optional<std::vector<Hole>> find_holes(const CallTexts& texts, const ChatCall& call,
                                            IdForm ids, std::string_view text, std::size_t from,
                                            ArgumentsForm& form) {
  const std::string_view rest = text.substr(from);
  auto found = find_object(rest, call.arguments);
  if (!found) found = find_object_text(rest, call.arguments);
  if (!found && from == 0) found = find_pairs(texts, call, rest);
  if (!found) return std::nullopt;
  form = found->form;
  std::vector<Hole> holes = {{Kind::arguments, from + found->begin, from + found->end}};
  const auto name = text.find(call.name, from);
  if (name == std::string_view::npos) return std::nullopt;
  holes.push_back({Kind::name, name, name + call.name.size()});
  const auto id = text.find(call.id, from);
  if (ids == IdForm::functions) {
    if (id == std::string_view::npos) return std::nullopt;
    holes.push_back({Kind::index, id + call.id.size() - 1, id + call.id.size()});
  } else if (id != std::string_view::npos) {
    holes.push_back({Kind::id, id, id + call.id.size()});
  }
  std::ranges::sort(holes, {}, &Hole::begin);
  return holes;
}

void append_literal(TemplatePieces& pieces, std::string_view text) {
  if (!text.empty()) pieces.push_back({Kind::literal, std::string(text)});
}

// The second call of a text of two, whose first part is known: where it begins.
std::optional<std::size_t> second_begin(const ChatCall& call, IdForm ids, std::string_view text,
                                        std::size_t from) {
  const auto name = text.find(call.name, from);
  const auto id = ids == IdForm::functions ? std::string_view::npos : text.find(call.id, from);
  const auto first_key = text.find(key(2), from);
  if (name == std::string_view::npos || first_key == std::string_view::npos) return std::nullopt;
  return std::min(name, id);
}

// Splits what stands behind a call into the section's end and the turn's.
void split_end(std::string_view rest, std::string_view text_turn_end, CallForm& form) {
  if (!text_turn_end.empty() && rest.ends_with(text_turn_end)) {
    form.section_close = rest.substr(0, rest.size() - text_turn_end.size());
    form.turn_end = text_turn_end;
    return;
  }
  // The turn of a call ends otherwise: with the last tag.
  const auto tag = rest.rfind('<');
  const std::size_t cut = tag == std::string_view::npos ? rest.size() : tag;
  form.section_close = rest.substr(0, cut);
  form.turn_end = rest.substr(cut);
}

}  // namespace

ChatCall probe_call(std::string_view name, IdForm ids, std::size_t index) {
  ChatCall call;
  call.name = name;
  call.id = ids == IdForm::functions ? std::format("functions.{}:{}", name, index)
                                     : std::format("quzcall{:02}", index);
  if (index == 0) {
    call.arguments = {{key(1), kNumber}, {key(0), kValue}};
  } else {
    call.arguments = {{key(2), "Quzvalc"}};
  }
  return call;
}

std::optional<CallForm> read_call_form(const CallTexts& texts, IdForm ids,
                                       std::string_view text_turn_end) {
  const ChatCall a = probe_call(kProbeName, ids, 0);
  const ChatCall b = probe_call(kProbeName2, ids, 1);
  const auto one = texts({a});
  if (!one) return std::nullopt;
  CallForm form;
  const auto holes = find_holes(texts, a, ids, *one, 0, form.arguments);
  if (!holes) return std::nullopt;
  form.source = CallForm::Source::printed;
  const std::string_view whole = *one;
  const std::string_view head = whole.substr(0, holes->front().begin);
  const std::string_view tail = whole.substr(holes->back().end);
  std::size_t open = head.size();
  std::size_t close = 0;
  std::vector<Hole> all = *holes;
  const auto count_at = [&](std::size_t at) {
    all.push_back({Kind::index, at, at + 1});
    form.first_index = static_cast<std::size_t>(whole[at] - '0');
  };

  const auto two = texts({a, b});
  const auto second = two && two->starts_with(whole.substr(0, holes->back().end))
                          ? second_begin(b, ids, *two, holes->back().end)
                          : std::nullopt;
  form.several = second.has_value();
  if (second) {
    const std::string_view join =
        std::string_view(*two).substr(holes->back().end, *second - holes->back().end);
    close = common_front(join, tail);
    std::string back(join.substr(close));
    if (const auto distance = counter_back(head, back)) {
      count_at(head.size() - *distance);
      back[back.size() - *distance] = head[head.size() - *distance];
    }
    open = common_back(back, head);
    form.between = back.substr(0, back.size() - open);
    // Between the name and the arguments.
    for (std::size_t i = 0; i + 1 < holes->size(); ++i) {
      const Hole& hole = (*holes)[i];
      if (hole.kind != Kind::name || (*holes)[i + 1].kind != Kind::arguments) continue;
      const auto name = two->find(b.name, *second);
      const std::size_t length = (*holes)[i + 1].begin - hole.end;
      const auto place = counter_front(whole.substr(hole.end, length),
                                       std::string_view(*two).substr(name + b.name.size(), length));
      if (place) count_at(hole.end + *place);
    }
    std::ranges::sort(all, {}, &Hole::begin);
  } else {
    CallForm ends;
    split_end(tail, text_turn_end, ends);
    close = ends.section_close.size();
  }
  form.section_open = head.substr(0, head.size() - open);
  std::size_t at = head.size() - open;
  for (const Hole& hole : all) {
    append_literal(form.call, whole.substr(at, hole.begin - at));
    form.call.push_back({hole.kind, {}});
    at = hole.end;
  }
  append_literal(form.call, tail.substr(0, close));
  split_end(tail.substr(close), text_turn_end, form);
  return form;
}

std::string written_call(const CallForm& form, const ChatCall& call, std::size_t index) {
  return filled(form.call, {.name = call.name,
                            .arguments = written_arguments(form.arguments, call.arguments),
                            .id = call.id,
                            .index = form.first_index + index});
}

std::string written_calls(const CallForm& form, const std::vector<ChatCall>& calls) {
  if (calls.empty()) return {};
  std::string out = form.section_open;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    out += (i == 0 ? "" : form.between) + written_call(form, calls[i], i);
  }
  return out + form.section_close;
}

}  // namespace asynclm
