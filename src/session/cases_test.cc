// SPDX-License-Identifier: Apache-2.0
// Runs the protocol cases of tests/cases/*.cml; tests/cases/README.md describes their form.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <format>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/session.h>

#include "cml/test_vocabulary.h"
#include "session/test_session_checker.h"

namespace asynclm {
namespace {

struct Line {
  int number = 0;
  std::string text;
};
struct Case {
  std::string file, name;
  int number = 0;  // of its first line
  std::vector<Line> lines;
};
void PrintTo(const Case& test, std::ostream* out) { *out << test.file << ":" << test.number; }

std::string_view trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// Takes the text up to the first space (or all of it) off the front.
std::string_view take_word(std::string_view& text) {
  text = trim(text);
  const auto end = std::min(text.find(' '), text.size());
  const auto word = text.substr(0, end);
  text = trim(text.substr(end));
  return word;
}

// A line that a case cannot be read or run with; caught by the test, which names file and line.
struct BadLine {
  std::string why;
};

std::int64_t number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    throw BadLine{std::format("'{}' is no number", text)};
  }
  return value;
}

std::vector<Case> load_cases() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(ASYNCLM_SOURCE_DIR "/tests/cases")) {
    if (entry.path().extension() == ".cml") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<Case> cases;
  for (const auto& path : files) {
    std::ifstream file(path);
    int number = 0;
    for (std::string text; std::getline(file, text);) {
      ++number;
      if (text.empty() || text.starts_with('#')) continue;
      std::string_view rest = text;
      if (text.starts_with("case ")) {
        take_word(rest);
        cases.push_back({path.string(), std::string(rest), number, {}});
      } else if (!cases.empty() && cases.back().file == path.string()) {
        cases.back().lines.push_back({number, text});
      } else {
        cases.push_back({path.string(), "a line before the first case", number, {{number, text}}});
      }
    }
  }
  return cases;
}

// The text of a line: \n, \t, \s (space), \\, \xHH; a backslash before anything else goes, so that
// "\[END]" is the five characters and not the marker.
struct Characters {
  std::string text;
  std::vector<bool> escaped;
};
Characters characters(std::string_view line) {
  Characters out;
  for (std::size_t i = 0; i < line.size(); ++i) {
    char c = line[i];
    const bool escape = c == '\\';
    if (escape) {
      if (++i == line.size()) throw BadLine{"a lone backslash at the end"};
      c = line[i];
      if (c == 'n') c = '\n';
      if (c == 't') c = '\t';
      if (c == 's') c = ' ';
      if (c == 'x') {
        int byte = 0;
        std::from_chars(line.data() + i + 1, line.data() + std::min(i + 3, line.size()), byte, 16);
        c = static_cast<char>(byte);
        i += 2;
      }
    }
    out.text += c;
    out.escaped.push_back(escape);
  }
  return out;
}
std::string plain(std::string_view line) { return characters(line).text; }

class Runner {
 public:
  explicit Runner(const Case& test) : case_(test) {}

  void run() {
    for (const Line& line : case_.lines) {
      line_ = line.number;
      try {
        act(line.text);
      } catch (const BadLine& bad) {
        fail(bad.why);
      }
      if (checker_ && !checker_->problem().empty()) fail("broken rule: " + checker_->problem());
      if (::testing::Test::HasFailure()) return;  // what follows would only confuse
    }
    if (!session_ && !refused_) fail("the case does nothing");
    if (!expected_events_checked()) return;
  }

 private:
  // --- words to the reader ---

  void fail(const std::string& what) const {
    ADD_FAILURE_AT(case_.file.c_str(), line_) << "case '" << case_.name << "': " << what;
  }
  void equal(const std::string& what, const std::string& expected, const std::string& actual) {
    if (expected != actual) {
      fail(std::format("{}\n  expected: {}\n  actual:   {}", what, expected, actual));
    }
  }

