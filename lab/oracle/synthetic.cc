// SPDX-License-Identifier: Apache-2.0
#include "oracle/synthetic.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <format>
#include <fstream>
#include <numeric>
#include <span>
#include <string_view>
#include <unordered_set>

#include "oracle/dictated.h"

namespace asynclm {
namespace {

using std::string;
using std::string_view;

// Words of everyday tool lists. They are mixed with random words: the common ones give a model
// some English, the random ones keep it reading.
constexpr auto kCommonVerbs = std::to_array<string_view>(
    {"find",  "get",    "compute", "count", "list",    "read",   "check",  "measure", "fetch",
     "show",  "search", "look",    "test",  "convert", "load",   "open",   "send",    "create",
     "build", "sort",   "merge",   "copy",  "move",    "delete", "update", "print",   "scan",
     "parse", "sum",    "rank",    "book",  "order",   "play",   "start",  "stop",    "rename"});
constexpr auto kCommonNouns = std::to_array<string_view>(
    {"file",   "files",  "line",  "words",   "size",    "name",   "weather", "price",  "user",
     "users",  "page",   "pages", "city",    "time",    "date",   "order",   "orders", "image",
     "report", "table",  "row",   "rows",    "letter",  "number", "numbers", "value",  "total",
     "length", "weight", "color", "address", "country", "mail",   "message", "task",   "tasks",
     "memory", "disk",   "usage", "process", "status",  "log",    "version", "key",    "index",
     "folder", "sum",    "hash",  "digest",  "code",    "symbol", "header",  "symbols"});
// Descriptions may say more exactly what is meant.
constexpr auto kAdjectives = std::to_array<string_view>(
    {"largest", "smallest", "first", "last", "total", "newest", "oldest", "average", "current",
     "longest", "shortest", "main", "local", "next", "free", "full"});
constexpr auto kTextParameters = std::to_array<string_view>(
    {"path", "name", "file", "folder", "city", "text", "key", "user", "title", "query", "id"});
constexpr auto kNumberParameters = std::to_array<string_view>(
    {"limit", "count", "size", "depth", "number", "year", "days", "amount", "level", "max"});
constexpr auto kPrepositions =
    std::to_array<string_view>({"of", "in", "for", "from", "at", "with", "to", "under", "below"});
constexpr auto kExtensions =
    std::to_array<string_view>({"txt", "md", "cc", "h", "py", "json", "csv", "log", "html"});

// The demonstration's tools (demo/tools.json) stay unseen.
constexpr auto kNeverNames = std::to_array<string_view>(
    {"count_lines", "largest_file", "disk_usage", "checksum", "count_primes"});

enum class ValueKind : std::uint8_t { word, name, phrase, path, file, code, integer, real };

constexpr std::size_t kFewestWords = 100;  // of a word list

struct Parameter {
  string name;
  ValueKind kind;  // of the values that the task gives it
  [[nodiscard]] string_view type() const {
    return kind == ValueKind::integer ? "integer" : kind == ValueKind::real ? "number" : "string";
  }
};

struct Tool {
  string name, verb, noun, description, preposition;
  std::vector<Parameter> parameters;
  ValueKind result;
  int estimate_ms;
};

string capitalised(string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(text[0]));
  return text;
}

string upper_case(string text) {
  std::ranges::transform(text, text.begin(), ::toupper);
  return text;
}

// What the tasks of a level have. Shares are of 0 to 1.
struct Traits {
  bool is_single = false;  // a task is one call with one argument; each tool has its task
  bool is_dense = false;   // many tools and calls

  // That come again.
  double verbs = 0.2;    // of tools
  double values = 0.12;  // of arguments
  double folders = 0;    // of paths
  double tools = 0.12;   // of calls, while others have never been asked for

  double texts = 0, only_texts = 0;  // to be written beside calls, or alone
  double failures = 0, mistakes = 0;

  double chained = 0;   // calls that go on with the one before
  double ordered = 0;   // of these, not with its result but after it
  double parts = 0.15;  // of the others, with one of several values of its result
  int most_values = 2;  // of such a result

