// SPDX-License-Identifier: Apache-2.0
// Sessions whose markers are text, where tokens and markers do not end together. What a byte
// vocabulary can show is in tests/cases/spelled.cml.
#include <memory>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include <asynclm/session.h>

#include "cml/test_vocabulary.h"
#include "oracle/test_oracle.h"

namespace asynclm {
namespace {

class SpelledSession : public ::testing::Test {
 protected:
  SpelledSession() {
    vocabulary_ = markerless_vocabulary();
    vocabulary_.pieces = {"][", "a[INTR]b", "])", "END]["};
  }

  void start(Mode mode) {
    config_.mode = mode;
    config_.spelled_markers = true;
    auto session = Session::create(vocabulary_, {make_tool("f", 10)}, {{"user", "go"}}, config_);
    ASSERT_TRUE(session) << session.error().message;
    session_ = std::make_unique<Session>(std::move(*session));
  }
  void write(std::string_view text) {
    for (const Token token : FakeVocabulary().encode(text)) session_->decoded(token, {});
  }
  void write_piece(std::string_view text) { session_->decoded(vocabulary_.piece(text), {}); }
  std::string context() const {
    const auto prompt = static_cast<std::size_t>(session_->token_counts().prompt);
    return spelled(vocabulary_, session_->context().subspan(prompt));
  }

  TestVocabulary vocabulary_;
  SessionConfig config_;
  std::unique_ptr<Session> session_;
};

TEST_F(SpelledSession, ATokenIsCutBehindTheMarkerThatPauses) {
  start(Mode::sync);
  write("[CALL]a[HEAD]f(x=\"1\")[END");
  write_piece("][");
  EXPECT_EQ(context(), "[CALL]a[HEAD]f(x=\"1\")[END]");
  EXPECT_TRUE(std::holds_alternative<Wait>(session_->step()));
  session_->completed(0, {Outcome::returned, "one"}, {});
  write("x");
  EXPECT_EQ(context(), "[CALL]a[HEAD]f(x=\"1\")[END][INTR]a[HEAD]one[END]x");
  EXPECT_EQ(session_->answer(), "x");
}

TEST_F(SpelledSession, WhereTheModelGoesOnTheTokenStaysWhole) {
  start(Mode::async);
  write("[CALL]a[HEAD]f(x=\"1\")[END");
  write_piece("][");
  EXPECT_EQ(context(), "[CALL]a[HEAD]f(x=\"1\")[END][");
  EXPECT_TRUE(session_->in_critical_section());
  session_->completed(0, {Outcome::returned, "one"}, {});
  EXPECT_FALSE(session_->calls()[0].delivered) << "it would cut what may become a marker";
  write("TRAP");
  write_piece("][");
  write_piece("END][");
  EXPECT_EQ(context(), "[CALL]a[HEAD]f(x=\"1\")[END][TRAP][END][INTR]a[HEAD]one[END]");
}

TEST_F(SpelledSession, ATokenThatCannotBeCutStaysWhole) {
  vocabulary_.adds_space = true;
  start(Mode::sync);
  write("[CALL]a[HEAD]f(x=\"1\")[END");
  write_piece("][");
  EXPECT_EQ(context(), "[CALL]a[HEAD]f(x=\"1\")[END][") << "not ' ]', which would not end it";
  session_->completed(0, {Outcome::returned, "one"}, {});
  write("x");
  EXPECT_EQ(session_->answer(), "x");
}

TEST_F(SpelledSession, OnlyWhatStandsBeforeAnIllegalMarkerIsKept) {
  start(Mode::async);
  write_piece("a[INTR]b");
  EXPECT_TRUE(context().starts_with("a[INTR]error[HEAD]error: malformed block: [.INTR] is"))
      << context();
  EXPECT_EQ(session_->answer(), "a");
  vocabulary_.adds_space = true;
  start(Mode::async);
  write_piece("a[INTR]b");
  EXPECT_TRUE(context().starts_with(" [INTR] error")) << context();
}

TEST_F(SpelledSession, AnEndTokenThatReleasesTextOfAFullBlockIsGoneWithIt) {
  config_.max_call_tokens = 1;
  start(Mode::async);
  write("[CALL]a[");
  session_->decoded(FakeVocabulary().control("<|end_of_text|>"), {});
  ASSERT_EQ(session_->calls().size(), 1U);
  EXPECT_TRUE(session_->calls()[0].result.contains("too long"));
  write("x");
  EXPECT_EQ(session_->answer(), "x");
  EXPECT_TRUE(std::holds_alternative<Decode>(session_->step()));
}

TEST_F(SpelledSession, ATemplateThatMakesAMarkerOfAMessageIsRefused) {
  vocabulary_.jinja = "{% for m in messages %}<|{{ m.role }}|>[{{ m.content }}]{% endfor %}";
  config_.spelled_markers = true;
  const auto session =
      Session::create(vocabulary_, {make_tool("f", 10)}, {{"user", "END"}}, config_);
  ASSERT_FALSE(session);
  EXPECT_TRUE(session.error().message.contains("spells a marker"));
}

}  // namespace
}  // namespace asynclm
