// SPDX-License-Identifier: Apache-2.0
#include "cml/grammar.h"

#include <algorithm>
#include <format>
#include <memory>
#include <ranges>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/test_sanitized.h"
#include "cml/call_syntax.h"
#include "cml/future.h"
#include "cml/schema.h"
#include "cml/test_grammar.h"
#include "cml/token_mask.h"

namespace asynclm {
namespace {

std::shared_ptr<const Grammar> compile(const std::vector<ToolSpec>& tools,
                                       const GrammarOptions& options = {}) {
  auto grammar = Grammar::compile(tools, options);
  if (!grammar) throw std::runtime_error(grammar.error().message);  // the test fails with it
  return std::make_shared<const Grammar>(std::move(*grammar));
}

// Markers in a text by their spelling.
std::vector<Symbol> symbols(std::string_view text) {
  std::vector<Symbol> out;
  while (!text.empty()) {
    const auto at = std::ranges::find_if(
        kMarkerSpellings, [&](std::string_view spelling) { return text.starts_with(spelling); });
    if (at != kMarkerSpellings.end()) {
      out.push_back(symbol_of(static_cast<Marker>(at - kMarkerSpellings.begin())));
      text.remove_prefix(at->size());
    } else {
      out.push_back(static_cast<unsigned char>(text.front()));
      text.remove_prefix(1);
    }
  }
  return out;
}

class Checker {
 public:
  explicit Checker(const std::vector<ToolSpec>& tools, const GrammarOptions& options = {},
                   Automaton::Naming names = Automaton::Naming::no)
      : automaton_(compile(tools, options), names) {}

  // "ok", "unfinished" or the part of the text that was possible.
  std::string call(std::string_view text) { return run(automaton_.call(), text); }
  std::string trap(std::string_view text) { return run(automaton_.trap(), text); }
  // A call of tool f, with an id.
  std::string f(std::string_view arguments) {
    const std::string result = call(std::format("a[HEAD]f({})[END]", arguments));
    constexpr std::string_view kBefore = "a[HEAD]f(";
    return result.starts_with(kBefore) ? result.substr(kBefore.size()) : result;
  }

  // What must follow the text, as far as only one thing can.
  std::string forced(std::string_view text) {
    Automaton::State state = automaton_.call();
    for (const Symbol symbol : symbols(text)) state = automaton_.step(state, symbol);
    std::string out;
    while (const auto symbol = automaton_.forced(state)) {
      out += *symbol < 256 ? std::string(1, static_cast<char>(*symbol))
                           : std::string(kMarkerSpellings[*symbol - 256U]);
      state = automaton_.step(state, *symbol);
    }
    return out;
  }

  Automaton& automaton() { return automaton_; }

 private:
  std::string run(Automaton::State state, std::string_view text) {
    std::string possible;
    for (const Symbol symbol : symbols(text)) {
      state = automaton_.step(state, symbol);
      if (state == Automaton::kDead) return possible;
      possible += symbol < 256 ? std::string(1, static_cast<char>(symbol))
                               : std::string(kMarkerSpellings[symbol - 256U]);
    }
    return state == automaton_.finished() ? "ok" : "unfinished";
  }