  bool is_interrupted = false;  // the user speaks again, asks for a retry, or for what no tool does
  bool has_wishes = false;      // when to be told; and tools tell parts of their results
};

constexpr Traits traits_of(int level) {
  Traits out;
  out.is_single = level == 1;
  if (level >= 2) {
    out.texts = 0.2;
    out.only_texts = 0.03;
  }
  if (level >= 3) {
    out.failures = 0.08;
    out.mistakes = 0.05;
    out.chained = 0.35;
  }
  if (level == 4 || level == kDataFlowLevel) {
    out.is_dense = true;
    out.verbs = 0.4;
    out.values = 0.3;
    out.folders = 0.15;
    out.chained = 0.5;
  }
  if (level == kDataFlowLevel) {
    out.tools = 0.25;
    out.parts = 0.6;
    out.most_values = 4;
  }
  out.is_interrupted = level == 5 || level == 7;
  if (level == 7) {
    out.has_wishes = true;
    out.ordered = 0.4;
  }
  return out;
}

class Generator {
 public:
  Generator(const WordList& words, int level, Random& random)
      : words_(words), level_(traits_of(level)), random_(random) {}

  TaskSequence sequence() {
    const int count = level_.is_dense ? random_.between(3, 6)
                                      : std::max(random_.between(1, 6), random_.between(1, 6));
    while (static_cast<int>(tools_.size()) < count) add_tool();
    TaskSequence result;
    for (const Tool& tool : tools_) result.tools.push_back(spec(tool));
    unasked_.resize(tools_.size());
    std::iota(unasked_.begin(), unasked_.end(), size_t{0});
    random_.shuffle(std::span(unasked_));
    // Several tasks over one list: more choices of a tool for the same prompt.
    const int tasks = level_.is_single ? count + random_.between(0, 2) : random_.between(1, 3);
    for (int i = 0; i < tasks; ++i) result.tasks.push_back(task());
    return result;
  }

 private:
  // Draws only where it may: a level that has no such thing is the same as before there was one.
  bool happens(double share) { return share > 0 && random_.chance(share); }

  // --- names and values ---

  template <class Common>
  string word(const Common& common, double share_common) {
    return random_.chance(share_common) ? string(random_.pick(common)) : words_.pick(random_);
  }

  Json value(ValueKind kind) {
    switch (kind) {
      case ValueKind::word:
        return words_.pick(random_);
      case ValueKind::name: {
        string name = words_.pick(random_);
        if (random_.chance(0.2)) return upper_case(name);
        return capitalised(name);
      }
      case ValueKind::phrase:
        return words_.pick(random_) + " " + words_.pick(random_);
      case ValueKind::path: {
        string path = words_.pick(random_);
        for (int i = random_.between(0, level_.is_dense ? 2 : 1); i > 0; --i) {
          // A folder often has the name of what is in it.
          const bool repeats = happens(level_.folders);
          path += "/" + (repeats ? path.substr(path.rfind('/') + 1) : words_.pick(random_));
        }
        if (random_.chance(0.6)) path += "." + string(random_.pick(kExtensions));
        return path;
      }
      case ValueKind::file: {
        string stem = words_.pick(random_);
        if (random_.chance(0.3)) stem += "_" + words_.pick(random_);
        if (random_.chance(0.2)) stem = upper_case(stem);
        return stem + "." + string(random_.pick(kExtensions));
      }
      case ValueKind::code:
        return code();
      case ValueKind::integer:
        return integer();
      case ValueKind::real:
        return Json::parse(std::format("{}.{}", random_.between(0, 999), random_.between(1, 99)));
    }
    return nullptr;
  }

  // People ask several things about one file: now and then an earlier value comes again.
  Json argument_value(const Task& task, const Tool& tool, ValueKind kind) {
    if (happens(level_.values) && !std::ranges::contains(task.calls, tool.name, &TaskCall::tool)) {
      for (const auto& [said_kind, said] : said_) {
        if (said_kind == kind) return said;
      }
    }
    return said_.emplace_back(kind, value(kind)).second;
  }

  int integer() {
    constexpr std::array kBounds = {10, 100, 1000, 10'000, 100'000, 1'000'000};
    // Equal digits in a row are hard to copy: each looks as if it were the one before.
    if (random_.chance(0.25)) {
      string digits(random_.between(1, 3), static_cast<char>('0' + random_.between(1, 9)));
      digits.append(random_.between(1, 5), random_.chance(0.8) ? '0' : '1');
      return std::stoi(digits);
    }
    const int number = random_.between(1, random_.pick(kBounds));
    return number > 100 && random_.chance(0.4) ? number / 100 * 100 : number;
  }

  string code() {
    constexpr string_view kHex = "0123456789abcdef";
    string out;
    if (random_.chance(0.4)) {
      out = words_.pick(random_) + "-" + std::to_string(random_.between(1, 9999));
    } else {
      for (int i = random_.between(4, 12); i > 0; --i) out += random_.pick(kHex);
    }
    return out;
  }

  ValueKind value_kind() {
    constexpr std::array kKinds = {ValueKind::word, ValueKind::name,    ValueKind::phrase,
                                   ValueKind::path, ValueKind::path,    ValueKind::file,
                                   ValueKind::file, ValueKind::integer, ValueKind::integer,
                                   ValueKind::code, ValueKind::real};
    return random_.pick(kKinds);
  }

