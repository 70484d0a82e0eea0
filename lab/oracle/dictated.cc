// SPDX-License-Identifier: Apache-2.0
#include "oracle/dictated.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <format>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cml/call_syntax.h"
#include "oracle/cheat_sheet.h"
#include "oracle/recordings.h"

namespace asynclm {
namespace {

using std::string;

enum class ArgumentType : std::uint8_t {
  text,
  integer,
  number,
  boolean,
  texts,
  integers,
  numbers,
  object
};

struct TypedParameter {
  string name;
  ArgumentType type;
  bool is_required;
};

class DictatedTasks {
 public:
  DictatedTasks(const WordList& words, Random& random, DictatedLists lists)
      : words_(words), random_(random), is_terse_(lists == DictatedLists::long_and_terse) {}

  TaskSequence sequence() {
    // Many tool lists are of a few programs whose every tool says what it belongs to.
    const bool is_long = !is_terse_ && random_.chance(0.35);
    if (is_long) belongs_ = sentence(30) + " ";
    const int tools = is_terse_ ? random_.between(3, 7)
                      : is_long ? random_.between(4, 10)
                                : random_.between(1, random_.between(1, 8));
    while (std::ssize(out_.tools) < tools) add_tool();
    const int turns = random_.chance(is_terse_ ? 0.85 : 0.65) ? 1 : random_.between(2, 3);
    for (int i = 0; i < turns; ++i) out_.tasks.push_back(task());
    // Chain by chain, as people write (and a call may stand right behind the one that it needs),
    // or mixed.
    const bool is_as_made = is_terse_ && random_.chance(0.6);
    write_cheat_sheet(out_, [&](const Task& task) {
      std::vector<double> ranks(task.calls.size());
      if (is_as_made) {
        std::iota(ranks.begin(), ranks.end(), 0.0);
      } else {
        std::ranges::generate(ranks, [&] { return random_.uniform(); });
      }
      return ranks;
    });
    return std::move(out_);
  }

 private:
  // --- words and values ---

  string word() { return words_.pick(random_); }

  string capitalised_word() {
    string out = word();
    out[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(out[0])));
    return out;
  }

  // A word's first letters.
  string capitals(std::size_t count) {
    string out = capitalised_word().substr(0, count);
    std::ranges::transform(out, out.begin(), ::toupper);
    return out;
  }

  // Of a value, which has no rules.
  string any_word() { return random_.chance(0.3) ? words_.pick_piece(random_) : word(); }

  string sentence(int longest) {
    constexpr auto kBetween =
        std::to_array<std::string_view>({" ", " ", " ", " ", " ", " ", ", ", "; ", " - ", ". "});
    constexpr auto kEnd = std::to_array<std::string_view>({".", ".", "?", "!", ""});
    string text = capitalised_word();
    for (int i = random_.between(2, longest); i > 0; --i) {
      text += random_.pick(kBetween);
      text += random_.chance(0.85) ? word() : spoken(text_value());
    }
    text += random_.pick(kEnd);
    return text;
  }

  string digits(int count) {
    string out;
    for (int i = 0; i < count; ++i) out += static_cast<char>('0' + random_.between(0, 9));
    return out;
  }

  // Few different characters, so that pieces of it come again: a formula, a sequence, a key.
  string repetitive() {
    constexpr auto kAlphabets = std::to_array<std::string_view>(
        {"xy23*+-", "ACGT", "01", "ab12-", "nx+-/*()4", "AB!@#7", "0123456789", "e.:/-_"});
    const std::string_view alphabet = random_.pick(kAlphabets);
    string out;
    for (int i = random_.between(3, 14); i > 0; --i) {
      out += alphabet[random_.below(alphabet.size())];
      if (random_.chance(0.15)) out += out.back();
      if (random_.chance(0.1)) out += ' ';
    }
    while (out.ends_with(' ')) out.pop_back();
    return out;
  }

  // A value that came before, with one character, its end, or nothing changed.
  string alike(string text) {
    switch (random_.between(0, 4)) {
      case 0:
        break;
      case 1: {
        char& c = text[random_.below(text.size())];
        if (std::isdigit(static_cast<unsigned char>(c))) {
          c = digits(1)[0];
        } else if (std::isalpha(static_cast<unsigned char>(c))) {
          c = static_cast<char>((std::isupper(static_cast<unsigned char>(c)) ? 'A' : 'a') +
                                random_.between(0, 25));
        }
        break;
      }
      case 2:
        if (text.size() < 40) text += (random_.chance(0.5) ? " " : ", ") + capitalised_word();
        break;
      case 3:
        if (const std::size_t at = text.find_last_of(" _/.-"); at != string::npos) {
          text.resize(at + 1);
          text += any_word();
        }
        break;
      default:
        if (const std::size_t at = text.rfind(' '); at != string::npos && at > 0) text.resize(at);
        break;
    }
    return text;
  }