  Automaton automaton_;
};

TEST(Grammar, Blocks) {
  Checker check(
      {tool("get", object(R"("x": {"type": "integer"})", R"("x")")), tool("get_all", object(""))});
  EXPECT_EQ(check.call("a[HEAD]get(x=1)[END]"), "ok");
  EXPECT_EQ(check.call("call_7[HEAD]get_all()[END]"), "ok");
  EXPECT_EQ(check.call("get(x=1)[END]"), "ok") << "without an id";
  EXPECT_EQ(check.call("get(x=1)"), "unfinished");
  EXPECT_EQ(check.call("7[HEAD]"), "") << "no identifier";
  EXPECT_EQ(check.call("a b"), "a");
  EXPECT_EQ(check.call("a[HEAD]got(x=1)[END]"), "a[HEAD]g");
  EXPECT_EQ(check.call("a[HEAD]get()[END]"), "a[HEAD]get(") << "x is required";
  EXPECT_EQ(check.call("a[HEAD]get(x=1,x=2)[END]"), "a[HEAD]get(x=1");
  EXPECT_EQ(check.call("a[HEAD]get(x=1)[TRAP]"), "a[HEAD]get(x=1)");
  EXPECT_EQ(check.call("a[END]"), "a");
  EXPECT_EQ(check.call("a after b[HEAD]get_all()[END]"), "a") << "async+ only";
  Checker strict({tool("get", object(""))}, {.anonymous_calls = false});
  EXPECT_EQ(strict.call("get()[END]"), "get");
}

TEST(Grammar, Orders) {
  const auto tools = {tool("f", object(R"("a": {"type": "null"}, "b": {"type": "null"},
                                          "c": {"type": "null"})",
                                       R"("b")"))};
  Checker any(tools);
  EXPECT_EQ(any.f("b=None"), "ok");
  EXPECT_EQ(any.f("c=None,b=None,a=None"), "ok");
  EXPECT_EQ(any.f("a=None,c=None"), "a=None,c=None");
  Checker canonical(tools, {.canonical_order = true});
  EXPECT_EQ(canonical.f("b=None"), "ok");
  EXPECT_EQ(canonical.f("a=None,b=None,c=None"), "ok");
  EXPECT_EQ(canonical.f("b=None,c=None"), "ok");
  EXPECT_EQ(canonical.f("c=None"), "");
  EXPECT_EQ(canonical.f("b=None,a=None"), "b=None,");
}

struct ValueCase {
  std::string_view schema;
  std::vector<std::string_view> yes, no;
};

TEST(Grammar, Values) {
  const ValueCase cases[] = {
      {R"({"type": "integer"})",
       {"0", "-1", "999999999999999999"},
       {"01", "-0", "1.5", "+1", "1e3", "", "-"}},
      {R"({"type": "integer", "minimum": 0})", {"0", "17"}, {"-1"}},
      {R"({"type": "integer", "exclusiveMinimum": 0})", {"1", "17"}, {"0", "-1"}},
      {R"({"type": "integer", "minimum": -3, "maximum": 12})",
       {"-3", "-1", "0", "9", "12"},
       {"-4", "13", "100", "-30"}},
      {R"({"type": "integer", "minimum": 95, "maximum": 105})",
       {"95", "99", "100", "105"},
       {"9", "94", "106", "1000"}},
      {R"({"type": "integer", "exclusiveMaximum": -5})", {"-6", "-50"}, {"-5", "0", "5"}},
      {R"({"type": "number"})",
       {"0", "-1.5", "1e5", "2.5E-3", "10"},
       {".5", "1.", "01", "NaN", "1e"}},
      {R"({"type": "number", "minimum": 0})", {"0.5"}, {"-0.5"}},
      {R"({"type": "boolean"})", {"True", "False"}, {"true", "Truely", "1"}},
      {R"({"type": "null"})", {"None"}, {"null", ""}},
      {R"({"type": ["integer", "null"]})", {"3", "None"}, {"\"3\""}},
      {R"({"type": "string"})",
       {R"("")", R"("a\"b\\ \n \u00e9")", R"("é 漢 😀")", R"("\ud83d\ude00")", R"("END] $a")"},
       {"'a'", "\"\n\"", R"("\x41")", R"("\ud83d")", R"("\ude00")", "a"}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("é漢😀")", R"("\n\n")"},
       {R"("a")", R"("abcd")"}},
      {R"({"enum": ["a", "ab", 3, null, true]})",
       {R"("a")", R"("ab")", "3", "None", "True"},
       {R"("b")", "33", "a"}},
      {R"({"const": {"k": [1, "two"]}})", {R"({"k":[1,"two"]})"}, {R"({"k":[1]})"}},
      {R"({"type": "array", "items": {"type": "integer"}})",
       {"[]", "[1]", "[1,2,3]"},
       {"[1,]", "[,1]", "[1 ,2]", "[None]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
       {"[1,2]", "[1,2,3]"},
       {"[]", "[1]", "[1,2,3,4]"}},
      {R"({"type": "array", "items": [{"type": "null"}, {"type": "boolean"}], "additionalItems": false})",
       {"[]", "[None]", "[None,True]"},
       {"[True]", "[None,True,1]"}},
      {R"({"type": "array", "items": [{"type": "null"}]})", {"[None,1,[]]"}, {"[1]"}},
      {R"({"type": "object", "properties": {"k": {"type": "integer"}, "kk": {"type": "null"}}})",
       {"{}", R"({"k":1})", R"({"kk":None,"k":1})"},
       {R"({"k":1,"k":1})", R"({k:1})", R"({"x":1})", R"({"k": 1})"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", R"({"any":1,"é":2})"},
       {R"({"any":None})"}},
      {R"({"type": "object"})", {"{}", R"({"a":{"b":[1,"x",None,{}]}})"}, {"[]"}},
      {R"({})", {"1", R"("x")", "None", "[[[]]]", "-2.5"}, {"x", "$a"}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "null"}}]})",
       {"1", "[None]"},
       {"[1]", "None"}},
      {R"({"allOf": [{"type": "object", "properties": {"k": {"type": "null"}}}, {"required": ["k"]}]})",
       {R"({"k":None})"},
       {"{}"}},
      {"false", {}, {"1", "None"}},
  };
  for (const ValueCase& c : cases) {
    Checker check({tool("f", object("\"x\": " + std::string(c.schema)))});
    for (const std::string_view text : c.yes) {
      EXPECT_EQ(check.f("x=" + std::string(text)), "ok") << c.schema << " " << text;
    }
    for (const std::string_view text : c.no) {
      EXPECT_NE(check.f("x=" + std::string(text)), "ok") << c.schema << " " << text;
    }
  }
}