  // --- tools ---

  void add_tool() {
    Tool tool;
    // Tools that share a verb are told apart by the rest.
    tool.verb = !tools_.empty() && happens(level_.verbs) ? random_.pick(tools_).verb
                                                         : word(kCommonVerbs, 0.4);
    tool.noun = word(kCommonNouns, 0.3);
    if (random_.chance(0.25)) {
      tool.noun = word(kAdjectives, 0.6) + " " + tool.noun;
    }
    string joined = tool.noun;
    std::ranges::replace(joined, ' ', '_');
    const double style = random_.uniform();
    const bool has_verb = style < 0.55 || style >= 0.75, has_noun = style < 0.93;
    if (style < 0.55) {
      tool.name = tool.verb + "_" + joined;
    } else if (style < 0.75) {
      tool.name = joined;
    } else if (style < 0.85) {
      tool.name = joined + "_" + tool.verb;
    } else if (style < 0.93) {
      tool.name = tool.verb;
      for (size_t i = 0, begin = 0; i <= joined.size(); ++i) {
        if (i == joined.size() || joined[i] == '_') {
          tool.name += capitalised(joined.substr(begin, i - begin));
          begin = i + 1;
        }
      }
    } else {
      tool.name = tool.verb;
    }
    if (std::ranges::find(kNeverNames, tool.name) != kNeverNames.end()) return;
    // What is made of common words alone may have been in training.
    const bool is_common = (!has_verb || std::ranges::contains(kCommonVerbs, tool.verb)) &&
                           (!has_noun || is_common_noun(tool.noun));
    if (words_.split() != Split::train && is_common) return;
    if (!used_.insert(tool.name).second || !used_.insert(tool.noun).second) return;

    const int parameters = level_.is_single || random_.chance(0.85) ? 1 : 2;
    std::unordered_set<string> names;
    while (static_cast<int>(tool.parameters.size()) < parameters) {
      const ValueKind kind = value_kind();
      const bool number = kind == ValueKind::integer || kind == ValueKind::real;
      string name = number ? word(kNumberParameters, 0.6) : word(kTextParameters, 0.6);
      if (names.insert(name).second) tool.parameters.push_back({std::move(name), kind});
    }
    tool.preposition = random_.pick(kPrepositions);
    tool.description = describe(tool);
    tool.result = value_kind();
    tool.estimate_ms = static_cast<int>(random_.log_uniform(10, 5000));
    tools_.push_back(std::move(tool));
  }

  // Of one word, or an adjective and one.
  static bool is_common_noun(string_view noun) {
    const auto space = noun.find(' ');
    return std::ranges::contains(kCommonNouns, noun.substr(space + 1)) &&
           (space == string_view::npos ||
            std::ranges::contains(kAdjectives, noun.substr(0, space)));
  }

  string describe(const Tool& tool) {
    const string& parameter = tool.parameters.front().name;
    const string article = random_.chance(0.5) ? "a" : "the";
    switch (random_.between(0, 4)) {
      case 0:
        return tool.verb + " " + tool.noun;
      case 1:
        return tool.verb + " the " + tool.noun;
      case 2:
        return std::format("{} {} {} a {}", tool.verb, tool.noun, tool.preposition,
                           words_.pick(random_));
      default:
        return std::format("{} the {} {} {} {}", tool.verb, tool.noun, tool.preposition, article,
                           parameter);
    }
  }

  ToolSpec spec(const Tool& tool) {
    ToolSpec out;
    out.name = tool.name;
    out.description = tool.description;
    out.estimate = std::chrono::milliseconds(tool.estimate_ms);
    Json properties = Json::object();
    Json required = Json::array();
    for (const Parameter& parameter : tool.parameters) {
      properties[parameter.name] = {{"type", parameter.type()}};
      required.push_back(parameter.name);
    }
    out.parameters = {{"type", "object"}, {"properties", properties}, {"required", required}};
    return out;
  }

  // --- what tools return ---

  CallResult result(const Tool& tool, const Parameter* feeds) {
    if (happens(level_.failures)) return failure();
    const ValueKind kind = feeds ? feeds->kind : tool.result;
    const Json v = value(kind);
    string text = v.is_string() ? v.get<string>() : v.dump();
    if (!feeds && random_.chance(0.12)) {
      switch (random_.between(0, 3)) {
        case 0:
          text += " " + words_.pick(random_);
          break;
        case 1:
          text = std::format("{{\"{}\": {}}}", words_.pick(random_), v.dump());
          break;
        case 2:
          text = std::format("{}={}", words_.pick(random_), text);
          break;
        default:
          text = random_.chance(0.5) ? "ok" : "done";
          break;
      }
    }
    return {Outcome::returned, std::move(text)};
  }

