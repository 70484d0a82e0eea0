// SPDX-License-Identifier: Apache-2.0
#include "dialect/jinja_source.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <format>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "base/ascii.h"
#include "base/utf8.h"
#include "dialect/jinja_functions.h"

namespace asynclm {
namespace {

// minja looks for each of its tokens with a regular expression that runs on to the next place where
// it matches, however far that is. After each tag stands a comment in which all of them match: a
// long template is parsed in a hundredth of the time.
constexpr std::string_view kStop = "{#~*+-%/|([{'\"1 true null not if else or and in is == a#}";

struct SyntaxError : std::runtime_error {
  SyntaxError(std::size_t at, const std::string& what) : std::runtime_error(what), position(at) {}
  std::size_t position;
};

bool begins_name(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool continues_name(char c) { return begins_name(c) || (c >= '0' && c <= '9'); }

// As a string of minja's: quotes and backslashes are escaped; `{#` must not begin a comment.
std::string string_literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\' || c == '#') out += '\\';
    out += c;
  }
  return out + '"';
}

struct Lexeme {
  enum Kind : std::uint8_t { name, number, string, symbol, end } kind = end;
  std::string text;  // of strings the value
  std::size_t position = 0;
};

// The expressions and words of one tag.
class TagLexer {
 public:
  TagLexer(std::string_view source, std::size_t position) : source_(source), at_(position) {}

  // All lexemes up to the tag's closing delimiter; the position is behind it afterwards.
  std::vector<Lexeme> read(std::string_view close) {
    std::vector<Lexeme> out;
    std::size_t depth = 0;
    while (true) {
      while (at_ < source_.size() && ascii::is_python_space(source_[at_])) ++at_;
      if (at_ >= source_.size()) throw SyntaxError(start_, "a tag is not closed");
      const std::string_view rest = source_.substr(at_);
      if (depth == 0) {
        const std::size_t sign = rest.front() == '-' || rest.front() == '+' ? 1 : 0;
        if (rest.substr(sign).starts_with(close)) {
          sign_ = sign == 1 ? rest.front() : '\0';
          end_ = at_;
          at_ += sign + close.size();
          return out;
        }
      }
      out.push_back(lexeme(rest));
      const std::string& text = out.back().text;
      if (out.back().kind != Lexeme::symbol) continue;
      if (text == "(" || text == "[" || text == "{") ++depth;
      if (text == ")" || text == "]" || text == "}") depth -= depth > 0 ? 1 : 0;
    }
  }
  [[nodiscard]] std::size_t position() const { return at_; }
  [[nodiscard]] std::size_t end_of_words() const { return end_; }
  [[nodiscard]] char sign() const { return sign_; }  // before the closing delimiter, or NUL

 private:
  Lexeme lexeme(std::string_view rest) {
    const std::size_t begin = at_;
    if (begins_name(rest.front())) return {Lexeme::name, take_while(continues_name), begin};
    if (rest.front() >= '0' && rest.front() <= '9') return {Lexeme::number, number(), begin};
    if (rest.front() == '"' || rest.front() == '\'') return {Lexeme::string, string(), begin};
    static constexpr std::array<std::string_view, 6> kTwo = {"==", "!=", "<=", ">=", "**", "//"};
    for (const std::string_view two : kTwo) {
      if (rest.starts_with(two)) {
        at_ += 2;
        return {Lexeme::symbol, std::string(two), begin};
      }
    }
    static constexpr std::string_view kOne = "+-*/%~|.,:()[]{}<>=";
    if (!kOne.contains(rest.front())) {
      throw SyntaxError(at_, std::format("'{}' has no meaning here", rest.front()));
    }
    ++at_;
    return {Lexeme::symbol, std::string(1, rest.front()), begin};
  }

  std::string take_while(bool (*predicate)(char)) {
    const std::size_t begin = at_;
    while (at_ < source_.size() && predicate(source_[at_])) ++at_;
    return std::string(source_.substr(begin, at_ - begin));
  }