  // Values resemble each other more often than random ones would.
  string text_value() {
    const bool is_alike = !texts_.empty() && random_.chance(0.3);
    return texts_.emplace_back(is_alike ? alike(random_.pick(texts_)) : new_text());
  }

  string new_text() {
    switch (random_.between(0, 15)) {
      case 0:
      case 1:
        return any_word();
      case 2:
        return capitalised_word();
      case 3:
        return capitalised_word() + " " + capitalised_word();
      case 4:
        return any_word() + "_" + any_word() + "." + any_word();
      case 5: {
        string path = random_.chance(0.3) ? "/" : "";
        for (int i = random_.between(1, 3); i > 0; --i) path += any_word() + "/";
        return path + any_word() + (random_.chance(0.6) ? ".txt" : "");
      }
      case 6:
        return std::format("20{}-{:02}-{:02}", digits(2), random_.between(1, 12),
                           random_.between(1, 28));
      case 7:
        return std::format("{}@{}.com", any_word(), any_word());
      case 8: {
        const string code = capitals(3);
        return code + (random_.chance(0.5) ? digits(random_.between(1, 6)) : "");
      }
      case 9: {
        string phrase = capitalised_word();
        for (int i = random_.between(2, 9); i > 0; --i) phrase += " " + any_word();
        return phrase + (random_.chance(0.5) ? "." : "");
      }
      case 10:
        return "#" + capitalised_word() + (random_.chance(0.5) ? capitalised_word() : "");
      case 11:
        return digits(random_.between(3, 16));
      case 12:
        return repetitive();
      case 13: {
        string place = capitalised_word();
        if (random_.chance(0.4)) place += " " + capitalised_word();
        return place + ", " + capitals(2);
      }
      case 14: {
        constexpr std::string_view kSigns = "!?'()*+-/:;<=>@[]^_{|}~$%&#";
        string text = any_word();
        for (int i = random_.between(1, 3); i > 0; --i) {
          text += kSigns[random_.below(kSigns.size())];
          text += random_.chance(0.5) ? any_word() : digits(random_.between(1, 4));
        }
        return text;
      }
      default: {
        // Whatever a vocabulary holds can come.
        string pieces;
        for (int i = random_.between(1, 6); i > 0; --i) pieces += words_.pick_piece(random_);
        return pieces;
      }
    }
  }