  // A call that the session rejects: no such tool, or not its parameters.
  string mistake(const Tool& tool) {
    const string text = value(ValueKind::path).get<string>();
    if (random_.chance(0.5)) {
      const string name = random_.chance(0.5) ? tool.name + "_" + words_.pick(random_)
                                              : words_.pick(random_) + "_" + words_.pick(random_);
      if (std::ranges::contains(tools_, name, &Tool::name)) return {};
      return std::format("{}({}=\"{}\")", name, tool.parameters.front().name, text);
    }
    if (tool.parameters.front().type() != "string" && random_.chance(0.5)) {
      return std::format("{}({}=\"{}\")", tool.name, tool.parameters.front().name, text);
    }
    return std::format("{}({}_{}=\"{}\")", tool.name, tool.parameters.front().name,
                       words_.pick(random_), text);
  }

  CallResult failure() {
    switch (random_.between(0, 5)) {
      case 0:
        return {Outcome::timed_out, std::format("no result after {} ms", integer())};
      case 1:
        return {Outcome::failed, std::format("exit status {}: {} {}", random_.between(1, 127),
                                             words_.pick(random_), words_.pick(random_))};
      case 2:
        return {Outcome::failed,
                std::format("no such {}: {}", words_.pick(random_), words_.pick(random_))};
      case 3:
        return {Outcome::failed, "killed by signal 11 (SIGSEGV)"};
      case 4:
        return {Outcome::failed, std::format("output exceeds {} bytes", integer())};
      default:
        return {Outcome::failed,
                words_.pick(random_) + " " + words_.pick(random_) + " " + words_.pick(random_)};
    }
  }

  Time duration(const Tool& tool) {
    // Half to twice the estimate, and a second at most, so that samples stay short: estimates above
    // half a second are too long more often than not.
    const double noise = random_.log_uniform(0.5, 2.0);
    return from_ms(std::min(1000.0, tool.estimate_ms * noise));
  }

  // --- tasks ---

  Task task() {
    Task out;
    if (happens(level_.only_texts)) {
      out.say = phrase();
      out.user = std::format("{}rite: {}{}", random_.chance(0.5) ? "W" : "Please w", out.say,
                             random_.chance(0.5) ? "." : "");
      return out;
    }
    said_.clear();
    int calls = level_.is_single  ? 1
                : level_.is_dense ? random_.between(2, 5)
                                  : random_.between(1, random_.chance(0.5) ? 5 : 3);
    // Calls that differ in nothing but a value are few in life.
    calls = std::min(calls, static_cast<int>(tools_.size()) + 1);
    // Mostly each tool once: which tool is meant a second time stands in the conversation, and
    // nothing is learned of the tool list.
    const auto next_tool = [&]() -> const Tool& {
      if (unasked_.empty() || happens(level_.tools)) return random_.pick(tools_);
      const size_t tool = unasked_.back();
      unasked_.pop_back();
      return tools_[tool];
    };
    std::vector<string> parts;
    while (calls > 0) {
      const Tool& tool = next_tool();
      string part = clause(out, tool, std::nullopt, nullptr);
      --calls;
      while (calls > 0 && happens(level_.chained)) {
        const Tool& next = next_tool();
        part += happens(level_.ordered) ? ordered(out, next) : chained(out, next);
        --calls;
      }
      parts.push_back(std::move(part));
    }
    if (happens(level_.texts)) {
      out.say = phrase();
      constexpr auto kAsk = std::to_array<string_view>(
          {"meanwhile write: ", "also write: ", "while you wait write: ", "say: ", "write: "});
      parts.push_back(string(random_.pick(kAsk)) + out.say);
    }
    if (level_.is_interrupted) {
      if (random_.chance(0.2)) ask_for_retry(out, parts);
      if (random_.chance(0.2)) parts.push_back(impossible(out));
      if (level_.has_wishes) ask_when_to_report(out, parts);
      for (int i = random_.between(0, 2); i > 0; --i) interrupt(out);
    }
    if (level_.has_wishes) add_result_parts(out);
    out.user = join(parts);
    return out;
  }

  // --- what the user says while the model is at work ---