  std::string number() {
    const auto digit = [](char c) { return (c >= '0' && c <= '9') || c == '_'; };
    std::string out = take_while(digit);
    const auto next = [&](std::size_t n) {
      return at_ + n < source_.size() ? source_[at_ + n] : '\0';
    };
    if (next(0) == '.' && next(1) >= '0' && next(1) <= '9') {
      ++at_;
      out += "." + take_while(digit);
    }
    if (next(0) == 'e' || next(0) == 'E') {
      const std::size_t sign = next(1) == '-' || next(1) == '+' ? 1 : 0;
      if (next(1 + sign) >= '0' && next(1 + sign) <= '9') {
        out += std::string(source_.substr(at_, 1 + sign));
        at_ += 1 + sign;
        out += take_while(digit);
      }
    }
    std::erase(out, '_');
    return out;
  }

  // Python's escapes; neighbouring strings are one.
  std::string string() {
    std::string out;
    const char quote = source_[at_++];
    while (true) {
      if (at_ >= source_.size()) throw SyntaxError(at_, "a string is not closed");
      const char c = source_[at_++];
      if (c == quote) return out;
      if (c != '\\' || at_ >= source_.size()) {
        out += c;
        continue;
      }
      escape(source_[at_++], out);
    }
  }
  void escape(char c, std::string& out) {
    static constexpr std::string_view kLetters = "ntrbfav0\n\\'\"";
    static constexpr std::string_view kValues("\n\t\r\b\f\a\v\0\0\\'\"", 12);
    if (c == '\n') return;  // a continued line
    if (const auto i = kLetters.find(c); i != std::string_view::npos) {
      out += kValues[i];
      return;
    }
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    std::uint32_t code = 0;
    bool valid = digits != 0 && at_ + digits <= source_.size();
    for (std::size_t i = 0; valid && i < digits; ++i) {
      const auto digit = static_cast<unsigned char>(source_[at_ + i]);
      valid = std::isxdigit(digit) != 0;
      code = code * 16 + static_cast<std::uint32_t>(std::isdigit(digit) ? digit - '0'
                                                                        : (digit | 32) - 'a' + 10);
    }
    if (!valid || !is_unicode(code)) {
      out += '\\';
      out += c;
      return;
    }
    at_ += digits;
    append_utf8(code, out);
  }

  std::string_view source_;
  std::size_t at_;
  std::size_t start_ = at_;
  std::size_t end_ = 0;
  char sign_ = '\0';
};

// Expressions. Each function reads what its rank binds and returns it translated.
class ExpressionTranslator {
 public:
  explicit ExpressionTranslator(const std::vector<Lexeme>& lexemes, std::size_t end_position)
      : lexemes_(lexemes), end_{Lexeme::end, {}, end_position} {}

  [[nodiscard]] bool done() const { return at_ == lexemes_.size(); }
  [[nodiscard]] const Lexeme& peek(std::size_t ahead = 0) const {
    return at_ + ahead < lexemes_.size() ? lexemes_[at_ + ahead] : end_;
  }
  bool take(std::string_view text) {
    const bool found = is(text);
    if (found) ++at_;
    return found;
  }
  void expect(std::string_view text) {
    if (!take(text)) fail(std::format("'{}' is expected", text));
  }
  std::string name() {
    if (peek().kind != Lexeme::name) fail("a name is expected");
    return lexemes_[at_++].text;
  }
  void end() {
    if (!done()) fail("the tag should end");
  }
  [[noreturn]] void fail(const std::string& what) const {
    const std::string& text = peek().text;
    throw SyntaxError(peek().position, text.empty() ? what : std::format("{} at '{}'", what, text));
  }

  // `a, b` without brackets is a list too.
  std::string tuple() {
    std::string first = expression();
    if (!is(",")) return first;
    std::string out = "[" + first;
    while (take(",")) {
      if (done() || is("if")) break;
      out += ", " + expression();
    }
    return out + "]";
  }

  std::string expression() {
    std::string value = logical_or();
    while (take("if")) {
      const std::string condition = truth(logical_or());
      const std::string otherwise = take("else") ? expression() : "p__undefined";
      value = std::format("({} if {} else {})", value, condition, otherwise);
    }
    return value;
  }
  // As the condition of a loop, behind which an `if` belongs to the loop.
  std::string without_if() {
    std::string first = logical_or();
    if (!is(",")) return first;
    std::string out = "[" + first;
    while (take(",")) out += ", " + logical_or();
    return out + "]";
  }
  // These variables have another name from here on.
  void rename(std::vector<std::string> names, std::string suffix) {
    renamed_ = std::move(names);
    renamed_suffix_ = std::move(suffix);
  }
  static std::string truth(const std::string& value) { return "p__truth(" + value + ")"; }

