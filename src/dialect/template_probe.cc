// SPDX-License-Identifier: Apache-2.0
#include "dialect/template_probe.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <format>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "dialect/jinja_text.h"
#include "dialect/template_call_probe.h"
#include "dialect/template_cut.h"
#include "dialect/template_normalise.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;
using Kind = TemplatePiece::Kind;
using Messages = std::vector<ChatMessage>;

// Words that no template holds.
constexpr std::string_view kUser = "Quzuser";
constexpr std::string_view kUser2 = "Quzagain";
constexpr std::string_view kSystem = "Quzsystem";
constexpr std::string_view kSystem2 = "Quzlater";
constexpr std::string_view kText = "Quztext";
constexpr std::string_view kReasoning = "Quzreason";
constexpr std::string_view kResult = "Quzresult";
constexpr std::string_view kResult2 = "Quzsecond";

ChatMessage said(ChatRole role, std::string_view content) {
  return {.role = role, .content = std::string(content)};
}
ChatMessage user(std::string_view content = kUser) { return said(ChatRole::user, content); }
ChatMessage assistant(std::string_view content) { return said(ChatRole::assistant, content); }
ChatMessage calling(std::vector<ChatCall> calls, std::string_view content = "") {
  return {.role = ChatRole::assistant, .content = std::string(content), .calls = std::move(calls)};
}
ChatMessage result(const ChatCall& call, std::string_view content) {
  return {.role = ChatRole::tool,
          .content = std::string(content),
          .call_id = call.id,
          .name = call.name};
}

// Three: what one tool's name alone shows may be a mark.
Json probe_tools() {
  Json tools = Json::array();
  for (const std::string_view name : {kProbeName, kProbeName2, kProbeName3}) {
    Json properties = Json::object();
    for (const std::string_view key : kProbeKeys) {
      properties[std::string(key)] = {{"type", "string"}, {"description", "a value"}};
    }
    tools.push_back({{"type", "function"},
                     {"function",
                      {{"name", name},
                       {"description", "a probe"},
                       {"parameters",
                        {{"type", "object"},
                         {"properties", properties},
                         {"required", Json::array({kProbeKeys[0]})}}}}}});
  }
  return tools;
}

class Prober {
 public:
  Prober(const ChatTemplate& chat, std::chrono::sys_seconds now) : chat_(chat), now_(now) {}

  Result<TemplateDialect> probe() {
    auto base = rendered({user()});
    if (!base) {
      // A template for requests with tools alone.
      needs_tools_ = true;
      if (const auto with_tools = rendered({user()})) {
        base = with_tools;
      } else {
        return std::unexpected(base.error());
      }
    }
    base_ = *base;
    probe_turns();
    probe_roles();
    probe_tools_place();
    probe_reasoning();
    probe_calls();
    if (!printed()) use_other_form();
    if (printed()) check_calls();
    probe_results();
    if (printed()) {
      probe_ids();
      probe_counting();
    }
    probe_history();
    d_.family = family();
    d_.example = example();
    return std::move(d_);
  }

 private:
  struct How {
    bool prompt = false;
    bool tools = false;
    Json variables = {};
  };
  Result<std::string> rendered(const Messages& messages, const How& how) const {
    RenderOptions options;
    options.generation_prompt = how.prompt;
    if (how.tools || needs_tools_) options.tools = probe_tools();
    options.variables = how.variables;
    options.now = now_;
    options.form = d_.form;
    return chat_.render(messages, options);
  }
  Result<std::string> rendered(const Messages& messages) const { return rendered(messages, {}); }
  std::optional<std::string> maybe(const Messages& messages, const How& how) const {
    auto out = rendered(messages, how);
    return out ? std::optional(*std::move(out)) : std::nullopt;
  }
  std::optional<std::string> maybe(const Messages& messages) const { return maybe(messages, {}); }

  [[nodiscard]] bool printed() const { return d_.call.source == CallForm::Source::printed; }