  // "try again if it fails": of the last call, where nothing needs it and it needs nothing.
  void ask_for_retry(Task& task, std::vector<string>& parts) {
    const std::size_t last = task.calls.size() - 1;
    if (parts.empty() || !stands_alone(task, last) || !task.calls[last].mistake.empty()) return;
    constexpr auto kAgain = std::to_array<string_view>(
        {" (try again if it fails)", " and try again if that fails", ", once more if it fails"});
    // What was said last may be text to write.
    (task.say.empty() ? parts.back() : parts[parts.size() - 2]) += random_.pick(kAgain);
    TaskCall again = task.calls[last];
    if (random_.chance(0.5)) task.calls[last].result = failure();
    again.retry_of = last;
    again.duration = duration(tool_of(again));
    again.result = result(tool_of(again), nullptr);
    task.calls.push_back(std::move(again));
  }

  // "tell me when all of it is done", "tell me as soon as the size or the weather is there".
  void ask_when_to_report(Task& task, std::vector<string>& parts) {
    const double kind = random_.uniform();
    if (kind < 0.25) {
      constexpr auto kTogether = std::to_array<string_view>(
          {"tell me when all of it is done", "report only when everything is there",
           "I want all results together", "answer when you have all of them"});
      task.together = true;
      parts.emplace_back(random_.pick(kTogether));
    }
    if (kind < 0.25 || kind > 0.6) return;
    std::vector<std::size_t> alone;
    for (std::size_t i = 0; i < task.calls.size(); ++i) {
      const TaskCall& call = task.calls[i];
      if (!call.retry_of && stands_alone(task, i)) alone.push_back(i);
    }
    random_.shuffle(std::span(alone));
    // With less there is nothing else to wait for, or nothing to choose from.
    if (alone.size() < 2 || task.calls.size() < 3) return;
    const auto noun = [&](std::size_t i) { return tool_of(task.calls[i]).noun; };
    if (noun(alone[0]) == noun(alone[1])) return;
    task.first = {alone[0], alone[1]};
    parts.push_back(std::format("tell me as soon as {}the {} or the {} is there",
                                random_.chance(0.5) ? "either " : "", noun(alone[0]),
                                noun(alone[1])));
  }

  // "30 %", "reading tabor", while the call runs.
  void add_result_parts(Task& task) {
    for (TaskCall& call : task.calls) {
      if (call.tool.empty() || !random_.chance(0.35)) continue;
      const bool is_share = random_.chance(0.5);
      const int count = random_.between(1, 3);
      for (int i = 1; i <= count; ++i) {
        string text = is_share ? std::format("{} %", 100 * i / (count + 1) + random_.between(-9, 9))
                               : words_.pick(random_) + " " + spoken(value(value_kind()));
        call.parts.push_back({.at = call.duration * i / (count + 1), .text = std::move(text)});
      }
    }
  }

  // A clause that no tool of the list is for.
  string impossible(Task& task) {
    const string verb = word(kCommonVerbs, 0.4);
    string noun = word(kCommonNouns, 0.3);
    while (used_.contains(noun) || used_.contains(verb + "_" + noun)) noun = words_.pick(random_);
    TaskCall call;
    call.label = verb + "_" + noun;
    const string text = std::format("{} the {} {} {}", verb, noun, random_.pick(kPrepositions),
                                    spoken(value(value_kind())));
    task.calls.push_back(std::move(call));
    return text;
  }

  void interrupt(Task& task) {
    const std::size_t number = task.interruptions.size();
    string text;
    const double kind = random_.uniform();
    if (kind < 0.3) text = withdraw(task, number);
    if (kind >= 0.3 && kind < 0.6) text = correct(task, number);
    if (text.empty()) text = ask_more(task, number);
    Time at = from_ms(random_.log_uniform(30, 1500));
    if (number > 0) at += task.interruptions.back().at;
    task.interruptions.push_back({.at = at, .text = std::move(text)});
  }

  string ask_more(Task& task, std::size_t number) {
    constexpr auto kMore = std::to_array<string_view>(
        {"", "also ", "please also ", "and ", "one more thing: ", "oh, and "});
    const std::size_t first = task.calls.size();
    string text =
        string(random_.pick(kMore)) + clause(task, random_.pick(tools_), std::nullopt, nullptr);
    for (std::size_t i = first; i < task.calls.size(); ++i) task.calls[i].asked_by = number;
    return sentence(std::move(text));
  }

  // Empty where there is nothing that can be withdrawn.
  string withdraw(Task& task, std::size_t number) {
    const auto index = withdrawable(task);
    if (!index) return {};
    TaskCall& call = task.calls[*index];
    call.withdrawn_by = number;
    constexpr auto kSpoken =
        std::to_array<string_view>({"never mind ", "forget about ", "no need for ", "skip "});
    return sentence(std::format("{}the {} {} {}", random_.pick(kSpoken), tool_of(call).noun,
                                random_.pick(kPrepositions), spoken(call.arguments.front().value)));
  }