  // Arguments of a call with the brackets; `leading` comes first.
  std::string arguments(std::string leading) {
    expect("(");
    std::string out = "(" + std::move(leading);
    while (!take(")")) {
      if (out.size() > 1) out += ", ";
      if (peek().kind == Lexeme::name && peek(1).kind == Lexeme::symbol && peek(1).text == "=") {
        out += lexemes_[at_].text + "=";
        at_ += 2;
      } else if (is("*") || is("**")) {
        out += lexemes_[at_++].text;
      }
      out += expression();
      if (!is(")")) expect(",");
    }
    return out + ")";
  }

 private:
  [[nodiscard]] bool is(std::string_view text) const {
    const Lexeme& lexeme = peek();
    return (lexeme.kind == Lexeme::symbol || lexeme.kind == Lexeme::name) && lexeme.text == text;
  }

  // minja's own `and` yields a truth value, and its `or` takes empty objects for true. What is
  // evaluated twice must be short, and calls no macro that is not.
  static constexpr std::size_t kShort = 80;

  std::string logical_or() {
    std::string left = logical_and();
    while (take("or")) {
      const std::string right = logical_and();
      left = left.size() <= kShort ? std::format("({0} if {1} else {2})", left, truth(left), right)
                                   : std::format("({} or {})", left, right);
    }
    return left;
  }
  std::string logical_and() {
    std::string left = logical_not();
    while (take("and")) {
      const std::string right = logical_not();
      left = left.size() <= kShort ? std::format("({2} if {1} else {0})", left, truth(left), right)
                                   : std::format("({} and {})", truth(left), truth(right));
    }
    return left;
  }
  std::string logical_not() {
    if (take("not")) return "(not " + truth(logical_not()) + ")";
    return comparison();
  }

  std::string comparison() {
    std::string left = sum();
    std::string chain;
    while (true) {
      std::string function;
      if (take("==")) {
        function = "p__eq";
      } else if (take("!=")) {
        function = "p__ne";
      } else if (take("<")) {
        function = "p__lt";
      } else if (take("<=")) {
        function = "p__le";
      } else if (take(">")) {
        function = "p__gt";
      } else if (take(">=")) {
        function = "p__ge";
      } else if (take("in")) {
        function = "p__in";
      } else if (is("not") && peek(1).text == "in") {
        at_ += 2;
        function = "p__not_in";
      } else {
        return chain.empty() ? left : chain;
      }
      std::string right = sum();
      const std::string one = std::format("{}({}, {})", function, left, right);
      chain = chain.empty() ? one : std::format("({} and {})", chain, one);
      left = std::move(right);
    }
  }

  std::string binary(std::string (ExpressionTranslator::*operand)(),
                     std::initializer_list<std::pair<std::string_view, std::string_view>> table) {
    std::string left = (this->*operand)();
    while (true) {
      const auto found =
          std::ranges::find_if(table, [&](const auto& entry) { return is(entry.first); });
      if (found == table.end() || peek().kind != Lexeme::symbol) return left;
      ++at_;
      const std::string right = (this->*operand)();
      left = std::format("{}({}, {})", found->second, left, right);
    }
  }
  std::string sum() {
    return binary(&ExpressionTranslator::concatenation, {{"+", "p__add"}, {"-", "p__sub"}});
  }
  std::string concatenation() {
    return binary(&ExpressionTranslator::product, {{"~", "p__concat"}});
  }
  std::string product() {
    return binary(&ExpressionTranslator::unary_filtered,
                  {{"*", "p__mul"}, {"/", "p__div"}, {"//", "p__floordiv"}, {"%", "p__mod"}});
  }
  std::string unary_filtered() { return filtered(unary()); }
  std::string unary() {
    if (take("-")) return "p__neg(" + unary() + ")";
    if (take("+")) return unary();
    std::string value = postfix(primary());
    if (take("**")) value = std::format("p__pow({}, {})", value, unary());
    return value;
  }