TEST(Grammar, AsyncPlus) {
  const auto tools = {tool("f", object(R"("x": {"type": "string"})"))};
  Checker check(tools, {.async_plus = true}, Automaton::Naming::open);
  EXPECT_EQ(check.call("b after a[HEAD]f()[END]"), "ok");
  EXPECT_EQ(check.call("b after a c[HEAD]f()[END]"), "ok");
  EXPECT_EQ(check.call("b after[HEAD]f()[END]"), "b after");
  EXPECT_EQ(check.f("x=$a"), "ok");
  EXPECT_EQ(check.f("x=$a.items[0].id"), "ok");
  EXPECT_EQ(check.f("x=$a."), "x=$a.");
  EXPECT_EQ(check.call("cancel(a)[END]"), "ok");
  EXPECT_EQ(check.trap("[END]"), "ok");
  EXPECT_EQ(check.trap("a b[HEAD]any[END]"), "ok");
  EXPECT_EQ(check.trap("a[HEAD]all[END]"), "ok");
  EXPECT_EQ(check.trap("a[HEAD]some[END]"), "a[HEAD]");
}

// Nothing is begun that needs the name of a call where there is none.
TEST(Grammar, AsyncPlusWithoutCallsToName) {
  const auto tools = {tool("f", object(R"("x": {"type": "string"})"))};
  Checker none(tools, {.async_plus = true}, Automaton::Naming::no);
  EXPECT_EQ(none.f("x=$a"), "x=");
  EXPECT_EQ(none.f("x=\"$a\""), "ok");
  EXPECT_EQ(none.call("b after a[HEAD]f()[END]"), "b");
  EXPECT_EQ(none.call("cancel(a)[END]"), "cancel") << "it may be an id";
  EXPECT_EQ(none.trap("a[HEAD]any[END]"), "");
  EXPECT_EQ(none.trap("[END]"), "ok");
  Checker ended(tools, {.async_plus = true}, Automaton::Naming::any);
  EXPECT_EQ(ended.f("x=$a"), "ok");
  EXPECT_EQ(ended.call("b after a[HEAD]f()[END]"), "ok");
  EXPECT_EQ(ended.call("cancel(a)[END]"), "cancel") << "what has ended cannot be cancelled";
}

TEST(Grammar, WhatIsForced) {
  const auto tools = {
      tool("count_lines", object(R"("path": {"type": "string"}, "deep": {"type": "boolean"})",
                                 R"("path", "deep")")),
      tool("checksum", object(R"("path": {"type": "string"})", R"("path")"))};
  Checker check(tools, {.canonical_order = true});
  EXPECT_EQ(check.forced("a[HEAD]"), "c");
  EXPECT_EQ(check.forced("a[HEAD]co"), "unt_lines(path=\"");
  EXPECT_EQ(check.forced("a[HEAD]count_lines(path=\"x\""), ",deep=");
  EXPECT_EQ(check.forced("a[HEAD]count_lines(path=\"x\",deep=T"), "rue)[END]");
  EXPECT_EQ(check.forced("a[HEAD]checksum(path=\"x"), "");
  EXPECT_EQ(check.forced("a[HEAD]checksum(path=\"x\""), ")[END]");
  Checker any(tools);
  EXPECT_EQ(any.forced("a[HEAD]count_lines("), "") << "path or deep";
}