  string correct(Task& task, std::size_t number) {
    const auto index = withdrawable(task);
    if (!index) return {};
    TaskCall corrected = task.calls[*index];
    const Tool& tool = tool_of(corrected);
    const string before = spoken(corrected.arguments.front().value);
    corrected.arguments.front().value = value(tool.parameters.front().kind);
    if (corrected.arguments.front().value == task.calls[*index].arguments.front().value) return {};
    const string now = spoken(corrected.arguments.front().value);
    corrected.result = result(tool, nullptr);
    corrected.duration = duration(tool);
    corrected.mistake.clear();
    corrected.asked_by = number;
    task.calls[*index].withdrawn_by = number;
    if (std::ranges::contains(task.first, *index)) task.first.push_back(task.calls.size());
    task.calls.push_back(std::move(corrected));
    switch (random_.between(0, 3)) {
      case 0:
        return sentence(std::format("I meant {} instead of {}", now, before));
      case 1:
        return sentence(std::format("not {} but {}", before, now));
      case 2:
        return sentence(std::format("use {}, not {}", now, before));
      default:
        return sentence(std::format("sorry, the {} {} {} instead of {}", tool.noun,
                                    tool.preposition, now, before));
    }
  }

  // A call that nothing else hangs on, and whose first value says which one is meant.
  std::optional<std::size_t> withdrawable(const Task& task) {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < task.calls.size(); ++i) {
      const TaskCall& call = task.calls[i];
      if (call.tool.empty() || call.withdrawn_by || call.asked_by || call.retry_of) continue;
      if (!stands_alone(task, i)) continue;
      const Json& value = call.arguments.front().value;
      const auto same = [&](const TaskCall& other) {
        return std::ranges::contains(other.arguments, value, &TaskArgument::value);
      };
      if (std::ranges::count_if(task.calls, same) == 1) found.push_back(i);
    }
    if (found.empty()) return std::nullopt;
    return random_.pick(found);
  }

  // Whether the call needs no other, and no other needs it.
  static bool stands_alone(const Task& task, std::size_t index) {
    const auto needs = [](const TaskCall& call, std::size_t other) {
      return call.retry_of == other || std::ranges::contains(call.after, other) ||
             std::ranges::contains(call.arguments, std::optional(other), &TaskArgument::from);
    };
    const TaskCall& call = task.calls[index];
    return !call.tool.empty() && call.after.empty() &&
           std::ranges::none_of(call.arguments, [](const auto& a) { return a.from.has_value(); }) &&
           std::ranges::none_of(task.calls, [&](const auto& other) { return needs(other, index); });
  }

  const Tool& tool_of(const TaskCall& call) const {
    return *std::ranges::find(tools_, call.tool, &Tool::name);
  }

  string sentence(string text) {
    constexpr auto kEnd = std::to_array<string_view>({".", ".", "", "!"});
    text += random_.pick(kEnd);
    return random_.chance(kCapitalised) ? capitalised(text) : text;
  }

  string phrase() {
    string text = words_.pick(random_);
    for (int i = random_.between(1, 4); i > 0; --i) text += " " + words_.pick(random_);
    return text;
  }

  string spoken(const Json& v) {
    string text = v.is_string() ? v.get<string>() : v.dump();
    return v.is_string() && random_.chance(0.12) ? "\"" + text + "\"" : text;
  }

  // "count the lines of README.md with depth 3"; records the call.
  string clause(Task& task, const Tool& tool, std::optional<std::size_t> from,
                const string* reference) {
    TaskCall call;
    call.tool = tool.name;
    string object;
    string extra;
    for (size_t i = 0; i < tool.parameters.size(); ++i) {
      const Parameter& parameter = tool.parameters[i];
      TaskArgument argument{.name = parameter.name, .value = nullptr, .from = {}};
      if (i == 0 && from) {
        argument.from = from;
        object = *reference;
      } else {
        argument.value = argument_value(task, tool, parameter.kind);
        if (i == 0) {
          object = spoken(argument.value);
        } else {
          constexpr auto kWith = std::to_array<string_view>({" with ", " and ", " using "});
          extra += string(random_.pick(kWith)) + parameter.name + " " + spoken(argument.value);
        }
      }
      call.arguments.push_back(std::move(argument));
    }
    call.duration = duration(tool);
    call.result = result(tool, nullptr);
    if (happens(level_.mistakes)) call.mistake = mistake(tool);
    const double style = random_.uniform();
    // As the user names it.
    call.label = style < kHasNoVerb      ? tool.verb + "_" + tool.noun
                 : style < kNamesTheTool ? tool.noun
                                         : tool.name;
    std::ranges::replace(call.label, ' ', '_');
    task.calls.push_back(std::move(call));
    return words_for(tool, object, style) + extra;
  }