  // What the template writes behind these messages to open the assistant's turn.
  std::string prompt_after(const Messages& messages, const How& how) const {
    How with = how;
    with.prompt = true;
    const auto plain = maybe(messages, how);
    const auto prompted = maybe(messages, with);
    if (!plain || !prompted) return {};
    return prompted->starts_with(*plain) ? behind(*prompted, plain->size())
                                         : behind(*prompted, common_front(*plain, *prompted));
  }

  // What a turn of the assistant is, behind one user's turn.
  std::optional<std::string> turn(const ChatMessage& message, bool tools) const {
    const How how{.tools = tools};
    const auto before = maybe({user()}, how);
    const auto after = maybe({user(), message}, how);
    if (!before || !after) return std::nullopt;
    if (after->starts_with(*before)) return behind(*after, before->size());
    // Something in front of the user's words changed with the number of messages.
    const auto words = before->rfind(kUser);
    const auto same = after->rfind(kUser);
    if (words == std::string::npos || same == std::string::npos) return std::nullopt;
    const std::string rest = behind(*before, words);
    const std::string turns = behind(*after, same);
    return behind(turns, common_front(rest, turns));
  }

  void probe_turns() {
    d_.prompt = prompt_after({user()}, {});
    const auto text = turn(assistant(kText), false);
    if (!text || !text->contains(kText)) {
      d_.assistant_open = d_.prompt;
      d_.notes.emplace_back("an assistant's text is not printed");
      return;
    }
    text_open_ = text->substr(0, text->find(kText));
    d_.text_turn_end = behind(*text, text_open_.size() + kText.size());
    d_.assistant_open = d_.prompt.substr(0, common_front(d_.prompt, text_open_));
    if (d_.assistant_open.empty()) d_.assistant_open = text_open_;
    cut_reasoning(d_.assistant_open);
    if (const auto next = maybe({user(), assistant(kText), user(kUser2)})) {
      const auto open = between(*next, kText, kUser2).value_or("");
      const auto first = std::string_view(base_).substr(0, base_.find(kUser));
      user_open_ = behind(open, open.size() - common_back(open, first));
      // A template may write more where no prompt follows.
      const std::string end = open.substr(0, open.size() - user_open_.size());
      if (!end.empty() && d_.text_turn_end.starts_with(end)) d_.text_turn_end = end;
    }
  }