  std::string primary() {
    const Lexeme& lexeme = peek();
    switch (lexeme.kind) {
      case Lexeme::name:
        ++at_;
        return variable(lexeme);
      case Lexeme::number:
        ++at_;
        return lexeme.text;
      case Lexeme::string: {
        std::string text;
        while (peek().kind == Lexeme::string) text += lexemes_[at_++].text;
        return string_literal(text);
      }
      case Lexeme::symbol:
        if (take("(")) return brackets();
        if (take("[")) return list();
        if (take("{")) return dictionary();
        break;
      case Lexeme::end:
        break;
    }
    fail("a value is expected");
  }
  std::string variable(const Lexeme& lexeme) const {
    const std::string& text = lexeme.text;
    if (text == "true" || text == "True") return "true";
    if (text == "false" || text == "False") return "false";
    if (text == "none" || text == "None") return "p__none";
    static constexpr std::array<std::string_view, 10> kWords = {
        "and", "or", "not", "in", "is", "if", "else", "elif", "for", "del"};
    if (std::ranges::contains(kWords, text)) {
      throw SyntaxError(lexeme.position, std::format("a value is expected at '{}'", text));
    }
    if (std::ranges::contains(renamed_, text)) return text + renamed_suffix_;
    // A word of minja's alone.
    return text == "null" ? "p__user_null" : text;
  }
  std::string brackets() {
    if (take(")")) return "[]";
    std::string first = expression();
    if (take(")")) return first;
    std::string out = "[" + first;
    while (take(",")) {
      if (is(")")) break;
      out += ", " + expression();
    }
    expect(")");
    return out + "]";
  }
  std::string list() {
    std::string out = "[";
    while (!take("]")) {
      if (out.size() > 1) out += ", ";
      out += expression();
      if (!is("]")) expect(",");
    }
    return out + "]";
  }
  std::string dictionary() {
    std::string out = "{";
    while (!take("}")) {
      if (out.size() > 1) out += ", ";
      out += expression();
      expect(":");
      out += ": " + expression();
      if (!is("}")) expect(",");
    }
    // Two braces together would end a tag.
    return out + " }";
  }

  std::string postfix(std::string value) {
    while (true) {
      if (take(".")) {
        if (peek().kind == Lexeme::number) {
          value = std::format("p__item({}, {})", value, lexemes_[at_++].text);
          continue;
        }
        const std::string member = name();
        value = is("(") ? "p__method" + arguments(string_literal(member) + ", " + value)
                        : std::format("p__attribute({}, {})", value, string_literal(member));
      } else if (take("[")) {
        value = subscript(value);
      } else if (is("(")) {
        // minja calls names; whatever else is called goes through a helper.
        const bool named = std::ranges::all_of(value, continues_name);
        value = named ? value + arguments("") : "p__call" + arguments(value);
      } else {
        return value;
      }
    }
  }
  std::string subscript(const std::string& value) {
    std::array<std::string, 3> parts = {"p__none", "p__none", "p__none"};
    std::size_t part = 0;
    bool slice = false;
    while (!take("]")) {
      if (take(":")) {
        slice = true;
        if (++part == parts.size()) fail("a slice has three parts at most");
        continue;
      }
      parts[part] = expression();
    }
    if (slice) return std::format("p__slice({}, {}, {}, {})", value, parts[0], parts[1], parts[2]);
    return std::format("p__item({}, {})", value, parts[0]);
  }

  std::string filtered(std::string value) {
    while (true) {
      if (take("|")) {
        value = filter(std::move(value));
      } else if (take("is")) {
        value = test(std::move(value));
      } else if (is("(")) {
        value = "p__call" + arguments(value);
      } else {
        return value;
      }
    }
  }

 public:
  // The filter whose name comes next, of `value`.
  std::string filter(std::string value) {
    const std::string called = name();
    // One that Jinja does not have is an error where it is reached.
    const std::string function =
        is_jinja_filter(called) ? std::string(kFilterPrefix) + called : "p__no_filter";
    if (function == "p__no_filter") value = string_literal(called) + ", " + value;
    return is("(") ? function + arguments(std::move(value)) : function + "(" + value + ")";
  }