  // From this style on the clause has no verb, or the tool's name and maybe nothing else of it.
  static constexpr double kHasNoVerb = 0.70, kNamesTheTool = 0.78;

  string words_for(const Tool& tool, const string& object, double style) {
    if (style < 0.60) {
      const string preposition =
          random_.chance(0.6) ? tool.preposition : string(random_.pick(kPrepositions));
      return std::format("{} the {} {} {}", tool.verb, tool.noun, preposition, object);
    }
    if (style < kHasNoVerb) return std::format("{} {} {}", tool.verb, tool.noun, object);
    if (style < kNamesTheTool)
      return std::format("the {} {} {}", tool.noun, tool.preposition, object);
    if (style < 0.87)
      return std::format("{} {} {}", tool.name, random_.chance(0.5) ? "on" : "with", object);
    if (style < 0.94) {
      return std::format("run {} with {} {}", tool.name, tool.parameters.front().name, object);
    }
    return std::format("use {} to {} the {} {} {}", tool.name, tool.verb, tool.noun,
                       tool.preposition, object);
  }

  // ", and once that is done read the mail": the last call has to have succeeded.
  string ordered(Task& task, const Tool& next) {
    constexpr auto kThen = std::to_array<string_view>(
        {", and once that is done ", ", and when that is done ", ", but only after that "});
    const std::size_t before = task.calls.size() - 1;
    const string then(random_.pick(kThen));
    string text = then + clause(task, next, std::nullopt, nullptr);
    task.calls.back().after = {before};
    return text;
  }

  // ", then compute the hash of the result": the last call's result is the first argument.
  string chained(Task& task, const Tool& next) {
    const std::size_t from = task.calls.size() - 1;
    const Tool& previous = tool_of(task.calls[from]);
    // The earlier call now has to return what the later one takes. Some fail all the same.
    task.calls[from].result = result(previous, &next.parameters.front());
    if (task.calls[from].result.outcome == Outcome::returned && happens(level_.parts)) {
      return chained_part(task, next, from);
    }
    const std::array<string, 5> references = {"the result", "the result", "its result", "it",
                                              "that " + previous.noun};
    const string reference = random_.pick(references);
    constexpr auto kThen =
        std::to_array<string_view>({", then ", " and then ", ", and then ", " and from that "});
    const string then(random_.pick(kThen));
    if (random_.chance(0.15)) {
      const string it = "it";
      return then + "use the result to " + clause(task, next, from, &it);
    }
    return then + clause(task, next, from, &reference);
  }

  // ", then compute the hash of the name of the result": of a result with several values, one.
  string chained_part(Task& task, const Tool& next, std::size_t from) {
    const ValueKind kind = next.parameters.front().kind;
    const int values = level_.most_values > 2 ? random_.between(2, level_.most_values) : 2;
    const auto wanted = static_cast<int>(random_.next() % static_cast<std::uint64_t>(values));
    Json result = Json::object();
    string key;
    Json part;
    for (int i = 0; i < values; ++i) {
      string one = word(kTextParameters, 0.5);
      while (result.contains(one)) one = words_.pick(random_);
      result[one] = value(i == wanted || random_.chance(0.5) ? kind : value_kind());
      if (i == wanted) {
        key = one;
        part = result[one];
      }
    }
    task.calls[from].result.text = result.dump();
    const std::array<string, 3> references = {std::format("the {} of the result", key),
                                              "its " + key, "the " + key + " it gives"};
    const string reference = random_.pick(references);
    string text = ", then " + clause(task, next, from, &reference);
    TaskArgument& argument = task.calls.back().arguments.front();
    argument.value = std::move(part);
    argument.path = "." + key;
    return text;
  }

  // A capitalised word is other tokens than the same word in the tool list, which is hard to
  // learn: some sentences have one, most do not, so that little of the training goes into it.
  static constexpr double kCapitalised = 0.35;