  // Tokens as a case writes them: control tokens by their spelling, and text that spells one with a
  // backslash.
  std::string shown(std::span<const Token> tokens) const {
    std::string text;  // a byte for each token; control tokens are 0 and the index tells them
    for (const Token token : tokens) {
      text += vocabulary_.is_control(token) ? '\0' : static_cast<char>(token);
    }
    std::string out;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      if (vocabulary_.is_control(tokens[i])) {
        out += vocabulary_.spelling(tokens[i]);
        continue;
      }
      if (spelled_control(std::string_view(text).substr(i)) != kNoToken) out += '\\';
      out += shown(std::string_view(text).substr(i, 1));
    }
    return out;
  }
  static std::string shown(std::string_view text) {
    std::string out;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == '\n') {
        out += "\\n";
      } else if (c == '\\') {
        out += "\\\\";
      } else if (byte < 0x20) {
        out += std::format("\\x{:02x}", byte);
      } else {
        out += c;
      }
    }
    return out;
  }

  Token spelled_control(std::string_view text) const {
    for (Token token = 0; token < vocabulary_.size(); ++token) {
      if (vocabulary_.is_control(token) && text.starts_with(vocabulary_.spelling(token))) {
        return token;
      }
    }
    return kNoToken;
  }

  std::vector<Token> tokens(std::string_view line) const {
    const Characters in = characters(line);
    std::vector<Token> out;
    for (std::size_t i = 0; i < in.text.size();) {
      const Token control =
          in.escaped[i] ? kNoToken : spelled_control(std::string_view(in.text).substr(i));
      out.push_back(control != kNoToken ? control : static_cast<unsigned char>(in.text[i]));
      i += control != kNoToken ? vocabulary_.spelling(control).size() : 1;
    }
    return out;
  }

  // --- lines ---

  void act(std::string_view line) {
    if (line.starts_with("> ")) return expect_event(std::string(line.substr(2)));
    if (!expected_events_checked()) return;
    const auto colon = line.find(": ");
    // "verb words: text"; a line that ends in a colon has an empty text.
    std::string_view head = line.substr(0, colon);
    std::string_view text = colon == std::string_view::npos ? "" : line.substr(colon + 2);
    if (head.ends_with(':')) head.remove_suffix(1);
    const std::string_view verb = take_word(head);
    if (verb == "expect" && head != "refused") {
      start();
      const std::string_view what = take_word(head);
      return expect(what, head, text);
    }
    if (!session_ && set_up(verb, head, text)) return;
    start();
    if (refused_) throw BadLine{"the session was refused: " + *refused_};
    events_ = {};
    event_checks_.clear();
    input(verb, head, text);
  }

  bool set_up(std::string_view verb, std::string_view words, std::string_view text) {
    if (verb == "mode") {
      const auto mode = parse_mode(words);
      if (!mode) throw BadLine{mode.error().message};
      config_.mode = *mode;
    } else if (verb == "constrained" || verb == "fast") {
      config_.constrained = true;
      config_.jump_forward = verb == "fast";
    } else if (verb == "awaits") {
      config_.awaits_messages = true;
    } else if (verb == "tool") {
      add_tool(std::string(words) + (text.empty() ? "" : ": " + std::string(text)));
    } else if (verb == "limit") {
      const auto name = take_word(words);
      const auto value = static_cast<std::int32_t>(number(words));
      if (name == "max_generated") {
        config_.max_generated = value;
      } else if (name == "max_calls") {
        config_.max_calls = value;
      } else if (name == "max_call_tokens") {
        config_.max_call_tokens = value;
      } else if (name == "max_result_bytes") {
        config_.max_result_bytes = value;
      } else if (name == "context") {
        context_beyond_prompt_ = value;
      } else {
        throw BadLine{"unknown limit"};
      }
    } else if (verb == "system" || verb == "user" || verb == "assistant") {
      messages_.push_back({std::string(verb), plain(text)});
    } else if (verb == "expect" && words == "refused") {
      start();
      if (!refused_) throw BadLine{"the session was not refused"};
      if (!refused_->contains(text)) equal("refused", std::string(text), *refused_);
    } else {
      return false;
    }
    return true;
  }

  static Delivery delivery(std::string_view word) {
    const auto parsed = parse_delivery(word);
    if (!parsed) throw BadLine{parsed.error().message};
    return *parsed;
  }

  // get(x: integer, y?: string) 300 ms when_idle
  void add_tool(std::string_view words) {
    const auto open = words.find('(');
    const auto close = words.find(')');
    if (open == std::string_view::npos || close == std::string_view::npos) {
      throw BadLine{"tool NAME(PARAMETER: TYPE, …) ESTIMATE ms"};
    }
    ToolSpec spec;
    spec.name = words.substr(0, open);
    spec.description = "a tool";
    std::string_view list = words.substr(open + 1, close - open - 1);
    while (!list.empty()) {
      const auto end = std::min(list.find(','), list.size());
      std::string_view parameter = list.substr(0, end);
      list = list.substr(std::min(end + 1, list.size()));
      const auto colon = parameter.find(':');
      std::string name(trim(parameter.substr(0, colon)));
      const std::string type(trim(parameter.substr(colon + 1)));
      if (name.ends_with('?')) {
        name.pop_back();
      } else {
        spec.parameters["required"].push_back(name);
      }
      spec.parameters["properties"][name] = type == "any" ? Json::object() : Json{{"type", type}};
    }
    std::string_view estimate = words.substr(close + 1);
    spec.estimate = std::chrono::milliseconds(number(take_word(estimate)));
    estimate = trim(estimate.substr(std::min<std::size_t>(2, estimate.size())));  // "ms"
    if (!estimate.empty()) spec.delivery = delivery(estimate);
    tools_.push_back(std::move(spec));
  }

  void start() {
    if (session_ || refused_) return;
    if (messages_.empty()) messages_ = {{"user", "go"}};
    auto session = Session::create(vocabulary_, tools_, messages_, config_);
    if (session && context_beyond_prompt_) {
      config_.context_tokens = session->token_counts().prompt + *context_beyond_prompt_;
      session = Session::create(vocabulary_, tools_, messages_, config_);
    }
    if (!session) {
      refused_ = session.error().message;
      return;
    }
    session_ = std::make_unique<Session>(std::move(*session));
    checker_ = std::make_unique<SessionChecker>(*session_, vocabulary_, config_);
  }

  // --- inputs ---

  void input(std::string_view verb, std::string_view words, std::string_view text) {
    Session& session = *session_;
    if (verb == "model" || verb == "unmasked") {
      write(tokens(text), verb == "model");
    } else if (verb == "result" || verb == "fail" || verb == "timeout" || verb == "cancelled") {
      const CallKey key = call(take_word(words));
      if (!words.empty()) now_ = time(words);
      const Outcome outcome = verb == "result"    ? Outcome::returned
                              : verb == "fail"    ? Outcome::failed
                              : verb == "timeout" ? Outcome::timed_out
                                                  : Outcome::cancelled;
      session.completed(key, {outcome, plain(text)}, now_);
      observe();
    } else if (verb == "started") {
      const CallKey key = call(take_word(words));
      if (!words.empty()) now_ = time(words);
      session.started(key, now_);
      observe();
    } else if (verb == "part") {
      const CallKey key = call(take_word(words));
      if (!words.empty()) now_ = time(words);
      session.progressed(key, plain(text), now_);
      observe();
    } else if (verb == "interrupt") {
      const auto source = take_word(words);
      const auto how = take_word(words);
      const bool refused = how == "refused";
      const Delivery when = refused || how.empty() ? Delivery::interrupt : delivery(how);
      const auto taken = session.interrupt(source, refused ? "now" : plain(text), now_, when);
      observe();
      const std::string actual = taken ? "accepted" : taken.error().message;
      if (refused && !actual.contains(text)) {
        equal("interrupt refused", std::string(text), actual);
      } else if (!refused && !taken) {
        fail("the interrupt was refused: " + actual);
      }
    } else if (verb == "time") {
      now_ = time(words);
    } else if (verb == "cancel") {
      words.empty() ? session.cancel(now_) : session.cancel_call(call(words), now_);
      observe();
    } else if (verb == "close") {
      session.close(now_);
      observe();
    } else if (verb == "engine" && words == "fails") {
      session.engine_failed(Error{ErrorCode::engine, plain(text)}, now_);
      observe();
    } else {
      throw BadLine{std::format("unknown line '{}'", verb)};
    }
  }

  // A model behind a mask writes no banned token; one without writes at least one.
  void write(const std::vector<Token>& tokens, bool masked) {
    bool any_banned = false;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const Step step = session_->step();
      const auto* decode = std::get_if<Decode>(&step);
      if (decode == nullptr) {
        throw BadLine{
            std::format("the session wants no token; it has taken {} of {}", i, tokens.size())};
      }
      const bool banned = std::ranges::contains(decode->banned, tokens[i]) ||
                          (decode->filter != nullptr && !decode->filter->allows(tokens[i], 0));
      any_banned = any_banned || banned;
      if (masked && banned) {
        throw BadLine{std::format("the mask would have kept the model from writing {} after {}",
                                  shown(std::span(tokens).subspan(i, 1)),
                                  shown(std::span(tokens).first(i)))};
      }
      session_->decoded(tokens[i], now_);
      observe();
    }
    if (!masked && !any_banned) throw BadLine{"nothing here is banned: write 'model:'"};
  }

  void observe() {
    for (Event& event : checker_->after_input(*session_)) events_.push_back(std::move(event));
  }

  static Time time(std::string_view words) {
    if (!words.ends_with("ms")) throw BadLine{"a time is a number and 'ms'"};
    words.remove_suffix(2);
    return std::chrono::milliseconds(number(trim(words)));
  }

  // "a" or "#0": by id, or by index for calls without one.
  CallKey call(std::string_view name) const {
    if (name.starts_with('#')) return static_cast<CallKey>(number(name.substr(1)));
    const auto& calls = session_->calls();
    const auto found = std::ranges::find(calls, name, &CallRecord::id);
    if (found == calls.end()) throw BadLine{std::format("there is no call '{}'", name)};
    return static_cast<CallKey>(found - calls.begin());
  }
  std::string call_name(CallKey key) const {
    const std::string& id = session_->calls()[key].id;
    return id.empty() ? std::format("#{}", key) : id;
  }

  // --- expectations ---

  void expect_event(const std::string& words) {
    if (!session_) throw BadLine{"events before any input"};
    event_checks_.push_back({line_, shown(plain(words))});
  }

  // The events of the last input are exactly those of the "> " lines below it, if there are any.
  bool expected_events_checked() {
    if (event_checks_.empty()) return true;
    std::vector<std::string> actual = shown_events();
    if (actual.empty()) actual.emplace_back("nothing");
    for (std::size_t i = 0; i < std::max(actual.size(), event_checks_.size()); ++i) {
      const auto& check = event_checks_[std::min(i, event_checks_.size() - 1)];
      line_ = check.number;
      const std::string expected = i < event_checks_.size() ? check.text : "nothing more";
      const std::string got = i < actual.size() ? actual[i] : "nothing more";
      equal("event", expected, got);
      if (expected != got) return false;
    }
    event_checks_.clear();
    return true;
  }

  std::vector<std::string> shown_events() const {
    std::vector<std::string> out;
    bool in_text = false;
    for (const Event& event : events_) {
      if (const auto* text = std::get_if<TextEvent>(&event.what)) {
        if (!in_text) out.emplace_back("text: ");
        out.back() += shown(text->text);
        in_text = true;
        continue;
      }
      in_text = false;
      out.push_back(std::visit([&](const auto& what) { return shown_event(what); }, event.what));
    }
    return out;
  }
  std::string shown_event(const TextEvent& e) const { return "text: " + shown(e.text); }
  std::string shown_event(const ReasoningEvent& e) const { return "reasoning: " + shown(e.text); }
  static std::string shown_event(const ContextCut& e) { return std::format("cut {}", e.position); }
  std::string shown_event(const CallEmitted& e) const { return "emitted " + call_name(e.call); }
  std::string shown_event(const CallDispatched& e) const {
    return "dispatched " + call_name(e.call);
  }
  std::string shown_event(const CallCancelled& e) const { return "cancelled " + call_name(e.call); }
  std::string shown_event(const CallCompleted& e) const { return "completed " + call_name(e.call); }
  std::string shown_event(const InterruptDelivered& e) const {
    return std::format("interrupt {}: {}", e.id, shown(e.text));
  }
  std::string shown_event(const Trapped&) const { return "trapped"; }
  std::string shown_event(const Resumed&) const { return "resumed"; }
  std::string shown_event(const TurnStarted&) const { return "turn"; }
  std::string shown_event(const Finished& e) const {
    return std::format("finished {}", to_string(e.reason));
  }

  void expect(std::string_view what, std::string_view words, std::string_view text) {
    if (refused_) throw BadLine{"the session was refused: " + *refused_};
    const Session& session = *session_;
    const std::string expected(words);
    if (what == "step") {
      equal("step", expected, shown_step());
    } else if (what == "append") {
      const Step step = session.step();
      const auto* decode = std::get_if<Decode>(&step);
      if (decode == nullptr) throw BadLine{"the step is " + shown_step()};
      equal("append", shown(tokens(text)), shown(decode->append));
    } else if (what == "banned") {
      const Step step = session.step();
      const auto* decode = std::get_if<Decode>(&step);
      if (decode == nullptr) throw BadLine{"the step is " + shown_step()};
      equal("banned", shown(tokens(text)), shown(decode->banned));
    } else if (what == "context") {  // without the prompt
      const auto prompt = static_cast<std::size_t>(session.token_counts().prompt);
      equal("context", shown(tokens(text)), shown(session.context().subspan(prompt)));
    } else if (what == "prompt") {  // its end, as long as what is expected
      const auto wanted = tokens(text);
      const auto prompt =
          session.context().first(static_cast<std::size_t>(session.token_counts().prompt));
      equal("prompt", shown(wanted), shown(prompt.last(std::min(wanted.size(), prompt.size()))));
    } else if (what == "answer") {
      equal("answer", shown(plain(text)), shown(session.answer()));
    } else if (what == "critical") {
      equal("critical", expected, session.in_critical_section() ? "yes" : "no");
    } else if (what == "calls") {
      equal("calls", expected, std::to_string(session.calls().size()));
    } else if (what == "forced") {
      equal("forced", expected, std::to_string(session.token_counts().forced));
    } else if (what == "generated") {
      equal("generated", expected, std::to_string(session.token_counts().generated));
    } else if (what == "injected") {
      equal("injected", expected, std::to_string(session.token_counts().injected));
    } else if (what == "error") {
      const std::string actual = session.error() ? session.error()->message : "none";
      equal("error", std::string(text), actual);
    } else if (what == "call") {
      const CallKey key = call(take_word(words));
      if (key >= session.calls().size()) throw BadLine{"there are fewer calls"};
      const std::string_view field = take_word(words);
      expect_call(session.calls()[key], field, std::string(words), text);
    } else {
      throw BadLine{std::format("unknown expectation '{}'", what)};
    }
  }

  std::string shown_step() const {
    const Step step = session_->step();
    if (std::holds_alternative<Decode>(step)) return "decode";
    if (std::holds_alternative<Wait>(step)) return "wait";
    return std::format("done {}", to_string(std::get<Done>(step).reason));
  }

  void expect_call(const CallRecord& record, std::string_view field, const std::string& words,
                   std::string_view text) {
    const std::string what = "call " + std::string(field);
    if (field == "outcome") {
      static constexpr std::string_view kOutcomes[] = {"returned", "failed", "timed_out",
                                                       "cancelled"};
      equal(what, words,
            record.outcome ? std::string(kOutcomes[static_cast<std::size_t>(*record.outcome)])
                           : "open");
    } else if (field == "result") {
      equal(what, shown(plain(text)), shown(record.result));
    } else if (field == "name") {
      equal(what, words, record.name);
    } else if (field == "code") {
      equal(what, shown(plain(text)), shown(record.code));
    } else if (field == "arguments") {
      equal(what, std::string(text), record.arguments.dump());
    } else if (field == "rejected") {
      equal(what, words, record.rejected ? "yes" : "no");
    } else if (field == "times") {  // emitted dispatched returned delivered, in ms
      std::string times;
      for (const auto& t : {record.emitted, record.dispatched, record.returned, record.delivered}) {
        if (!times.empty()) times += ' ';
        times += t ? std::format("{}", to_ms(*t)) : "-";
      }
      equal(what, words, times);
    } else {
      throw BadLine{std::format("unknown field '{}'", field)};
    }
  }

  const Case& case_;
  int line_ = 0;
  TestVocabulary vocabulary_;
  SessionConfig config_;
  std::optional<std::int32_t> context_beyond_prompt_;
  std::vector<ToolSpec> tools_;
  std::vector<Message> messages_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<SessionChecker> checker_;
  std::optional<std::string> refused_;
  Time now_{};
  std::vector<Event> events_;  // of the last input
  std::vector<Line> event_checks_;
};

std::string test_name(const ::testing::TestParamInfo<Case>& info) {
  std::string name = std::filesystem::path(info.param.file).stem().string() + "_" + info.param.name;
  std::ranges::replace_if(name, [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

class ProtocolCase : public ::testing::TestWithParam<Case> {};

TEST_P(ProtocolCase, Holds) { Runner(GetParam()).run(); }

INSTANTIATE_TEST_SUITE_P(Cases, ProtocolCase, ::testing::ValuesIn(load_cases()), test_name);

TEST(ProtocolCases, AreThere) { EXPECT_GE(load_cases().size(), 60U); }

}  // namespace
}  // namespace asynclm