 private:
  std::string test(std::string value) {
    const bool negated = take("not");
    const std::size_t position = peek().position;
    const std::string called = name();
    if (!is_jinja_test(called)) {
      throw SyntaxError(position, std::format("there is no test '{}'", called));
    }
    std::string out = std::string(kTestPrefix) + called;
    static constexpr std::array<std::string_view, 8> kOperators = {
        "else", "or", "and", "is", "if", "not", "in", "recursive"};
    const bool operand =
        (peek().kind == Lexeme::name && !std::ranges::contains(kOperators, peek().text)) ||
        peek().kind == Lexeme::string || peek().kind == Lexeme::number || is("[") || is("{");
    if (is("(")) {
      out += arguments(std::move(value));
    } else if (operand) {
      const std::string argument = postfix(primary());
      out += "(" + value + ", " + argument + ")";
    } else {
      out += "(" + value + ")";
    }
    return negated ? "(not " + out + ")" : out;
  }

  const std::vector<Lexeme>& lexemes_;
  Lexeme end_;
  std::size_t at_ = 0;
  std::vector<std::string> renamed_;
  std::string renamed_suffix_;
};

// The template: text, comments and tags.
class TemplateTranslator {
 public:
  explicit TemplateTranslator(std::string_view source) : source_(source) {}

  std::string translate() {
    // Jinja drops the last line's end.
    if (source_.ends_with('\n')) source_.remove_suffix(1);
    std::size_t at = 0;
    while (at < source_.size()) at = piece(at);
    if (!filters_.empty()) throw SyntaxError(source_.size(), "a filter is not closed");
    return std::move(out_);
  }

 private:
  // Text, and the tag that ends it.
  std::size_t piece(std::size_t at) {
    std::size_t open = at;
    while (true) {
      open = source_.find('{', open);
      if (open == std::string_view::npos) {
        text(source_.substr(at), '\0', false);
        return source_.size();
      }
      const char next = open + 1 < source_.size() ? source_[open + 1] : '\0';
      if (next == '{' || next == '%' || next == '#') break;
      ++open;
    }
    const char kind = source_[open + 1];
    std::size_t inside = open + 2;
    char sign = inside < source_.size() ? source_[inside] : '\0';
    if (sign != '-' && sign != '+') sign = '\0';
    if (sign != '\0') ++inside;
    text(source_.substr(at, open - at), sign, kind != '{');
    if (kind == '#') return comment(open, inside);
    TagLexer lexer(source_, inside);
    const std::vector<Lexeme> words = lexer.read(kind == '{' ? "}}" : "%}");
    const std::size_t lines = count_lines(open, lexer.position());
    if (kind == '%' && words.size() == 1 && words[0].text == "raw") return raw(lexer);
    ExpressionTranslator expressions(words, lexer.end_of_words());
    std::string tag = kind == '{' ? printed(expressions) : statement(expressions);
    expressions.end();
    // The tag's own lines, before its end.
    out_ +=
        tag.substr(0, tag.size() - 2) + std::string(lines, '\n') + " " + tag.substr(tag.size() - 2);
    out_ += kStop;
    if (std::exchange(loop_begins_, false)) scopes_.back().body = out_.size();
    after_tag(lexer.sign(), kind == '%');
    return lexer.position();
  }

  std::size_t count_lines(std::size_t begin, std::size_t end) const {
    return static_cast<std::size_t>(std::ranges::count(source_.substr(begin, end - begin), '\n'));
  }

  void after_tag(char sign, bool trims_newline) {
    strip_next_ = sign == '-';
    trim_next_ = trims_newline && sign != '+';
  }

  // Writes text with what trim_blocks and lstrip_blocks and the signs of the tags leave of it.
  // `next`: the sign of the tag behind it, `strips_line`: that tag is no `{{`.
  void text(std::string_view raw_text, char next, bool strips_line) {
    std::string_view left = raw_text;
    if (strip_next_) {
      while (!left.empty() && ascii::is_python_space(left.front())) left.remove_prefix(1);
    } else if (trim_next_) {
      if (left.starts_with('\n')) left.remove_prefix(1);
    }
    // A tag on a line of its own, seen in the source: behind another tag it is not.
    if (next == '-') {
      while (!left.empty() && ascii::is_python_space(left.back())) left.remove_suffix(1);
    } else if (next != '+' && strips_line) {
      std::string_view line = raw_text.substr(raw_text.rfind('\n') + 1);
      const bool own_line = line.size() < raw_text.size() || first_text_;
      if (own_line && std::ranges::all_of(line, ascii::is_python_space)) {
        left.remove_suffix(std::min(line.size(), left.size()));
      }
    }
    first_text_ = false;
    strip_next_ = trim_next_ = false;
    const auto lines = [](std::string_view t) {
      return static_cast<std::size_t>(std::ranges::count(t, '\n'));
    };
    skipped_ += lines(raw_text) - lines(left);
    if (left.empty()) return;
    out_ += "{{ " + string_literal(left) + std::string(std::exchange(skipped_, 0), '\n') + " }}";
    out_ += kStop;
  }