  string join(std::vector<string>& parts) {
    constexpr auto kBefore = std::to_array<string_view>(
        {"", "", "", "please ", "can you ", "I need you to ", "do this: ", "I want this: "});
    constexpr auto kAfter = std::to_array<string_view>({".", ".", ".", "", "?", ". Thanks.", "!"});
    string text(random_.pick(kBefore));
    const int style = random_.between(0, 3);
    for (size_t i = 0; i < parts.size(); ++i) {
      if (i > 0) {
        const bool last = i + 1 == parts.size();
        switch (style) {
          case 0:
            text += last ? ", and " : ", ";
            break;
          case 1:
            text += last ? " and " : ", ";
            break;
          case 2:
            text += "; ";
            break;
          default:
            text += ". ";
            parts[i] = random_.chance(kCapitalised) ? capitalised(parts[i]) : parts[i];
        }
      }
      text += parts[i];
    }
    text += random_.pick(kAfter);
    return random_.chance(kCapitalised) ? capitalised(text) : text;
  }

  const WordList& words_;
  Traits level_;
  Random& random_;
  std::vector<Tool> tools_;
  std::unordered_set<string> used_;
  std::vector<std::size_t> unasked_;              // tools that no task has asked for yet
  std::vector<std::pair<ValueKind, Json>> said_;  // argument values of the task so far
};

// FNV-1a: the split must be the same everywhere and for ever.
std::uint64_t hash_word(string_view word) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : word) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return hash ^ (hash >> 32);
}

bool in_split(string_view word, Split split) {
  // One word in eight is for testing, and one for validation.
  const auto part = hash_word(word) % 8;
  return split == (part == 0 ? Split::test : part == 1 ? Split::validation : Split::train);
}

bool is_lower_case(string_view word) {
  return std::ranges::all_of(word, [](char c) { return c >= 'a' && c <= 'z'; });
}

// Whole characters, none of them a control character.
bool is_text(const string& piece) {
  const string json = Json(piece).dump(-1, ' ', false, Json::error_handler_t::ignore);
  return !piece.empty() && json.size() >= piece.size() + 2 &&
         std::ranges::none_of(piece, [](unsigned char c) { return c < ' ' || c == 0x7F; });
}

}  // namespace

Result<WordList> WordList::load(const std::string& path, Split split) {
  std::ifstream file(path);
  if (!file) {
    return fail(ErrorCode::not_found,
                std::format("cannot read the word list '{}': install the package wamerican or pass "
                            "--words FILE (one word a line)",
                            path));
  }
  WordList list;
  list.split_ = split;
  for (string word; std::getline(file, word);) {
    const bool usable = word.size() >= 3 && word.size() <= 7 && is_lower_case(word);
    if (usable && in_split(word, split)) list.words_.push_back(word);
  }
  if (list.words_.size() < kFewestWords) {
    return fail(ErrorCode::invalid_argument,
                std::format("the word list '{}' has only {} usable words (3 to 7 lower-case "
                            "letters): at least {} are needed",
                            path, list.words_.size(), kFewestWords));
  }
  return list;
}

Result<void> WordList::fit(const Vocabulary& vocabulary) {
  std::vector<string> pieces, texts;
  for (Token token = 0; token < vocabulary.size(); ++token) {
    string piece;
    vocabulary.append_piece(token, piece);
    if (is_text(piece)) texts.push_back(piece);
    if (piece.starts_with(' ')) piece.erase(0, 1);
    if (piece.size() >= 2 && is_lower_case(piece)) pieces.push_back(piece);
  }
  if (split_ == Split::train) {
    pieces_ = std::move(pieces);
    texts_ = std::move(texts);
    return {};
  }
  const std::unordered_set<string> seen(pieces.begin(), pieces.end());
  std::erase_if(words_, [&](const string& word) { return seen.contains(word); });
  if (words_.size() >= kFewestWords) return {};
  return fail(ErrorCode::invalid_argument,
              std::format("the word list has only {} words that are not single tokens of the "
                          "model: at least {} are needed, pass another one (--words)",
                          words_.size(), kFewestWords));
}

string WordList::pick(Random& random) const {
  constexpr std::size_t kLongest = 12;  // ids are made of up to three words, and have 64 bytes
  if (pieces_.empty() || !random.chance(kOfPieces)) return random.pick(words_);
  for (;;) {
    string word;
    const int count = random.between(1, random.between(1, 2));
    for (int i = count; i > 0; --i) word += random.pick(pieces_);
    // A word can be held out, a token cannot: it has to be seen to be known.
    if (word.size() <= kLongest && (count == 1 || in_split(word, split_))) return word;
  }
}

string WordList::pick_piece(Random& random) const {
  return texts_.empty() ? pick(random) : random.pick(texts_);
}

TaskSequence make_tasks(const WordList& words, int level, Random& random) {
  if (level == kDictatedLevel) return make_dictated_tasks(words, random, DictatedLists::varied);
  if (level == kLongListsLevel) {
    return make_dictated_tasks(words, random, DictatedLists::long_and_terse);
  }
  return Generator(words, level, random).sequence();
}

}  // namespace asynclm
