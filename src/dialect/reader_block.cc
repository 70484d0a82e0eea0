// SPDX-License-Identifier: Apache-2.0
#include "dialect/reader_block.h"

#include <algorithm>
#include <utility>

#include "base/ascii.h"

namespace asynclm::dialect {
namespace {

constexpr std::size_t kMaxName = 512;  // bytes, with whatever is cut from it

bool ends_name(int c) {
  return c < 0 || c <= ' ' || std::string_view("(){}[]<>\"'`,;").contains(static_cast<char>(c));
}

// Members that a call may have where no mark says that it is one.
bool is_call_member(std::string_view name) {
  constexpr std::string_view kKnown[] = {"name", "tool_name", "arguments",   "parameters",
                                         "type", "id",        "tool_call_id"};
  return std::ranges::find(kKnown, name) != std::end(kKnown);
}

const JsonText* only_one(const JsonText& object, std::string_view a, std::string_view b,
                         bool& both) {
  const JsonText* first = object.find(a);
  const JsonText* second = object.find(b);
  both = both || (first != nullptr && second != nullptr);
  return first != nullptr ? first : second;
}

// The members as a call. Empty where they are none.
bool read_members(const JsonText& object, Candidate& out) {
  bool both = false;
  const JsonText* name = only_one(object, "name", "tool_name", both);
  const JsonText* arguments = only_one(object, "arguments", "parameters", both);
  const JsonText* inner = object.find("function");
  if (name == nullptr && inner != nullptr && inner->is(JsonText::Kind::object) &&
      inner->find("arguments") != nullptr) {
    return read_members(*inner, out);  // as in an answer of the chat completions API
  }
  if (both || name == nullptr || !name->is(JsonText::Kind::string)) return false;
  out.name = name->text;
  if (arguments != nullptr) out.arguments = *arguments;
  for (const JsonMember& member : object.members)
    out.is_data = out.is_data || !is_call_member(member.name);
  // Members beside the name that are not called arguments: they would be lost.
  return arguments != nullptr || !out.is_data;
}

}  // namespace

void BlockReader::tell(const Candidate& call) const {
  if (call.tool) named_(call.begin, *call.tool, call.form);
}

Task<std::string> BlockReader::name() {
  std::string out;
  for (int c = co_await in.next(); !ends_name(c) && out.size() <= kMaxName;
       c = co_await in.next()) {
    out += static_cast<char>(c);
    ++in.at;
  }
  co_return out;
}

Task<Got> BlockReader::object(Candidate& out, bool bare) {
  out.begin = in.at;
  out.form = CallForm::object;
  const ValueReader::Member member = [&](const std::string& name, const JsonText& value) {
    if (bare && !is_call_member(name)) return false;
    if (name != "name" && name != "tool_name") return true;
    out.tool = value.is(JsonText::Kind::string) ? tools_.find(value.text) : std::nullopt;
    tell(out);
    return out.tool.has_value() || !bare;
  };
  ValueReader values(in);
  JsonText object;
  const Got got = co_await values.object(object, 0, &member);
  out.end = in.at;
  if (got != Got::value) co_return got;
  const std::size_t begin = out.begin;
  const std::size_t end = out.end;
  if (!read_members(object, out)) {
    out.tool.reset();
    out.is_data = true;
    co_return bare ? Got::malformed : Got::value;
  }
  out.begin = begin;
  out.end = end;
  out.tool = tools_.find(out.name);
  if (bare && (out.is_data || !out.arguments)) co_return Got::malformed;
  co_return Got::value;
}

Task<Got> BlockReader::list(std::vector<Candidate>& out, bool bare) {
  ++in.at;
  for (bool first = true;; first = false) {
    in.at = co_await after_space(in.at);
    const int c = co_await in.next();
    if (c < 0) co_return Got::cut;
    if (c == ']') {
      ++in.at;
      co_return Got::value;
    }
    if (!first && co_await closes(in.at)) co_return Got::value;
    Candidate call;
    Got got = Got::malformed;
    if (c == '{') {
      got = co_await object(call, bare);
    } else if (ascii::is_name_start(c)) {
      got = co_await python(call, false);
    }
    if (got != Got::value) co_return got;
    if (bare && !call.tool) co_return Got::malformed;
    out.push_back(std::move(call));
    in.at = co_await after_space(in.at);
    const int next = co_await in.next();
    if (next == ',' || next == ';') ++in.at;
  }
}

Task<Got> BlockReader::python(Candidate& out, bool print) {
  out.begin = in.at;
  out.form = CallForm::python;
  out.name = co_await name();
  in.at = co_await after_blanks(in.at);
  const int c = co_await in.next();
  if (c != '(') co_return c < 0 ? Got::cut : Got::malformed;
  in.at = co_await after_space(in.at + 1);
  if (print && out.name == "print" && ascii::is_name_start(co_await in.next())) {
    const std::size_t begin = out.begin;
    Got got = co_await python(out, false);
    if (got != Got::value) co_return got;
    out.begin = begin;
    in.at = co_await after_space(in.at);
    if (co_await in.next() != ')') co_return Got::malformed;
    out.end = ++in.at;
    co_return Got::value;
  }
  out.tool = tools_.find(out.name);
  tell(out);
  ValueReader values(in);
  out.arguments.emplace();
  const Got got = co_await values.python_arguments(*out.arguments);
  out.end = in.at;
  co_return got;
}

Task<Got> BlockReader::code(std::vector<Candidate>& out) {
  for (;;) {
    in.at = co_await after_space(in.at);
    const int c = co_await in.next();
    const bool complete = !out.empty() && (c < 0 || co_await turn_ends(in.at));
    if (complete) co_return Got::value;  // the fence is not closed
    if (c < 0) co_return Got::cut;
    if (c == ';') {
      ++in.at;
    } else if (co_await looks_at(in.at, "```")) {
      in.at += 3;
      co_return Got::value;
    } else if (c == '#') {
      for (int b = c; b >= 0 && b != '\n'; b = co_await in.next()) ++in.at;
    } else {
      Candidate call;
      Got got = Got::malformed;
      if (ascii::is_name_start(c)) {
        got = co_await python(call, true);
      } else if (c == '[') {
        got = co_await list(out, false);
        if (got != Got::value) co_return got;
        continue;
      }
      if (got != Got::value) co_return got;
      out.push_back(std::move(call));
    }
  }
}

Task<Got> BlockReader::arguments(Candidate& out, ValueSyntax syntax) {
  ValueReader values(in, syntax);
  out.arguments.emplace();
  const Got got = co_await values.object(*out.arguments, 0, nullptr);
  out.end = in.at;
  co_return got;
}

// ``` and the word behind it.
Task<bool> BlockReader::skip_fence_mark() {
  if (!(co_await looks_at(in.at, "```"))) co_return false;
  in.at += 3;
  for (int c = co_await in.next(); ascii::is_name_start(c); c = co_await in.next()) ++in.at;
  in.at = co_await after_space(in.at);
  co_return true;
}

// A name and the tokens that part it from its arguments, at which `at` is then. `empty`: a closing
// mark stands where they would.
Task<Got> BlockReader::name_and_separator(NamePlace place, Candidate& out, bool& empty) {
  empty = false;
  out.begin = in.at;
  out.name = co_await name();
  if (out.name.empty()) co_return co_await in.next() < 0 ? Got::cut : Got::malformed;
  out.end = in.at;
  out.tool = tools_.find(out.name, place);
  in.at = co_await after_space(in.at);
  const Mark* next = co_await mark_at(in.at);
  if (next != nullptr && next->text == "[CALL_ID]") {
    in.at += next->text.size();
    (void)co_await name();
    next = co_await mark_at(in.at);
    if (next == nullptr || next->text != "[ARGS]") co_return Got::malformed;
  }
  if (next == nullptr || next->role != MarkRole::separator || next->text.starts_with("<arg"))
    co_return Got::value;
  in.at = co_await after_space(in.at + next->text.size());
  int c = co_await in.next();
  if (next->text == "<｜tool▁sep｜>" && c != '{' && c != '`') {
    out.name = co_await name();  // what stood before it was the call's type, "function"
    out.tool = tools_.find(out.name, place);
    in.at = co_await after_space(in.at);
    c = co_await in.next();
  }
  next = co_await mark_at(in.at);
  empty = next != nullptr && next->role == MarkRole::block_close;
  if (empty || c == '{' || c == '`') co_return Got::value;
  co_return c < 0 ? Got::cut : Got::malformed;
}

Task<Got> BlockReader::arguments_behind_name(Candidate& out, bool braces) {
  const bool fenced = co_await skip_fence_mark();
  const int c = co_await in.next();
  if (c != '{') co_return c < 0 ? Got::cut : Got::malformed;
  out.form = braces ? CallForm::braces : CallForm::named_object;
  tell(out);
  const Got got = co_await arguments(out, {.braces = braces});
  if (got != Got::value || !fenced) co_return got;
  in.at = co_await after_space(in.at);
  if (co_await looks_at(in.at, "```")) in.at += 3;
  out.end = in.at;
  co_return got;
}

Task<Got> BlockReader::named(const Mark* mark, NamePlace place, Candidate& out) {
  bool empty = false;
  const Got head = co_await name_and_separator(place, out, empty);
  if (head != Got::value) co_return head;
  const bool braces = mark != nullptr && mark->braces;
  const int c = co_await in.next();
  if (empty) {
    out.form = CallForm::named_object;
    tell(out);
    co_return Got::value;
  }
  if (c == '(') {
    out.form = CallForm::python;
    tell(out);
    ++in.at;
    ValueReader values(in, {.braces = braces});
    out.arguments.emplace();
    const Got got = co_await values.python_arguments(*out.arguments);
    out.end = in.at;
    co_return got;
  }
  if (c == '{' || c == '`') co_return co_await arguments_behind_name(out, braces);
  if (mark == nullptr || mark->role != MarkRole::block_open || mark->unclosed || braces)
    co_return c < 0 ? Got::cut : Got::malformed;
  co_return co_await pairs(out, {});
}

Task<bool> BlockReader::skip_between() {
  for (;;) {
    in.at = co_await after_space(in.at);
    const int c = co_await in.next();
    if (c == ',' || c == ';') {
      ++in.at;
    } else if (c != '`' || !(co_await skip_fence_mark())) {
      co_return c >= 0;
    }
  }
}

Task<Got> BlockReader::item(const Mark& open, std::vector<Candidate>& out) {
  const int c = co_await in.next();
  if (c == '[') co_return co_await list(out, false);
  Candidate call;
  Got got = Got::malformed;
  if (c == '{') {
    got = co_await object(call, false);
  } else if (co_await looks_at(in.at, "print(")) {
    got = co_await python(call, true);
  } else {
    got = co_await named(&open, open.braces ? NamePlace::gemma : NamePlace::plain, call);
  }
  if (got == Got::value) out.push_back(std::move(call));
  co_return got;
}

Task<Block> BlockReader::block(const Mark& open) {
  Block out;
  if (open.text.ends_with('[')) --in.at;  // functools[: the bracket is the list's
  bool empty_list = false;
  std::size_t end = in.at;
  for (;;) {
    if (!(co_await skip_between())) break;
    const Mark* mark = co_await mark_at(in.at);
    if (mark != nullptr) {
      const bool doubled = mark->role == MarkRole::block_open && out.calls.empty();
      if (mark->role == MarkRole::section || doubled) {
        in.at += mark->text.size();
        continue;
      }
      if (mark->role == MarkRole::call_open && out.calls.empty()) {
        out.state = Block::State::section;
        co_return out;
      }
      break;
    }
    const int c = co_await in.next();
    const std::size_t before = out.calls.size();
    const std::size_t begin = in.at;
    const Got got = co_await item(open, out.calls);
    if (got != Got::value) {
      // What was complete before stays, if something stands between it and what is not.
      const bool apart = before > 0 && begin > end;
      if (out.calls.empty() || (!apart && out.calls.size() == before)) {
        out.state = got == Got::cut ? Block::State::cut : Block::State::none;
        co_return out;
      }
      in.at = out.calls.back().end;
      out.state = Block::State::calls;
      co_return out;
    }
    empty_list = empty_list || (c == '[' && out.calls.size() == before);
    end = in.at;
    const bool more = co_await after_space(end) > end || co_await in.peek(end) == ',' ||
                      co_await in.peek(end) == ';' || co_await in.peek(end) == '[';
    if (!more) break;
    // Prose may follow on the next line: it is looked at as the next item only if it can be one.
    const int next = co_await in.peek(co_await after_space(end));
    const bool objects = out.calls.empty() || out.calls.back().form == CallForm::object;
    if (ascii::is_name_start(next) && objects) break;
  }
  if (out.calls.empty() && !empty_list) co_return out;
  in.at = end;
  if (co_await close(open)) out.state = Block::State::calls;
  co_return out;
}

// Behind the last item.
Task<bool> BlockReader::close(const Mark& open) {
  const std::size_t end = in.at;
  std::size_t offset = co_await after_space(end);
  if (co_await looks_at(offset, "```")) offset = co_await after_space(offset + 3);
  // A bracket too many is outside of the payload.
  std::size_t brackets = offset;
  for (int c = '}'; c == '}' || c == ']'; ++brackets) c = co_await in.peek(brackets);
  brackets = co_await after_space(brackets - 1);
  const Mark* mark = co_await mark_at(brackets);
  if (mark != nullptr && mark->role == MarkRole::block_close) {
    in.at = brackets + mark->text.size();
    co_return true;
  }
  in.at = end;
  co_return !(co_await goes_on(open.unclosed));
}

Task<bool> BlockReader::goes_on(bool text_may_follow) {
  const std::size_t offset = co_await after_blanks(in.at);
  const int c = co_await in.peek(offset);
  if (c < 0 || c == '\n' || c == '\r') co_return false;
  if (co_await mark_at(offset) != nullptr || co_await looks_at(offset, "```")) co_return false;
  if (c == '<' && co_await torn_close_at(offset)) co_return false;
  co_return !text_may_follow || std::string_view("\"'{}[]():,").contains(static_cast<char>(c));
}

Task<Got> BlockReader::call(const Mark& open, Candidate& out) {
  if (open.text.starts_with("<function") || open.text.ends_with("invoke "))
    co_return co_await tagged(open, out);
  const bool kimi = open.text == "<|tool_call_begin|>";
  in.at = co_await after_space(in.at);
  const Got got = co_await named(&open, kimi ? NamePlace::kimi : NamePlace::plain, out);
  if (got != Got::value) co_return got;
  const std::size_t offset = co_await after_space(in.at);
  const Mark* close = co_await mark_at(offset);
  if (close != nullptr && close->role == MarkRole::block_close) {
    in.at = offset + close->text.size();
    co_return got;
  }
  co_return co_await goes_on(false) ? Got::malformed : got;
}

}  // namespace asynclm::dialect