  std::size_t comment(std::size_t open, std::size_t inside) {
    const auto close = source_.find("#}", inside);
    if (close == std::string_view::npos) throw SyntaxError(open, "a comment is not closed");
    const char before = close > inside ? source_[close - 1] : '\0';
    after_tag(before == '-' || before == '+' ? before : '\0', true);
    skipped_ += count_lines(open, close);
    return close + 2;
  }

  // Text up to {% endraw %}, whose signs hold as those of any tag.
  std::size_t raw(const TagLexer& open) {
    after_tag(open.sign(), true);
    std::size_t at = open.position();
    while (true) {
      const auto found = source_.find("{%", at);
      if (found == std::string_view::npos) throw SyntaxError(at, "raw is not closed");
      std::size_t word = found + 2;
      const char sign = word < source_.size() && (source_[word] == '-' || source_[word] == '+')
                            ? source_[word++]
                            : '\0';
      while (word < source_.size() && ascii::is_python_space(source_[word])) ++word;
      if (!source_.substr(word).starts_with("endraw")) {
        at = found + 2;
        continue;
      }
      text(source_.substr(open.position(), found - open.position()), sign, true);
      TagLexer close(source_, word);
      close.read("%}");
      after_tag(close.sign(), true);
      return close.position();
    }
  }

  static std::string printed(ExpressionTranslator& e) { return "{{ p__text(" + e.tuple() + ") }}"; }

  std::string statement(ExpressionTranslator& e) {
    const Lexeme word = e.peek();
    const std::string keyword = e.name();
    const auto tag = [](const std::string& inside) { return "{% " + inside + " %}"; };
    if (keyword == "if" || keyword == "elif") {
      return tag(keyword + " " + ExpressionTranslator::truth(e.tuple()));
    }
    if (keyword == "for") return tag(loop(e));
    if (keyword == "endfor") close_loop(word);
    if (keyword == "set") return tag(assignment(e));
    if (keyword == "macro") {
      scopes_.emplace_back();
      return tag(macro(e));
    }
    if (keyword == "endmacro" && !scopes_.empty()) scopes_.pop_back();
    if (keyword == "call") {
      if (e.peek().text == "(") e.fail("a call block with parameters cannot be rendered");
      const std::string function = e.name();
      return tag("call " + function + e.arguments(""));
    }
    if (keyword == "filter") {
      const std::string variable = std::format("p__block{}", filters_.size());
      filters_.push_back(e.filter(variable));
      return tag("set " + variable);
    }
    if (keyword == "endfilter") {
      if (filters_.empty()) throw SyntaxError(word.position, "no filter is open");
      const std::string value = std::move(filters_.back());
      filters_.pop_back();
      return "{% endset %}{{ p__text(" + value + ") }}";
    }
    if (keyword == "endset" || keyword == "endmacro" || keyword == "endcall") {
      if (e.peek().kind == Lexeme::name) e.name();
      return tag(keyword);
    }
    static constexpr std::array<std::string_view, 7> kPlain = {
        "else", "endif", "endfor", "break", "continue", "generation", "endgeneration"};
    if (std::ranges::contains(kPlain, keyword)) return tag(keyword);
    throw SyntaxError(word.position, std::format("chat templates have no statement '{}'", keyword));
  }

  static std::vector<std::string> names(ExpressionTranslator& e) {
    const bool bracket = e.take("(");
    std::vector<std::string> out = {e.name()};
    while (e.take(",")) out.push_back(e.name());
    if (bracket) e.expect(")");
    return out;
  }
  static std::string listed(const std::vector<std::string>& names, const std::string& suffix = "") {
    std::string out;
    for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name + suffix;
    return out;
  }

