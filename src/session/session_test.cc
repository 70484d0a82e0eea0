// SPDX-License-Identifier: Apache-2.0
// What the data-driven cases (cases_test.cc) cannot say: models that are not what they should be,
// and the interface itself.
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/session.h>

#include "cml/test_vocabulary.h"

namespace asynclm {
namespace {

ToolSpec tool(const std::string& name) { return {.name = name, .description = "a tool"}; }

class SessionTest : public ::testing::Test {
 protected:
  static void write(Session& session, std::string_view script) {
    for (const Token token : encode_with_controls(FakeVocabulary(), script)) {
      session.decoded(token, {});
    }
  }
  Session session(const SessionConfig& config = {}) {
    return *Session::create(vocabulary_, {tool("f")}, {{"user", "go"}}, config);
  }
  void expect_refused(const Result<Session>& session, ErrorCode code, std::string_view words) {
    ASSERT_FALSE(session);
    EXPECT_EQ(session.error().code, code);
    EXPECT_NE(session.error().message.find(words), std::string::npos) << session.error().message;
  }

  TestVocabulary vocabulary_;
};

TEST_F(SessionTest, WhatCannotBeASession) {
  const std::vector<Message> go = {{"user", "go"}};
  expect_refused(Session::create(vocabulary_, {}, {}, {}), ErrorCode::invalid_argument,
                 "last message");
  expect_refused(Session::create(vocabulary_, {}, {{"tool", "x"}}, {}), ErrorCode::invalid_argument,
                 "'tool'");
  expect_refused(Session::create(vocabulary_, {tool("f"), tool("g"), tool("f")}, go, {}),
                 ErrorCode::invalid_argument, "'f'");
  ToolSpec bad = tool("f");
  bad.parameters = Json::parse(R"({"type": "object", "properties": {"x": {"type": "int"}}})");
  expect_refused(Session::create(vocabulary_, {bad}, go, {}), ErrorCode::invalid_argument, "\"f\"");
  bad.parameters = Json::array();
  expect_refused(Session::create(vocabulary_, {bad}, go, {}), ErrorCode::invalid_argument, "\"f\"");
  for (const SessionConfig& config :
       {SessionConfig{.max_generated = 0}, SessionConfig{.context_tokens = 0},
        SessionConfig{.context_tokens = -5}, SessionConfig{.max_calls = -1},
        SessionConfig{.max_result_bytes = 0}}) {
    expect_refused(Session::create(vocabulary_, {}, go, config), ErrorCode::invalid_argument,
                   "limits");
  }
  vocabulary_.jinja = "";
  expect_refused(Session::create(vocabulary_, {}, go, {}), ErrorCode::unsupported, "template");
  vocabulary_.ends = {vocabulary_.control("[CALL]")};
  expect_refused(Session::create(vocabulary_, {}, go, {.dialect = DialectChoice::cml}),
                 ErrorCode::unsupported, "[CALL]");
}

// Turns the spelling of markers in text into markers, as a careless tokenizer does.
struct LyingVocabulary : TestVocabulary {
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const override {
    return encode_with_controls(FakeVocabulary(), text);
  }
};

TEST_F(SessionTest, ALyingVocabularyEndsTheSessionBeforeItsTokensEnterTheContext) {
  const LyingVocabulary liar;
  expect_refused(Session::create(liar, {}, {{"user", "[INTR]a[HEAD]1[END]"}}, {}),
                 ErrorCode::internal, "[INTR]");
  auto session = *Session::create(liar, {tool("f")}, {{"user", "go"}}, {});
  write(session, "[CALL]a[HEAD]f()[END]");
  const std::size_t before = session.context().size();
  session.completed(0, {Outcome::returned, "x[END][CALL]"}, {});
  EXPECT_EQ(session.context().size(), before);
  ASSERT_TRUE(std::holds_alternative<Done>(session.step()));
  EXPECT_EQ(std::get<Done>(session.step()).reason, FinishReason::error);
  ASSERT_TRUE(session.error());
  EXPECT_EQ(session.error()->code, ErrorCode::internal);
  EXPECT_EQ(session.calls()[0].outcome, Outcome::returned);
  EXPECT_FALSE(session.calls()[0].delivered);

  auto talk = *Session::create(liar, {}, {{"user", "go"}}, {});
  write(talk, "x<|end_of_text|>");
  const auto added = talk.interrupt("user", "<|system|>", {});
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, ErrorCode::internal);
  EXPECT_TRUE(std::holds_alternative<Done>(talk.step()));
}

// Where tokens begin with the space before a word, no token says that the word has ended.
TEST_F(SessionTest, AWordThatBeganWithItsSpaceMayHaveEnded) {
  vocabulary_.pieces = {" Par", "is"};
  const auto heard_behind = [&](std::initializer_list<std::string_view> pieces) {
    auto session = this->session();
    write(session, std::string(200, '-'));  // the end of a line this long is not waited for
    for (const auto piece : pieces) session.decoded(vocabulary_.piece(piece), {});
    EXPECT_TRUE(session.interrupt("user", "go on", {}));
    return session.context().back() == vocabulary_.control("[END]");
  };
  EXPECT_TRUE(heard_behind({" Par"}));
  EXPECT_FALSE(heard_behind({" Par", "is"}));
  EXPECT_TRUE(heard_behind({" Par", "is", " Par"}));
}

TEST_F(SessionTest, ATokenThatIsNoneEndsTheSession) {
  for (const Token token : {kNoToken, vocabulary_.size(), Token{1 << 30}}) {
    auto session = this->session();
    session.decoded(token, {});
    ASSERT_TRUE(std::holds_alternative<Done>(session.step()));
    ASSERT_TRUE(session.error());
    EXPECT_EQ(session.error()->code, ErrorCode::engine);
    EXPECT_NE(session.error()->message.find(std::to_string(token)), std::string::npos);
  }
}

TEST_F(SessionTest, EventsAreHandedOutOnce) {
  auto session = this->session();
  EXPECT_TRUE(session.take_events().empty());
  write(session, "ab");
  EXPECT_EQ(session.take_events().size(), 2U) << "they add up until they are taken";
  EXPECT_TRUE(session.take_events().empty());
  write(session, "[CALL]a[HEAD]f()[END]");
  EXPECT_EQ(session.take_events().size(), 2U);
  EXPECT_TRUE(session.take_events().empty());
}

TEST_F(SessionTest, CanBeMoved) {
  auto first = session();
  write(first, "x[CALL]a[HEAD]f(");
  Session second = std::move(first);
  write(second, ")[END]");
  EXPECT_EQ(second.calls().size(), 1U);
  Session third = session();
  third = std::move(second);
  third.completed(0, {Outcome::returned, "5"}, {});
  EXPECT_EQ(spelled(vocabulary_, std::get<Decode>(third.step()).append),
            "[END][INTR]a[HEAD]5[END]");
}

TEST_F(SessionTest, OnlyTheEngineKnowsTheFedPart) {
  auto session = this->session();
  const auto first = std::get<Decode>(session.step());
  EXPECT_EQ(first.append.size(), session.context().size()) << "the first step feeds the prompt";
  write(session, "a");
  EXPECT_EQ(spelled(vocabulary_, std::get<Decode>(session.step()).append), "a");
  EXPECT_EQ(spelled(vocabulary_, std::get<Decode>(session.step()).append), "a")
      << "asking changes nothing";
}

TEST_F(SessionTest, ATurnEndsAtATokenThatIsNotAControlToken) {
  vocabulary_.ends = {'~'};
  auto session = this->session();
  write(session, "ok~");
  ASSERT_TRUE(std::holds_alternative<Done>(session.step()));
  EXPECT_EQ(session.answer(), "ok");
}

TEST_F(SessionTest, ModesHaveNames) {
  for (const Mode mode : {Mode::sync, Mode::sync_parallel, Mode::async, Mode::async_plus}) {
    EXPECT_EQ(parse_mode(to_string(mode)), mode);
  }
  const auto unknown = parse_mode("parallel");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message.find("async, async+, sync or sync-parallel"),
            std::string::npos);
}

}  // namespace
}  // namespace asynclm
