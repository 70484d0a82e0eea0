// SPDX-License-Identifier: Apache-2.0
// Saved sessions: wherever a session is saved, another one made of it goes on in the same way.
#include "session/saved_session.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/session.h>

#include "base/random.h"
#include "base/test_sanitized.h"
#include "cml/test_vocabulary.h"
#include "oracle/test_oracle.h"

namespace asynclm {
namespace {

std::vector<ToolSpec> saved_tools() {
  std::vector<ToolSpec> tools = {make_tool("get", 100), make_tool("idle", 50),
                                 make_tool("log", 10)};
  tools[1].delivery = Delivery::when_idle;
  tools[2].delivery = Delivery::silent;
  return tools;
}

struct Scripted {
  std::string name;
  Mode mode;
  std::string script;  // what the model writes; a '~' lets the oldest open call return
};

const std::vector<Scripted>& scripts() {
  static const std::vector<Scripted> all = {
      {"async", Mode::async,
       "Hm \xE2\x82\xAC[CALL]a[HEAD]get(x=\"w1\")[END][CALL]b[HEAD]get(x=\"~[END\")[END] te~xt "
       "[CALL]idle(x=\"1\")[END][CALL]s[HEAD]log(x=\"1\")[END]~~~[TRAP]~done<|end_of_text|>~"},
      {"a thought", Mode::async, "<think>[a]</think>[CALL]a[HEAD]get(x=\"1\")[END]~<think>x"},
      {"sync", Mode::sync, "[CALL]a[HEAD]get(x=\"1\")[END]~one[CALL]b[HEAD]get(\"2\")[END]~two"},
      {"sync-parallel", Mode::sync_parallel,
       "[CALL]a[HEAD]get(x=\"1\")[END][CALL]b[HEAD]log(x=\"2\")[END][TRAP]~~both"},
      {"async+", Mode::async_plus,
       "[CALL]a[HEAD]get(x=\"1\")[END][CALL]b after a[HEAD]get(x=\"2\")[END]"
       "[CALL]c[HEAD]get(x=$a)[END][TRAP]a c[HEAD]all[END]~~~end"},
  };
  return all;
}

// Plays a script token by token into `session` from `at` on; every token and event that comes out.
class Player {
 public:
  Player(Session& session, const std::vector<Token>& script) : session_(session), script_(script) {}

  // The position after one step of the script, or its end.
  std::size_t step(std::size_t at, Time now) {
    if (script_[at] == '~') {
      for (CallKey key = 0; key < session_.calls().size(); ++key) {
        const CallRecord& call = session_.calls()[key];
        if (!call.dispatched || call.outcome) continue;
        session_.completed(key, {Outcome::returned, "r [END]" + std::to_string(key)}, now);
        break;
      }
    } else if (std::holds_alternative<Decode>(session_.step())) {
      session_.decoded(script_[at], now);
    }
    return at + 1;
  }