  // Tags of reasoning at the end are the prompt's, not every turn's.
  static void cut_reasoning(std::string& open) {
    while (true) {
      const std::string_view text = strip_right(open);
      const auto tag = text.find_last_of("<[");
      if (tag == std::string_view::npos || tag == 0) return;
      std::string word(text.substr(tag));
      std::ranges::transform(word, word.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
      });
      if (!word.contains("think")) return;
      open.resize(tag);
    }
  }

  void probe_roles() {
    const auto system = maybe({said(ChatRole::system, kSystem), user()});
    d_.has_system = system && system->contains(kSystem);
    const auto later = maybe({said(ChatRole::system, kSystem), user(), assistant(kText),
                              said(ChatRole::system, kSystem2), user(kUser2)});
    d_.later_systems = later && later->contains(kSystem2);
    const auto developer = maybe({said(ChatRole::developer, kSystem), user()});
    d_.has_developer = developer && developer->contains(kSystem);
    d_.alternates = !maybe({user(), user(kUser2)});
    if (d_.has_system && system) {
      const std::string_view mine = std::string_view(base_).substr(0, base_.find(kUser));
      const std::string_view given = std::string_view(*system).substr(0, system->find(kUser));
      const auto words = given.find(kSystem);
      if (words != std::string_view::npos) {
        const std::string_view front = given.substr(0, words);
        const std::string_view back = given.substr(words + kSystem.size());
        if (mine.starts_with(front) && mine.ends_with(back) &&
            mine.size() >= front.size() + back.size()) {
          d_.default_system = mine.substr(front.size(), mine.size() - front.size() - back.size());
        }
      }
    }
  }

  static bool shows_tools(std::string_view text) {
    return text.contains(kProbeName) && text.contains(kProbeName2) && text.contains(kProbeName3);
  }

  void probe_tools_place() {
    using Place = ToolsForm::Place;
    auto told = maybe({user()}, {.tools = true});
    if (!told || !shows_tools(*told)) {
      d_.form.tools_variable = "xml_tools";  // of SmolLM3
      told = maybe({user()}, {.tools = true});
    }
    if (!told || !shows_tools(*told)) {
      d_.form.tools_variable = "tools";
      d_.form.tools = MessageForm::Tools::system_message;
      told = maybe({said(ChatRole::system, kSystem), user()}, {.tools = true});
      d_.tools.system_message = told && shows_tools(*told);
      d_.tools.place = d_.tools.system_message ? Place::system : Place::nowhere;
      if (!d_.tools.system_message) d_.form.tools = MessageForm::Tools::variable;
      return;
    }
    const auto turns = maybe({user(), assistant(kText), user(kUser2)}, {.tools = true});
    if (turns && turns->find(kProbeName) > turns->find(kText)) {
      d_.tools.place = Place::last_user;
      return;
    }
    const std::string before = told->substr(0, told->find(kUser));
    const bool own_turn = !user_open_.empty() && before.ends_with(user_open_);
    d_.tools.place = own_turn ? Place::system : Place::first_user;
  }

  void probe_reasoning() {
    ReasoningForm& r = d_.reasoning;
    ChatMessage thought = assistant(kText);
    thought.reasoning = kReasoning;
    if (const auto text = turn(thought, false); text && text->contains(kReasoning)) {
      const auto words = text->find(kReasoning);
      r.open = text->starts_with(d_.assistant_open) && words >= d_.assistant_open.size()
                   ? text->substr(d_.assistant_open.size(), words - d_.assistant_open.size())
                   : text->substr(0, words);
      r.close = between(*text, kReasoning, kText).value_or("");
      const auto past = maybe({user(), thought, user(kUser2)});
      r.dropped_from_past = past && !past->contains(kReasoning);
    }
    const std::string rest = d_.prompt.starts_with(d_.assistant_open)
                                 ? behind(d_.prompt, d_.assistant_open.size())
                                 : std::string();
    look_at_prompt(rest.empty() && d_.assistant_open == d_.prompt ? d_.prompt : rest);
    for (const std::string_view name : {"enable_thinking", "thinking"}) {
      const Json off = {{name, false}};
      const auto usual = maybe({user()}, {.prompt = true});
      const auto without = maybe({user()}, {.prompt = true, .variables = off});
      if (!usual || !without || *usual == *without) continue;
      r.off_variable = name;
      r.off_prompt = prompt_after({user()}, {.variables = off});
      break;
    }
  }

  // What stands in the prompt behind the assistant's opening: a reasoning block's beginning, or a
  // whole empty one.
  void look_at_prompt(std::string_view rest) {
    ReasoningForm& r = d_.reasoning;
    const auto tag = rest.find("think");
    const auto begin = tag == std::string_view::npos ? tag : rest.rfind('<', tag);
    if (!r.open.empty()) {
      const std::string open = trimmed(r.open);
      const std::string close = trimmed(r.close);
      const std::string prompt = trimmed(d_.prompt);
      r.prompt_opens = !open.empty() && prompt.ends_with(open);
      r.prompt_closes = !close.empty() && prompt.ends_with(close);
      return;
    }
    if (begin == std::string_view::npos) return;
    const std::string_view block = rest.substr(begin);
    if (block.starts_with("</")) {
      r.prompt_closes = true;
      r.close = block;
      r.open = "<" + std::string(block.substr(2));
      return;
    }
    const auto close = block.find("</", 1);
    r.prompt_closes = close != std::string_view::npos;
    r.prompt_opens = !r.prompt_closes;
    r.open = block.substr(0, close);
    r.close = r.prompt_closes ? std::string(block.substr(close)) : "</think>";
  }
  static std::string trimmed(std::string_view text) {
    return std::string(strip_right(strip_left(text)));
  }

  // The way of handing over a call that prints it and nothing else.
  void probe_calls() {
    using Arguments = MessageForm::Arguments;
    using Empty = MessageForm::Empty;
    const MessageForm kept = d_.form;
    for (const bool flat : {false, true}) {
      for (const Arguments arguments : {Arguments::object, Arguments::text}) {
        for (const Empty empty : {Empty::text, Empty::absent, Empty::null}) {
          d_.form = kept;
          d_.form.arguments = arguments;
          d_.form.empty = empty;
          d_.form.flat_calls = flat;
          for (const IdForm ids : {IdForm::any, IdForm::functions}) {
            d_.ids = ids;
            if (read_calls()) return;
          }
        }
      }
    }
    d_.form = kept;
    d_.ids = IdForm::any;
    d_.call = {};
  }

  ChatCall first(std::size_t index = 0) const { return probe_call(kProbeName, d_.ids, index); }
  ChatCall second(std::size_t index = 1) const { return probe_call(kProbeName2, d_.ids, index); }

  // The text of a turn of calls behind the assistant's opening.
  std::optional<std::string> calls_text(std::vector<ChatCall> calls) const {
    auto text = turn(calling(std::move(calls)), true);
    if (!text || text->contains("None")) return std::nullopt;
    return without_empty_reasoning(behind(*text, common_front(d_.assistant_open, *text)));
  }

  // The text of a turn without a block of reasoning in front that has nothing in it.
  std::string without_empty_reasoning(std::string text) const {
    const std::string& open = d_.reasoning.open;
    const std::string close = trimmed(d_.reasoning.close);
    if (close.empty()) return text;
    std::string_view rest = text;
    if (rest.starts_with(open)) {
      rest.remove_prefix(open.size());
    } else if (strip_left(rest).starts_with(trimmed(open))) {
      rest = strip_left(rest).substr(trimmed(open).size());
    }
    rest = strip_left(rest);
    if (!rest.starts_with(close)) return text;
    rest.remove_prefix(close.size());
    const std::string_view spaces = strip_left(d_.reasoning.close).substr(close.size());
    rest.remove_prefix(common_front(spaces, rest));
    return std::string(rest);
  }

  bool read_calls() {
    const CallTexts texts = [this](std::vector<ChatCall> calls) {
      return calls_text(std::move(calls));
    };
    auto call = read_call_form(texts, d_.ids, d_.text_turn_end);
    if (!call) return false;
    d_.call = *std::move(call);
    if (const auto text = turn(calling({first()}, kText), true)) {
      const auto words = text->find(kText);
      d_.call.keeps_text = words != std::string::npos;
      const std::string open = d_.call.section_open + leading_literal();
      const auto calls =
          d_.call.keeps_text ? text->find(open, words + kText.size()) : std::string::npos;
      if (calls != std::string::npos) {
        d_.call.after_text = text->substr(words + kText.size(), calls - words - kText.size());
      }
    }
    ChatMessage thought = calling({first()});
    thought.reasoning = kReasoning;
    const auto text = turn(thought, true);
    d_.reasoning.kept_with_calls = text && text->contains(kReasoning);
    if (d_.reasoning.open.empty() && d_.reasoning.kept_with_calls) read_reasoning_of_calls(*text);
    thought.content = kText;
    const auto both = turn(thought, true);
    d_.reasoning.excludes_text = d_.reasoning.kept_with_calls && !both;
    return true;
  }

  std::string leading_literal() const {
    const TemplatePiece& front = d_.call.call.front();
    return front.kind == TemplatePiece::Kind::literal ? front.text : std::string();
  }

  void read_reasoning_of_calls(const std::string& text) {
    const auto words = text.find(kReasoning);
    const std::string calls = d_.call.section_open + leading_literal();
    d_.reasoning.open = text.substr(std::min(d_.assistant_open.size(), words),
                                    words - std::min(d_.assistant_open.size(), words));
    const auto at = text.find(calls, words);
    if (at == std::string::npos) return;
    d_.reasoning.close = text.substr(words + kReasoning.size(), at - words - kReasoning.size());
  }

  // What was found writes what the template writes.
  void check_calls() {
    std::vector<ChatCall> calls = {first()};
    if (d_.call.several) calls.push_back(second());
    const auto text = calls_text(calls);
    if (!text || *text != written_calls(d_.call, calls) + d_.call.turn_end) {
      d_.notes.emplace_back("calls are written otherwise than the probes show");
    }
  }

  // The template prints no calls: they are text, in the form that it tells, else in the generic
  // one.
  void use_other_form() {
    const Messages messages = d_.tools.system_message
                                  ? Messages{said(ChatRole::system, kSystem), user()}
                                  : Messages{user()};
    const auto words = d_.tools.place == ToolsForm::Place::nowhere
                           ? std::nullopt
                           : maybe(messages, {.prompt = true, .tools = true});
    const CallForm* told = words ? told_call_form(*words) : nullptr;
    d_.call = told != nullptr ? *told : generic_call_form();
    d_.call.turn_end = d_.text_turn_end;
    if (words && told == nullptr) {
      d_.notes.emplace_back("the template shows tools, prints no calls and names no form");
    }
  }

  // --- Results -----------------------------------------------------------------------------------

  // The words behind the calls' section, in a conversation that ends with these results.
  std::optional<std::string> behind_calls(const std::vector<ChatCall>& calls,
                                          const Messages& results, bool prompt) const {
    Messages messages = {user(),
                         printed() ? calling(calls) : assistant(written_calls(d_.call, calls))};
    messages.append_range(results);
    const auto text = maybe(messages, {.prompt = prompt, .tools = true});
    if (!text) return std::nullopt;
    const auto words = text->rfind(kUser);
    if (words == std::string::npos) return std::nullopt;
    const std::string written = written_call(d_.call, calls.back(), calls.size() - 1);
    const auto at = text->find(written, words);
    if (at == std::string::npos) return std::nullopt;
    const auto rest = std::string_view(*text).substr(at + written.size());
    return std::string(rest.substr(common_front(d_.call.section_close, rest)));
  }

  // `last`: the call whose result came before, if there is one.
  static TemplatePieces with_holes(std::string_view rest, const ChatCall& call,
                                   const ChatCall* last = nullptr) {
    std::vector<std::pair<Kind, std::string_view>> words = {{Kind::id, call.id},
                                                            {Kind::name, call.name}};
    if (last != nullptr) {
      words.insert(words.end(), {{Kind::last_id, last->id}, {Kind::last_name, last->name}});
    }
    TemplatePieces out;
    const auto literal = [&](std::string_view text) {
      if (!text.empty()) out.push_back({Kind::literal, std::string(text)});
    };
    while (!rest.empty()) {
      const auto next = std::ranges::min_element(
          words, {}, [&](const auto& word) { return rest.find(word.second); });
      const auto at = rest.find(next->second);
      if (at == std::string_view::npos) break;
      literal(rest.substr(0, at));
      out.push_back({next->first, {}});
      const bool counted = next->first == Kind::name && rest.substr(0, at).ends_with("functions.");
      rest.remove_prefix(at + next->second.size());
      // Kimi's id, made by the template.
      if (counted && rest.size() > 1 && rest[0] == ':' && rest[1] >= '0' && rest[1] <= '9') {
        literal(":");
        out.push_back({Kind::index, {}});
        rest.remove_prefix(2);
      }
    }
    literal(rest);
    return out;
  }

  // Results of the first calls, as one turn of them.
  Messages results(std::initializer_list<std::string_view> contents) const {
    Messages out;
    for (const std::string_view content : contents) {
      const ChatCall call = out.empty() ? first() : second();
      if (d_.result.native) {
        out.push_back(result(call, content));
      } else if (out.empty()) {
        out.push_back(user(generic_result(content)));
      } else {
        out.back().content += "\n" + generic_result(content);
      }
    }
    return out;
  }

  void probe_results() {
    ResultForm& r = d_.result;
    const ChatCall a = first();
    std::optional<std::string> plain;
    std::size_t at = std::string::npos;
    for (const bool native : {true, false}) {
      r.native = native;
      plain = behind_calls({a}, results({kResult}), false);
      at = plain ? plain->find(kResult) : std::string::npos;
      if (at != std::string::npos) break;
    }
    if (!r.native)
      d_.notes.emplace_back("a tool's result is not printed: it goes as a user's text");
    if (at == std::string::npos) return;
    r.first = with_holes(plain->substr(0, at), a);
    r.first.push_back({Kind::content, {}});
    const std::string end = behind(*plain, at + kResult.size());
    const auto prompted = behind_calls({a}, results({kResult}), true);
    const auto more = prompted ? prompted->find(kResult) : std::string::npos;
    const std::string going_on =
        more == std::string::npos ? end : behind(*prompted, more + kResult.size());
    // A template may write more where no prompt follows.
    const std::size_t shared = going_on.starts_with(end) ? end.size() : common_front(end, going_on);
    r.last = with_holes(end.substr(0, shared), a);
    r.prompt = behind(going_on, shared);
    if (const auto quoted = behind_calls({a}, results({"Q\"uz\n"}), false)) {
      r.json = quoted->contains("Q\\\"uz");
    }
    const auto named = [](const TemplatePieces& pieces) {
      return has(pieces, Kind::id) || has(pieces, Kind::name);
    };
    r.by_position = !named(r.first) && !named(r.last);
    r.same_turn = !d_.assistant_open.empty() && !r.prompt.contains(trimmed(d_.assistant_open));
    if (d_.call.several) probe_two_results();
    Messages late = {user(), printed() ? calling({a}) : assistant(kText)};
    late.append_range(results({kResult}));
    late.push_back(assistant(kText));
    late.append_range(results({kResult2}));
    const auto gone_on = maybe(late, {.tools = true});
    d_.tool_after_text = gone_on && gone_on->contains(kResult2);
  }

  void probe_two_results() {
    const auto text = behind_calls({first(), second()}, results({kResult, kResult2}), false);
    const auto middle = text ? between(*text, kResult, kResult2) : std::nullopt;
    if (!middle) {
      d_.notes.emplace_back("the results of two calls are not printed");
      return;
    }
    const ChatCall a = first();
    d_.result.between = with_holes(*middle, second(), &a);
    count_results(d_.result.first, d_.result.between);
    d_.result.between.push_back({TemplatePiece::Kind::content, {}});
  }

  // The number of the call, in the last words before the content.
  static void count_results(TemplatePieces& first, TemplatePieces& between) {
    if (first.size() < 2 || first[first.size() - 2].kind != Kind::literal || between.empty() ||
        between.back().kind != Kind::literal) {
      return;
    }
    const auto distance = counter_back(first[first.size() - 2].text, between.back().text);
    if (!distance) return;
    const auto split = [&](TemplatePieces& pieces, std::size_t at) {
      const std::string text = pieces[at].text;
      const std::size_t place = text.size() - *distance;
      pieces[at].text.resize(place);
      pieces.insert(pieces.begin() + static_cast<std::ptrdiff_t>(at) + 1,
                    {{Kind::index, {}}, {Kind::literal, text.substr(place + 1)}});
    };
    split(first, first.size() - 2);
    split(between, between.size() - 1);
  }

  // Whether the calls' numbers go on in later turns.
  void probe_counting() {
    if (!has(d_.call.call, TemplatePiece::Kind::index)) return;
    const ChatCall a = first();
    const ChatCall b = second();
    const auto text =
        maybe({user(), calling({a}), result(a, kResult), calling({b})}, {.tools = true});
    d_.call.counts_on = text && text->contains(written_call(d_.call, b, 1));
  }

  // Ids that another client would send.
  void probe_ids() {
    const bool counted = has(d_.call.call, TemplatePiece::Kind::index);
    if (counted && shown(d_.call.call).contains("functions.‹name›:‹index›")) {
      d_.ids = IdForm::functions;
    }
    if (d_.ids != IdForm::any) return;
    ChatCall call = first();
    call.id = "call_Quz_0123456789";
    const auto text =
        maybe({user(), calling({call}), result(call, kResult), assistant(kText), user(kUser2)},
              {.tools = true});
    if (!text) d_.ids = IdForm::nine;
  }

  // Whether what was finished stays as it is.
  void probe_history() {
    const auto stays = [this](const Messages& messages) {
      Messages more = messages;
      more.push_back(user(kUser2));
      const auto before = maybe(messages, {.tools = true});
      const auto after = maybe(more, {.tools = true});
      return !before || !after || after->starts_with(*before);
    };
    d_.rewrites_past = !stays({user(), assistant(kText)});
    if (printed()) {
      d_.rewrites_past |=
          !stays({user(), calling({first()}), result(first(), kResult), assistant(kText)});
    }
  }

  std::string family() const {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 21> kFamilyMarks = {{
        {"<|tool_calls_section_begin|>", "kimi"},
        {"<｜tool▁call", "deepseek"},
        {"<｜DSML｜", "deepseek"},
        {"to=functions.", "harmony"},
        {"<start_function_call>", "functiongemma"},
        {"<|tool_call>", "gemma4"},
        {"<|START_ACTION|>", "command-r"},
        {"Action: ```json", "command-r"},
        {"[TOOL_CALLS]", "mistral"},
        {"<minimax:tool_call>", "minimax"},
        {"<|tool_call_start|>", "lfm2"},
        {"<TOOLCALL>", "nemotron"},
        {"<|python_tag|>", "llama"},
        {"<function=", "qwen3-coder"},
        {"<arg_key>", "glm"},
        {"<tool_call>", "hermes"},
        {"<|/tool_call|>", "phi"},
        {"<|tool_call|>", "granite"},
        {"<function_calls>", "olmo"},
        {"{\"name\": \"", "llama"},
        {"{\"type\": \"function\"", "llama"},
    }};
    if (d_.call.source == CallForm::Source::generic) return "generic";
    std::string text = d_.call.section_open + shown(d_.call.call) + d_.call.section_close;
    if (d_.call.arguments.kind == ArgumentsForm::Kind::pairs) text += d_.call.arguments.before_key;
    for (const auto& [mark, name] : kFamilyMarks) {
      if (text.contains(mark)) return std::string(name);
    }
    return d_.call.arguments.kind == ArgumentsForm::Kind::pairs &&
                   d_.call.arguments.after_key == "="
               ? "pythonic"
               : "other";
  }

  std::string example() const {
    const ChatCall call = {.id = d_.ids == IdForm::nine ? "abcdefg12" : "call_1",
                           .name = "get_weather",
                           .arguments = {{"city", "Oslo"}, {"days", 3}}};
    const Messages messages = normalise({said(ChatRole::system, "Be brief."), user("Weather?"),
                                         calling({call}), result(call, "rain")},
                                        d_);
    RenderOptions options;
    options.now = now_;
    options.form = d_.form;
    options.tools = Json::array(
        {{{"type", "function"},
          {"function",
           {{"name", "get_weather"},
            {"description", "The weather of a city"},
            {"parameters",
             {{"type", "object"},
              {"properties", {{"city", {{"type", "string"}}}, {"days", {{"type", "integer"}}}}},
              {"required", Json::array({"city"})}}}}}}});
    const auto text = chat_.render(messages, options);
    return text ? *text : text.error().message;
  }

  const ChatTemplate& chat_;
  std::chrono::sys_seconds now_;
  TemplateDialect d_;
  bool needs_tools_ = false;
  std::string base_;       // one user's turn
  std::string text_open_;  // a turn of text in front of the text
  std::string user_open_;  // a later user's turn in front of its text
};

}  // namespace

const std::string& chosen_source(const TemplateSources& sources, bool with_tools) {
  const auto found = sources.others.find("tool_use");
  return with_tools && found != sources.others.end() ? found->second : sources.standard;
}

Result<TemplateDialect> probe_template(const ChatTemplate& chat, std::chrono::sys_seconds now) {
  return Prober(chat, now).probe();
}

}  // namespace asynclm