  // minja leaves a loop's variables behind in the scope around it, so there they have names of
  // their own.
  std::string loop(ExpressionTranslator& e) {
    Scope scope;
    scope.is_loop = true;
    scope.suffix = std::format("__{}", ++loops_);
    scope.begin = out_.size();
    scope.variables = names(e);
    std::string out = "for " + listed(scope.variables, scope.suffix);
    e.expect("in");
    out += " in p__iterate(" + e.without_if() + ")";
    if (e.take("if")) {
      e.rename(scope.variables, scope.suffix);
      out += " if " + ExpressionTranslator::truth(e.expression());
    }
    if (e.take("recursive")) e.fail("a recursive loop cannot be rendered");
    scopes_.push_back(std::move(scope));
    loop_begins_ = true;
    return out;
  }
  // In minja all rounds of a loop share a scope: what one sets, the next one takes back.
  void close_loop(const Lexeme& word) {
    if (scopes_.empty() || !scopes_.back().is_loop) {
      throw SyntaxError(word.position, "no loop is open");
    }
    const Scope scope = std::move(scopes_.back());
    scopes_.pop_back();
    std::string before;
    std::string body;
    for (const std::string& name : scope.set) {
      if (std::ranges::contains(scope.variables, name)) continue;
      const std::string kept = "p__" + name + scope.suffix;
      before += std::format("{{% set {} = {} %}}", kept, name);
      body += std::format("{{% set {} = {} %}}", name, kept);
    }
    for (const std::string& name : scope.variables) {
      body += std::format("{{% set {0} = {0}{1} %}}", name, scope.suffix);
    }
    out_.insert(scope.body, body);
    out_.insert(scope.begin, before);
  }

  std::string assignment(ExpressionTranslator& e) {
    std::string out = "set ";
    if (e.peek(1).text == ".") {
      out += e.name() + ".";
      e.expect(".");
      out += e.name();
    } else {
      const auto set = names(e);
      out += listed(set);
      if (!scopes_.empty()) {
        for (const std::string& name : set) {
          if (!std::ranges::contains(scopes_.back().set, name)) scopes_.back().set.push_back(name);
        }
      }
    }
    if (e.take("=")) return out + " = " + e.tuple();
    if (!e.done()) e.fail("'=' is expected");
    return out;
  }
  static std::string macro(ExpressionTranslator& e) {
    std::string out = "macro " + e.name();
    e.expect("(");
    std::string parameters;
    while (!e.take(")")) {
      if (!parameters.empty()) parameters += ", ";
      parameters += e.name();
      // A parameter that is not given is undefined, whatever is called so outside.
      parameters += "=" + (e.take("=") ? e.expression() : std::string("p__undefined"));
      if (e.peek().text != ")") e.expect(",");
    }
    return out + "(" + parameters + ")";
  }

  // A loop's body or a macro's.
  struct Scope {
    bool is_loop = false;
    std::string suffix = {};                  // of the names that its variables have in minja
    std::size_t begin = 0;                    // in the output: in front of the loop
    std::size_t body = 0;                     // and behind its tag
    std::vector<std::string> variables = {};  // the loop's
    std::vector<std::string> set = {};        // set in it
  };

  std::string_view source_;
  std::string out_;
  std::vector<Scope> scopes_;
  std::size_t loops_ = 0;
  bool loop_begins_ = false;
  std::vector<std::string> filters_;  // open filter blocks: what is to be printed of each
  std::size_t skipped_ = 0;           // line ends that are still to be written
  bool strip_next_ = false;           // the tag before ended with `-`
  bool trim_next_ = false;            // the tag before takes a line's end with it
  bool first_text_ = true;
};

std::size_t line_of(std::string_view source, std::size_t position) {
  return 1 + static_cast<std::size_t>(std::ranges::count(source.substr(0, position), '\n'));
}

}  // namespace

Result<std::string> translate_jinja(std::string_view original) {
  // As Jinja reads it: every line ends with one character.
  std::string source;
  for (std::size_t i = 0; i < original.size(); ++i) {
    if (original[i] != '\r') {
      source += original[i];
    } else if (!original.substr(i + 1).starts_with('\n')) {
      source += '\n';
    }
  }
  try {
    return TemplateTranslator(source).translate();
  } catch (const SyntaxError& e) {
    return fail(ErrorCode::unsupported, std::format("the chat template has an error in line {}: {}",
                                                    line_of(source, e.position), e.what()));
  }
}

}  // namespace asynclm