TEST(Grammar, LimitsAreErrors) {
  std::string many;
  for (int i = 0; i < 65; ++i) many += std::format("{}\"p{}\": {{}}", i == 0 ? "" : ", ", i);
  const auto too_many = Grammar::compile({tool("f", object(many))}, {});
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().code, ErrorCode::limit_exceeded);
  EXPECT_TRUE(too_many.error().message.starts_with("tool \"f\": ")) << too_many.error().message;
  const auto bad = Grammar::compile({tool("f", R"({"properties": {"x": {"type": "what"}}})")}, {});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::invalid_argument);
}

// A model must not be led where it can only get stuck.
TEST(Grammar, WhatCannotBeWrittenIsNotBegun) {
  Checker check({tool("f", object(R"("x": false)", R"("x")")),
                 tool("g", object(R"("x": false, "y": {"type": "null"})")),
                 tool("h", object(R"("x": {"type": "array", "items": false})"))});
  EXPECT_EQ(check.call("a[HEAD]f("), "a[HEAD]");
  EXPECT_EQ(check.call("a[HEAD]g(y=None)[END]"), "ok");
  EXPECT_EQ(check.call("a[HEAD]h(x=[])[END]"), "ok");
  EXPECT_EQ(check.call("a[HEAD]h(x=[1"), "a[HEAD]h(x=[");
  EXPECT_FALSE(compile({})->has_calls());
  EXPECT_FALSE(compile({tool("f", object(R"("x": false)", R"("x")"))})->has_calls());
}

TEST(Grammar, DeepValuesEndSomewhere) {
  Checker check({tool("f", object(R"("x": {})"))});
  EXPECT_EQ(check.f("x=" + std::string(40, '[') + std::string(40, ']')), "ok");
  EXPECT_NE(check.f("x=" + std::string(2000, '[') + std::string(2000, ']')), "ok");
}