  Json number_value() {
    const string sign = random_.chance(0.12) ? "-" : "";
    const string whole =
        random_.chance(0.2) ? "0" : std::to_string(random_.between(1, random_.between(9, 99'999)));
    return Json::parse(sign + whole + "." + (random_.chance(0.3) ? "0" : digits(1)) +
                       (random_.chance(0.4) ? std::to_string(random_.between(1, 999)) : ""));
  }

  Json integer_value() {
    if (!integers_.empty() && random_.chance(0.2)) {
      const int before = random_.pick(integers_);
      switch (random_.between(0, 3)) {
        case 0:
          return before;
        case 1:
          return before + random_.between(1, 9);
        case 2:
          return before / 10;
        default:
          return std::abs(before) < 100'000'000 ? before * 10 : before;
      }
    }
    integers_.push_back(new_integer());
    return integers_.back();
  }

  int new_integer() {
    constexpr std::array kBounds = {9, 100, 1000, 100'000, 10'000'000};
    if (random_.chance(0.08)) return 0;
    const int number = random_.between(1, random_.pick(kBounds));
    if (random_.chance(0.2)) return number / 10 * 10;
    if (random_.chance(0.15)) {  // a round one
      int round = random_.between(1, 99);
      for (int i = random_.between(1, 5); i > 0; --i) round *= 10;
      return round;
    }
    return random_.chance(0.1) ? -number : number;
  }

  Json value(ArgumentType type) {
    Json out;
    switch (type) {
      case ArgumentType::text:
        return text_value();
      case ArgumentType::integer:
        return integer_value();
      case ArgumentType::number:
        return number_value();
      case ArgumentType::boolean:
        return random_.chance(0.5);
      case ArgumentType::texts:
      case ArgumentType::integers:
      case ArgumentType::numbers:
        out = Json::array();
        for (int i = random_.between(random_.chance(0.1) ? 0 : 1, 4); i > 0; --i) {
          out.push_back(type == ArgumentType::texts      ? Json(text_value())
                        : type == ArgumentType::integers ? integer_value()
                                                         : number_value());
        }
        return out;
      case ArgumentType::object:
        out = Json::object();
        for (int i = random_.between(1, 3); i > 0; --i) {
          out[word()] = random_.chance(0.2) ? value(ArgumentType::integers) : value(plain_type());
        }
        return out;
    }
    return out;
  }

  static string spoken(const Json& value) {
    return value.is_string() ? value.get<string>() : value.dump();
  }

  // --- tools ---

  ArgumentType plain_type() {
    constexpr std::array kTypes = {
        ArgumentType::text,    ArgumentType::text,   ArgumentType::text,   ArgumentType::integer,
        ArgumentType::integer, ArgumentType::number, ArgumentType::boolean};
    return random_.pick(kTypes);
  }

  ArgumentType argument_type() {
    constexpr std::array kLists = {ArgumentType::texts, ArgumentType::texts, ArgumentType::integers,
                                   ArgumentType::numbers, ArgumentType::object};
    return random_.chance(0.15) ? random_.pick(kLists) : plain_type();
  }

  static Json schema_of(ArgumentType type) {
    switch (type) {
      case ArgumentType::text:
        return {{"type", "string"}};
      case ArgumentType::integer:
        return {{"type", "integer"}};
      case ArgumentType::number:
        return {{"type", "number"}};
      case ArgumentType::boolean:
        return {{"type", "boolean"}};
      case ArgumentType::texts:
        return {{"type", "array"}, {"items", {{"type", "string"}}}};
      case ArgumentType::integers:
        return {{"type", "array"}, {"items", {{"type", "integer"}}}};
      case ArgumentType::numbers:
        return {{"type", "array"}, {"items", {{"type", "number"}}}};
      case ArgumentType::object:
        return {{"type", "object"}};
    }
    return {};
  }

  string name(int longest) {
    string out = word();
    const bool is_camel = random_.chance(0.15);
    for (int i = random_.between(0, longest - 1); i > 0; --i) {
      out += is_camel ? capitalised_word() : "_" + word();
    }
    return out;
  }

  // Now and then one that begins or ends as one of `others` does.
  string name_beside(const std::vector<string>& others, int longest) {
    string out = name(longest);
    if (others.empty() || !random_.chance(0.35)) return out;
    const string& other = random_.pick(others);
    const std::size_t at = random_.chance(0.5) ? other.find('_') : other.rfind('_');
    if (at == string::npos) return other + "_" + word();
    return random_.chance(0.6) ? other.substr(0, at + 1) + word() : word() + other.substr(at);
  }

  static bool is_usable(const string& name, const std::vector<string>& others) {
    return name.size() <= kMaxIdentifier && !std::ranges::contains(others, name);
  }

  void add_tool() {
    ToolSpec tool;
    tool.name = name_beside(tool_names_, 4);
    if (!is_usable(tool.name, tool_names_)) return;
    tool_names_.push_back(tool.name);
    if (!belongs_.empty() && random_.chance(0.2)) belongs_ = sentence(30) + " ";
    tool.description = belongs_ + sentence(is_terse_ ? 4 : random_.chance(0.3) ? 30 : 10);
    tool.estimate = std::chrono::milliseconds(static_cast<int>(random_.log_uniform(10, 1000)));
    Json properties = Json::object();
    Json required = Json::array();
    std::vector<TypedParameter>& parameters = parameters_.emplace_back();
    std::vector<string> siblings;
    const string shared = random_.chance(0.2) ? word() + "_" : "";  // travel_from, travel_to, …
    const int fewest = random_.chance(0.1) && !out_.tools.empty() ? 0 : 1;
    for (int i = random_.between(fewest, random_.between(1, is_terse_ ? 2 : 6)); i > 0; --i) {
      // Programs that belong together also share parameters.
      TypedParameter parameter =
          !known_.empty() && random_.chance(0.25)
              ? random_.pick(known_)
              : TypedParameter{shared.empty() ? name_beside(siblings, 2) : shared + word(),
                               argument_type(), true};
      parameter.is_required = random_.chance(0.75);
      if (!is_usable(parameter.name, siblings)) continue;
      known_.push_back(parameter);
      siblings.push_back(parameter.name);
      properties[parameter.name] = schema_of(parameter.type);
      if (parameter.is_required) required.push_back(parameter.name);
      parameters.push_back(std::move(parameter));
    }
    tool.parameters = {{"type", "object"}, {"properties", properties}, {"required", required}};
    out_.tools.push_back(std::move(tool));
  }

  // --- tasks ---

  string result() {
    if (random_.chance(0.15)) return "{\"status\": \"ok\"}";
    if (random_.chance(0.1)) return "None";
    if (random_.chance(0.15)) return "ok";
    Json out = Json::object();
    for (int i = random_.between(1, random_.between(1, is_terse_ ? 2 : 5)); i > 0; --i) {
      out[name(2)] = value(argument_type());
    }
    return out.dump();
  }

  // `before`: a call of the same tool, from which some arguments are taken.
  TaskCall call(std::size_t index, const TaskCall* before) {
    const ToolSpec& tool = out_.tools[index];
    TaskCall out;
    out.tool = tool.name;
    for (const TypedParameter& parameter : parameters_[index]) {
      if (!parameter.is_required && random_.chance(0.5)) continue;
      Json given = value(parameter.type);
      if (before && random_.chance(0.35)) {
        const auto at = std::ranges::find(before->arguments, parameter.name, &TaskArgument::name);
        if (at != before->arguments.end()) given = at->value;
      }
      out.arguments.push_back(
          {.name = parameter.name, .value = std::move(given), .from = std::nullopt});
    }
    out.result = {Outcome::returned, result()};
    const double ms = to_ms(Time(tool.estimate)) * random_.log_uniform(0.5, 2.0);
    out.duration = from_ms(std::clamp(ms, 1.0, 1000.0));
    return out;
  }

  // Chains of calls side by side. A call that goes on with one often needs the end of others too:
  // to know when the last of several has come is the hard part.
  void add_chains(Task& task, std::optional<std::size_t> asked_by) {
    const bool is_parallel = !is_terse_ && random_.chance(0.3);
    const std::size_t same_tool = index();
    std::vector<std::size_t> ends;  // of the chains before
    int left = asked_by    ? random_.between(1, 3)
               : is_terse_ ? random_.between(4, 11)
                           : random_.between(1, random_.between(2, 10));
    while (left > 0) {
      int length = is_parallel ? 1 : random_.between(1, std::min(left, 4));
      left -= length;
      std::optional<std::size_t> previous;
      for (int i = 0; i < length; ++i) {
        const std::size_t tool = is_parallel && random_.chance(0.8) ? same_tool : index();
        const auto last = std::ranges::find(task.calls.rbegin(), task.calls.rend(),
                                            out_.tools[tool].name, &TaskCall::tool);
        TaskCall one = call(tool, last == task.calls.rend() ? nullptr : &*last);
        // Two calls that are the same could not be told apart.
        const auto [at, is_new] = codes_.insert(format_call(one.tool, arguments_of(one)));
        if (!is_new) continue;
        if (previous) {
          one.after.push_back(*previous);
          for (double more = 0.6; !ends.empty() && random_.chance(more); more /= 2) {
            one.after.push_back(random_.pick(ends));
          }
          std::ranges::sort(one.after);
          const auto repeated = std::ranges::unique(one.after);
          one.after.erase(repeated.begin(), repeated.end());
        }
        one.asked_by = asked_by;
        previous = task.calls.size();
        task.calls.push_back(std::move(one));
      }
      if (previous) ends.push_back(*previous);
    }
  }

  std::size_t index() { return random_.next() % out_.tools.size(); }

  Task task() {
    Task out;
    add_chains(out, std::nullopt);
    const int texts = !is_terse_ && random_.chance(0.4) ? 3 : 1;
    for (int i = 1; i <= texts; ++i) {
      if (i > 1) out.user += "\n";
      if (texts > 1) out.user += std::format("Task {}: ", i);
      out.user += sentence(is_terse_ ? 6 : random_.between(5, 25));
    }
    for (int i = random_.chance(0.15) ? random_.between(1, 2) : 0; i > 0; --i) {
      Time at = from_ms(random_.log_uniform(30, 800));
      if (!out.interruptions.empty()) at += out.interruptions.back().at;
      add_chains(out, out.interruptions.size());
      out.interruptions.push_back({.at = at, .text = sentence(15)});
    }
    return out;
  }

  const WordList& words_;
  Random& random_;
  bool is_terse_;
  TaskSequence out_;
  std::vector<std::vector<TypedParameter>> parameters_;  // of the tools
  string belongs_;  // the beginning of descriptions, if they have one
  std::vector<string> tool_names_;
  std::vector<TypedParameter> known_;  // of all tools
  std::vector<string> texts_;          // values that came before
  std::vector<int> integers_;
  std::unordered_set<string> codes_;  // of the calls
};

}  // namespace

TaskSequence make_dictated_tasks(const WordList& words, Random& random, DictatedLists lists) {
  return DictatedTasks(words, random, lists).sequence();
}

}  // namespace asynclm
