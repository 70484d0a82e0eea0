// SPDX-License-Identifier: Apache-2.0
// What minja alone does otherwise than Jinja; the values are Python's.
#include "dialect/jinja.h"

#include <string>

#include <gtest/gtest.h>

#include "dialect/test_templates.h"

namespace asynclm {
namespace {

using Json = nlohmann::ordered_json;

std::string by_jinja(const std::string& source, const Json& variables = Json::object()) {
  const auto parsed = JinjaTemplate::parse(source);
  if (!parsed) return "error: " + parsed.error().message;
  const auto text = parsed->render(variables, kTemplateTime);
  return text ? *text : "error: " + text.error().message;
}

TEST(JinjaTest, WhiteSpace) {
  EXPECT_EQ(by_jinja("a\n  {% if true %}\n  b\n  {% endif %}\nc\n"), "a\n  b\nc");
  EXPECT_EQ(by_jinja("a\n    {{ 1 }}\n  b"), "a\n    1\n  b");
  EXPECT_EQ(by_jinja("a \n {%- if true -%} \n b {% endif +%}\nc"), "ab \nc");
  EXPECT_EQ(by_jinja("a\n  {%+ if true %}b{% endif %}"), "a\n  b");
  EXPECT_EQ(by_jinja("a\n  {# x #}\nb{#- y -#}  c"), "a\nbc");
  EXPECT_EQ(by_jinja("{% raw %}{{ x }} {% y %}{% endraw %}"), "{{ x }} {% y %}");
  EXPECT_EQ(by_jinja("\"quoted\" \\ {\r\n}\n\n"), "\"quoted\" \\ {\n}\n");
}

TEST(JinjaTest, NoneAndUndefined) {
  EXPECT_EQ(by_jinja("{{ none }}|{{ x }}|{{ x is defined }}|{{ none is defined }}|{{ x is none }}"),
            "None||False|True|False");
  EXPECT_EQ(by_jinja("{{ n is none }}{{ n }}{{ o.n }}", {{"n", nullptr}, {"o", {{"n", nullptr}}}}),
            "TrueNoneNone");
  EXPECT_EQ(by_jinja("{{ x is false }}{{ false is false }}{{ x is undefined }}"), "FalseTrueTrue");
  EXPECT_EQ(by_jinja("{% for a in x %}{{ a }}{% else %}none{% endfor %}"), "none");
  EXPECT_TRUE(by_jinja("\n{{ x.y }}").contains("line 2"));
  EXPECT_EQ(by_jinja("{{ {}.x }}{{ {'a': none}.get('b') }}"), "None");
}

TEST(JinjaTest, OperatorsAndTheirRank) {
  EXPECT_EQ(by_jinja("{{ 'a' ~ 1 ~ none }}{{ 7 // 2 }}{{ 7 / 2 }}{{ -7 % 3 }}{{ 2 ** 3 }}"),
            "a1None33.528");
  EXPECT_EQ(by_jinja("{{ [1, 2] | length * 3 }}{{ not 'a' in 'abc' }}{{ 1 < 2 < 3 }}"),
            "6FalseTrue");
  EXPECT_EQ(by_jinja("{{ '' or 'b' }}{{ 'a' and 'b' }}{{ {} or 'c' }}{{ 'x' if {} else 'y' }}"),
            "bbcy");
  EXPECT_EQ(
      by_jinja("{{ 'a' 'b' }}{{ '\\u2581\\x41\\n' }}{{ (1, 2)[1] }}{{ {'a': {'b': 3}}.a.b }}"),
      "ab\u2581A\n23");
  EXPECT_TRUE(by_jinja("{{ 'a' + {} }}").contains("can only concatenate str (not \"dict\")"));
}

TEST(JinjaTest, TextsAreOfCharacters) {
  EXPECT_EQ(by_jinja("{{ 'äöü'[1] }}{{ 'äöü' | length }}{{ 'äöü'[::-1] }}{{ 'äöü'[1:] }}"),
            "ö3üöäöü");
  EXPECT_EQ(by_jinja("{{ [1, 2, 3][-1] }}{{ [1][5] is defined }}{{ [1, 2, 3][-9:2] }}"),
            "3False[1, 2]");
  EXPECT_EQ(by_jinja("{% for c in 'äb' %}{{ c }}-{% endfor %}"), "ä-b-");
}

TEST(JinjaTest, JsonAsTransformersWritesIt) {
  const Json value = {{"a", "<ü> & 'x'\n"},
                      {"b", {1.5, 230.0, 1e20, nullptr, true}},
                      {"c", Json::object()},
                      {"d", 9007199254740993}};
  EXPECT_EQ(by_jinja("{{ v | tojson }}", {{"v", value}}),
            "{\"a\": \"<ü> & 'x'\\n\", \"b\": [1.5, 230.0, 1e+20, null, true], \"c\": {}, "
            "\"d\": 9007199254740993}");
  EXPECT_EQ(by_jinja("{{ {'b': [1, {}], 'a': 'ü'} | tojson(indent=2, ensure_ascii=True) }}"),
            "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"a\": \"\\u00fc\"\n}");
  EXPECT_EQ(by_jinja("{{ {'b': [1, 2], 'a': 3} | tojson(separators=(',', ':'), sort_keys=true) }}"),
            "{\"a\":3,\"b\":[1,2]}");
  EXPECT_EQ(by_jinja("{{ {'a': 'it\\'s', 'b': none, 'c': [true, 1.0]} }}"),
            "{'a': \"it's\", 'b': None, 'c': [True, 1.0]}");
}

TEST(JinjaTest, FiltersTestsAndMethods) {
  EXPECT_EQ(by_jinja("{{ 'a-b-c'.split('-', 1) }}{{ ' x y '.split() }}{{ 'a.b'.rsplit('.')[-1] }}"),
            "['a', 'b-c']['x', 'y']b");
  EXPECT_EQ(by_jinja("{{ '{}-{}'.format('a', 2) }}{{ '%s=%d' % ('k', 3) }}{{ ', '.join(['a']) }}"),
            "a-2k=3a");
  EXPECT_EQ(by_jinja("{{ {'B': 1, 'a': 2} | dictsort }}{{ 'ab\nc' | indent }}"),
            "[['a', 2], ['B', 1]]ab\n    c");
  EXPECT_EQ(by_jinja("{{ m | selectattr('r', 'eq', 'u') | map(attribute='c') | list }}"
                     "{{ m | rejectattr('r', 'equalto', 'u') | list | length }}",
                     {{"m", {{{"r", "u"}, {"c", 1}}, {{"r", "v"}, {"c", 2}}}}}),
            "[1]1");
  EXPECT_EQ(
      by_jinja(
          "{{ [3, 1] | sort | first }}{{ 'x' is string }}{{ {} is mapping }}{{ 1 is in [1] }}"),
      "1TrueTrueTrue");
  EXPECT_TRUE(by_jinja("a\n{{ 'x' | no_such }}").contains("there is no filter 'no_such'"));
  EXPECT_EQ(by_jinja("{% if false %}{{ 'x' | no_such }}{% endif %}"), "");
}

TEST(JinjaTest, LoopsMacrosAndNamespaces) {
  EXPECT_EQ(by_jinja("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 4 %}"
                     "{% break %}{% endif %}{{ i }}{% endfor %}"),
            "023");
  EXPECT_EQ(
      by_jinja("{% macro m(a, b='x') %}[{{ a }}{{ b }}]{% endmacro %}{{ m(1) }}{{ m(2, b=3) }}"
               "{{ m('q').upper() }}"),
      "[1x][23][QX]");
  EXPECT_EQ(by_jinja("{% set n = namespace(i=0) %}{% for x in [1, 2] %}{% set n.i = n.i + x %}"
                     "{% endfor %}{{ n.i }}"),
            "3");
  EXPECT_EQ(by_jinja("{% set t %} x {% endset %}{{ t | trim }}{% filter upper %}ab{% endfilter %}"),
            "xAB");
  EXPECT_EQ(by_jinja("{% for k, v in {'a': 1}.items() if v %}{{ k }}{{ loop.last }}{% endfor %}"),
            "aTrue");
  EXPECT_EQ(by_jinja("{% generation %}x{% endgeneration %}"), "x");
}

TEST(JinjaTest, AVariableOfALoopIsGoneInTheNextRound) {
  const std::string source =
      "{% for i in [1, 2] %}{% if i == 1 %}{% set x = 'set' %}{% endif %}{{ x }};{% endfor %}";
  EXPECT_EQ(by_jinja(source), "set;;");
  EXPECT_EQ(by_jinja("{% set m = 'out' %}{% for m in [1] %}{% endfor %}{{ m }}"), "out");
}

TEST(JinjaTest, TheClockIsTheCallers) {
  EXPECT_EQ(by_jinja("{{ strftime_now('%d %b %Y, %H:%M %A %-d %j') }}"),
            "30 Jul 2026, 12:34 Thursday 30 211");
}

TEST(JinjaTest, ErrorsNameTheLine) {
  EXPECT_EQ(by_jinja("{{ raise_exception('Only two turns.') }}"),
            "error: the chat template refuses these messages: Only two turns.");
  const std::string failed = by_jinja("a\n\n{% for x in [1] %}\n  {{ x.y.z }}\n{% endfor %}");
  EXPECT_TRUE(failed.contains("fails in line 4")) << failed;
  EXPECT_TRUE(failed.contains("{{ x.y.z }}")) << failed;
  for (const auto& [source, words] : std::initializer_list<std::pair<const char*, const char*>>{
           {"\n{{ x", "error in line 2"},
           {"{% if x %}", "if"},
           {"a\n{% include 'x' %}", "error in line 2: chat templates have no statement 'include'"},
           {"{{ 'x }}", "a string is not closed"},
           {"{{ 1 + }}", "a value is expected"},
           {"{# x", "a comment is not closed"},
           {"\n\n{{ x is strange }}", "line 3: there is no test 'strange'"}}) {
    const std::string error = by_jinja(source);
    EXPECT_TRUE(error.starts_with("error: ") && error.contains(words)) << error;
  }
}

}  // namespace
}  // namespace asynclm