 private:
  Session& session_;
  const std::vector<Token>& script_;
};

std::string dump(const Session& session) {
  return session.save().dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<Session> through_bytes(const Session& session, const Vocabulary& vocabulary) {
  const auto opened = open_session(seal_session(session.save()));
  if (!opened) return std::unexpected(opened.error());
  return Session::load(vocabulary, saved_tools(), *opened);
}

void play_and_save_everywhere(const Scripted& test, SessionConfig config,
                              const Vocabulary& vocabulary) {
  config.mode = test.mode;
  const auto script = encode_with_controls(vocabulary, test.script);
  const auto fresh = [&] {
    return *Session::create(vocabulary, saved_tools(), {{"user", "get w1"}}, config);
  };
  for (std::size_t cut = 0; cut <= script.size(); ++cut) {
    Session original = fresh();
    Player first(original, script);
    Time now{};
    std::size_t at = 0;
    while (at < cut) at = first.step(at, now += from_ms(1));
    auto loaded = through_bytes(original, vocabulary);
    ASSERT_TRUE(loaded) << test.name << " at " << cut << ": " << loaded.error().message;
    ASSERT_EQ(dump(original), dump(*loaded)) << test.name << " at " << cut;
    Player second(*loaded, script);
    for (std::size_t rest = cut; rest < script.size(); ++rest) {
      now += from_ms(1);
      const Step step = original.step();
      const Step again = loaded->step();
      ASSERT_EQ(step.index(), again.index()) << test.name << " at " << cut << ", " << rest;
      if (const auto* decode = std::get_if<Decode>(&step)) {
        const auto& other = std::get<Decode>(again);
        ASSERT_TRUE(std::ranges::equal(decode->banned, other.banned));
        ASSERT_TRUE(std::ranges::equal(decode->draft, other.draft));
        ASSERT_EQ(decode->filter == nullptr, other.filter == nullptr);
        if (decode->filter != nullptr) {
          ASSERT_TRUE(std::ranges::equal(decode->filter->allowed(0), other.filter->allowed(0)));
        }
      }
      first.step(rest, now);
      second.step(rest, now);
      ASSERT_TRUE(std::ranges::equal(original.context(), loaded->context()))
          << test.name << " at " << cut << ", " << rest;
    }
    ASSERT_EQ(dump(original), dump(*loaded)) << test.name << " at " << cut;
    ASSERT_EQ(original.answer(), loaded->answer());
  }
}

TEST(SavedSession, GoesOnFromEveryToken) {
  const FakeVocabulary vocabulary;
  for (const Scripted& test : scripts()) play_and_save_everywhere(test, {}, vocabulary);
}

TEST(SavedSession, GoesOnFromEveryTokenWithTheMonitor) {
  const FakeVocabulary vocabulary;
  for (const Scripted& test : scripts()) {
    play_and_save_everywhere(test, {.constrained = true, .drafts = true}, vocabulary);
  }
}

TEST(SavedSession, AFurtherMessageAfterTheLoad) {
  const FakeVocabulary vocabulary;
  Session session = *Session::create(vocabulary, saved_tools(), {{"user", "go"}}, {});
  for (const Token token : encode_with_controls(vocabulary, "hi<|end_of_text|>")) {
    session.decoded(token, {});
  }
  ASSERT_TRUE(session.interrupt("user", "noted", {}, Delivery::silent));
  auto loaded = through_bytes(session, vocabulary);
  ASSERT_TRUE(loaded) << loaded.error().message;
  ASSERT_TRUE(session.interrupt("user", "and?", {}));
  ASSERT_TRUE(loaded->interrupt("user", "and?", {}));
  EXPECT_TRUE(std::ranges::equal(session.context(), loaded->context()));
  EXPECT_TRUE(std::holds_alternative<Decode>(loaded->step()));
}

TEST(SavedSession, OtherToolsOrVocabulariesAreRefused) {
  const FakeVocabulary vocabulary;
  const Session session = *Session::create(vocabulary, saved_tools(), {{"user", "go"}}, {});
  const auto refusal = [&](std::vector<ToolSpec> tools) {
    const auto loaded = Session::load(vocabulary, std::move(tools), session.save());
    return loaded ? "accepted" : loaded.error().message;
  };
  auto fewer = saved_tools();
  fewer.pop_back();
  EXPECT_TRUE(refusal(fewer).contains("\"log\" is missing now")) << refusal(fewer);
  auto more = saved_tools();
  more.push_back(make_tool("new", 1));
  EXPECT_TRUE(refusal(more).contains("'new' is new")) << refusal(more);
  auto changed = saved_tools();
  changed[0].parameters["properties"]["x"]["type"] = "integer";
  EXPECT_TRUE(refusal(changed).contains("\"get\" has other parameters")) << refusal(changed);
  auto slower = saved_tools();
  slower[0].estimate *= 2;
  EXPECT_EQ(refusal(slower), "accepted");

  Json other = session.save();
  other["vocabulary"] = 7;
  const auto loaded = Session::load(vocabulary, saved_tools(), other);
  ASSERT_FALSE(loaded);
  EXPECT_TRUE(loaded.error().message.contains("another model")) << loaded.error().message;
}

TEST(SavedSession, DamagedBytesAreRefused) {
  const FakeVocabulary vocabulary;
  Session session = *Session::create(vocabulary, saved_tools(), {{"user", "go"}}, {});
  for (const Token token : encode_with_controls(vocabulary, "[CALL]a[HEAD]get(x=\"1\")[END]")) {
    session.decoded(token, {});
  }
  const std::string bytes = seal_session(session.save());
  ASSERT_TRUE(open_session(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_FALSE(open_session(bytes.substr(0, size))) << size;
  }
  EXPECT_FALSE(open_session(bytes + "x"));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] ^= 0x10;
    ASSERT_FALSE(open_session(damaged)) << i;
  }
  Json deep;
  for (int i = 0; i < 1'000; ++i) deep = Json::array({std::move(deep)});
  const std::string sealed = seal_session(deep);
  while (deep.is_array()) {  // its destructor would call itself as often
    Json inner = std::move(deep[0]);
    deep = std::move(inner);
  }
  EXPECT_FALSE(open_session(sealed));
}

// Values that no session saved are refused, or make a session that ends; none may hurt.
TEST(SavedSession, ForgedValuesDoNoHarm) {
  const FakeVocabulary vocabulary;
  Session session = *Session::create(vocabulary, saved_tools(), {{"user", "go"}},
                                     {.mode = Mode::async_plus, .constrained = true});
  for (const Token token : encode_with_controls(
           vocabulary,
           "[CALL]a[HEAD]get(x=\"1\")[END][CALL]b[HEAD]get(x=$a)[END][TRAP]a[HEAD]any[END]")) {
    session.decoded(token, {});
  }
  const Json good = session.save();
  const Json flat = good.flatten();
  const std::vector<Json> values = {
      -1, 0, 1, 3, 255, 1'000'000'000, "x", Json(), true, Json::array(), Json::object()};
  int refused = 0;
  for (const auto& [path, value] : flat.items()) {
    if (path.starts_with("/context/") && path != "/context/3") continue;
    for (const Json& other : values) {
      Json forged = good;
      forged[Json::json_pointer(path)] = other;
      auto loaded = Session::load(vocabulary, saved_tools(), forged);
      if (!loaded) {
        ++refused;
        continue;
      }
      Time now = from_ms(1000);
      for (CallKey key = 0; key < 4; ++key) loaded->completed(key, {Outcome::returned, "1"}, now);
      for (const Token token : encode_with_controls(vocabulary, "x[CALL]q[HEAD]get(\"1\")[END]")) {
        if (std::holds_alternative<Decode>(loaded->step())) loaded->decoded(token, now);
      }
      (void)loaded->interrupt("user", "x", now);
      loaded->cancel(now);
      EXPECT_TRUE(std::holds_alternative<Done>(loaded->step()));
    }
  }
  EXPECT_GT(refused, 500);
}

}  // namespace
}  // namespace asynclm