TEST(Automaton, TrimmingForgetsStatesButNotTheGrammar) {
  Checker check({tool("f", object(R"("x": {"type": "integer", "maximum": 999999})"))});
  for (int i = 0; i < 40'000; ++i) {
    ASSERT_EQ(check.f(std::format("x={}", i)), "ok");
    check.automaton().trim();
  }
  EXPECT_GT(check.automaton().epoch(), 0U);
  EXPECT_LT(check.automaton().size(), 17'000U);
}

// --- token masks ---------------------------------------------------------------------------------

// Random walks through the grammar by tokens of the mask: what comes out is always a call that
// parses and fulfils its schema; and the mask is exactly what step() allows.
TEST(TokenMasks, AreExactAndLeadToValidCalls) {
  const PieceVocabulary vocabulary;
  const Markers markers = *Markers::find(vocabulary);
  const TokenTrie trie(vocabulary);
  const auto tools = varied_tools();
  std::vector<ArgumentValidator> validators;
  for (const ToolSpec& spec : tools) validators.push_back(*ArgumentValidator::compile(spec));
  for (const bool canonical : {false, true}) {
    Automaton automaton(compile(tools, {.canonical_order = canonical}), Automaton::Naming::no);
    TokenMasks masks(trie, markers, automaton);
    Random random(11);
    int finished = 0;
    constexpr int kWalks = kSanitized ? 60 : 400;
    for (int walk = 0; walk < kWalks; ++walk) {
      Automaton::State state = automaton.call();
      std::string code;
      for (int step = 0; step < 200 && state != automaton.finished(); ++step) {
        const TokenSet& mask = masks.mask(state);
        std::vector<Token> allowed;
        for (Token token = 0; token < vocabulary.size(); ++token) {
          const bool possible = masks.step(state, token) != Automaton::kDead;
          ASSERT_EQ(possible, mask.contains(token)) << code << " + " << vocabulary.spelling(token);
          if (possible) allowed.push_back(token);
        }
        ASSERT_FALSE(allowed.empty()) << "stuck after " << code;
        // Endings first now and then: a uniform choice never leaves a string.
        Token token = random.pick(allowed);
        for (const char ending : {'"', ')', ']', '}'}) {
          const auto t = static_cast<Token>(ending);
          if (random.chance(0.3) && mask.contains(t)) token = t;
        }
        if (step > 3 && mask.contains(markers.token(Marker::head)))
          token = markers.token(Marker::head);
        state = masks.step(state, token);
        if (token == markers.token(Marker::head)) {
          code.clear();
        } else {
          vocabulary.append_piece(token, code);
        }
      }
      if (state != automaton.finished()) continue;
      ++finished;
      const auto call = parse_call(code);
      ASSERT_TRUE(call) << code << ": " << call.error().message;
      const auto at = std::ranges::find(tools, call->name, &ToolSpec::name);
      ASSERT_NE(at, tools.end());
      const auto checked = validators[static_cast<std::size_t>(at - tools.begin())].check(
          call->positional, call->named);
      EXPECT_TRUE(checked) << code << ": " << checked.error().message;
    }
    EXPECT_GT(finished, kWalks / 2);
  }
}

// Of the calls that are there, and no others; cancelled are those that have not ended.
TEST(TokenMasks, NameTheCallsThatThereAre) {
  const PieceVocabulary vocabulary;
  const Markers markers = *Markers::find(vocabulary);
  const TokenTrie trie(vocabulary);
  const std::vector<ToolSpec> tools = {
      tool("get", object(R"("x": {"type": "string"}, "y": {})", R"("x")"))};
  Automaton automaton(compile(tools, {.async_plus = true}), Automaton::Naming::open);
  TokenMasks masks(trie, markers, automaton);
  const CallNames names({{"a", false}, {"get", true}, {"get_all", false}, {"get2", true}});
  TokenSet made(vocabulary.size());
  Random random(5);
  std::set<std::string> named, cancelled;
  constexpr int kWalks = kSanitized ? 100 : 1000;
  for (int walk = 0; walk < kWalks; ++walk) {
    const bool is_trap = walk % 2 == 0;
    NamedState state{is_trap ? automaton.trap() : automaton.call(), {}};
    std::string text, before;  // what stands before [HEAD], if there is one
    for (int step = 0; step < 60 && state.state != automaton.finished(); ++step) {
      const TokenSet& mask = masks.mask(names, state, made);
      std::vector<Token> allowed;
      for (Token token = 0; token < vocabulary.size(); ++token) {
        const bool possible = masks.step(names, state, token).state != Automaton::kDead;
        ASSERT_EQ(possible, mask.contains(token)) << text << " + " << vocabulary.spelling(token);
        if (possible) allowed.push_back(token);
      }
      ASSERT_FALSE(allowed.empty()) << "stuck after " << text;
      Token token = random.pick(allowed);
      for (const char wanted : {'"', '$', ')', 'c'}) {
        if (random.chance(0.4) && mask.contains(static_cast<Token>(wanted))) {
          token = static_cast<Token>(wanted);
        }
      }
      state = masks.step(names, state, token);
      if (token == markers.token(Marker::head)) {
        before = std::exchange(text, "");
      } else {
        vocabulary.append_piece(token, text);
      }
    }
    if (state.state != automaton.finished()) continue;
    if (is_trap) {
      for (const auto part : std::views::split(before, ' ')) {
        if (!part.empty()) named.emplace(part.begin(), part.end());
      }
      continue;
    }
    const auto call = parse_call(text, true);
    ASSERT_TRUE(call) << text << ": " << call.error().message;
    if (call->name == kCancelFunction) {
      cancelled.insert(call->positional.at(0).get<std::string>());
    } else {
      for (const std::string& id : futures_in(call->named)) named.insert(id);
    }
  }
  EXPECT_EQ(named, (std::set<std::string>{"a", "get", "get2", "get_all"}));
  EXPECT_EQ(cancelled, (std::set<std::string>{"get", "get2"}));
}

// What the oracle writes is possible.
TEST(Grammar, CanonicalCallsAreAccepted) {
  const auto tools = varied_tools();
  Checker check(tools, {.canonical_order = true});
  const std::vector<std::pair<std::string, std::string>> calls = {
      {"get", R"({"x": "a \"b\"\n\\ é"})"},
      {"get", R"({"x": "", "limit": 120})"},
      {"get_all", R"({"deep": true, "path": "src/x.cc", "k": {"k": null}})"},
      {"ratio", R"({"list": [1, "\n"], "any": {"a": [1.5, {}]}, "number": -12})"},
  };
  for (const auto& [name, arguments] : calls) {
    const std::string code = format_call(name, Json::parse(arguments));
    EXPECT_EQ(check.call("a[HEAD]" + code + "[END]"), "ok") << code;
  }
}

}  // namespace
}  // namespace asynclm
