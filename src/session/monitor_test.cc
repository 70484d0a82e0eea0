// SPDX-License-Identifier: Apache-2.0
#include "session/monitor.h"

#include <algorithm>
#include <format>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/session.h>

#include "base/random.h"
#include "base/test_sanitized.h"
#include "cml/test_vocabulary.h"
#include "grammar/test_grammar.h"
#include "session/test_session_checker.h"

namespace asynclm {
namespace {

constexpr std::uint64_t kBabbleSeeds = kSanitized ? 16 : 150;

// The pieces with roles and a chat template.
class PieceChatVocabulary : public PieceVocabulary {
 public:
  [[nodiscard]] std::string chat_template() const override {
    return "{% for m in messages %}{{ m.content }}{% endfor %}";
  }
};

const Vocabulary& pieces() {
  static const PieceChatVocabulary vocabulary;
  return vocabulary;
}

SessionConfig constrained(Mode mode, bool jump_forward) {
  SessionConfig config;
  config.mode = mode;
  config.max_generated = 400;
  config.context_tokens = 1 << 16;
  config.constrained = true;
  config.jump_forward = jump_forward;
  return config;
}

// Any token that may be sampled; ends of strings and brackets now and then, else no call ends.
Token babble(const Decode& step, const Vocabulary& vocabulary, const Markers& markers,
             Random& random) {
  std::vector<Token> allowed;
  for (Token token = 0; token < vocabulary.size(); ++token) {
    if (std::ranges::contains(step.banned, token)) continue;
    if (step.filter != nullptr && !step.filter->allows(token, 0)) continue;
    allowed.push_back(token);
  }
  if (allowed.empty()) return kNoToken;
  std::vector<Token> wanted = {'"', ')', ']', '}'};
  for (const Marker marker : {Marker::call, Marker::head, Marker::end}) {
    wanted.push_back(markers.token(marker));
  }
  const Token token = random.pick(wanted);
  return std::ranges::contains(allowed, token) ? token : random.pick(allowed);
}

// A model that knows nothing but is kept to the grammar writes valid calls and nothing else.
TEST(Monitor, NothingMalformedCanBeWritten) {
  const Vocabulary& vocabulary = pieces();
  const Markers markers = *Markers::find(vocabulary);
  const auto tools = varied_tools();
  std::map<std::string, int> called;
  int forced = 0;
  for (std::uint64_t seed = 0; seed < kBabbleSeeds; ++seed) {
    Random random(seed);
    const Mode mode = seed % 2 == 0 ? Mode::async : Mode::async_plus;
    const SessionConfig config = constrained(mode, seed % 4 < 2);
    auto session = Session::create(vocabulary, tools, {{"user", "go"}}, config);
    ASSERT_TRUE(session) << session.error().message;
    SessionChecker checker(*session, vocabulary, config);
    for (int round = 0; round < 2000; ++round) {
      const Step step = session->step();
      if (std::holds_alternative<Done>(step)) break;
      const auto& calls = session->calls();
      const auto open = std::ranges::find_if(
          calls, [](const CallRecord& call) { return call.dispatched && !call.outcome; });
      if (std::holds_alternative<Wait>(step) || (open != calls.end() && random.chance(0.02))) {
        ASSERT_NE(open, calls.end());
        session->completed(static_cast<CallKey>(open - calls.begin()), {Outcome::returned, "7"},
                           {});
      } else {
        const Token token = babble(std::get<Decode>(step), vocabulary, markers, random);
        ASSERT_NE(token, kNoToken)
            << "nothing can be sampled after " << spelled(vocabulary, session->context());
        session->decoded(token, {});
      }
      (void)checker.after_input(*session);
      ASSERT_EQ(checker.problem(), "");
    }
    forced += session->token_counts().forced;
    for (const CallRecord& call : session->calls()) {
      // What cannot be known before: names of calls that are not there, results that do not fit.
      const bool known = !call.rejected || call.result.contains("no earlier call") ||
                         call.result.contains("has already ended") ||
                         call.result.contains("not run: ");
      EXPECT_TRUE(known) << call.code << ": " << call.result;
      ++called[call.name];
    }
  }
  EXPECT_GT(forced, 100);
  for (const ToolSpec& tool : tools) EXPECT_GT(called[tool.name], 1) << tool.name;
}

// A teacher's calls come out the same whether forced tokens are sampled or not.
TEST(Monitor, JumpForwardWritesWhatTheModelWouldHaveWritten) {
  const Vocabulary& vocabulary = quick_vocabulary();
  const auto tools = varied_tools();
  const std::vector<std::string> codes = {"get(x=\"some words\")",
                                          "get(x=\"\",limit=12)",
                                          "get_all(deep=True,path=\"a\\\"b\")",
                                          "get_all(path=\"p\",k={\"k\":None})",
                                          "ratio(list=[1,2,\"\\n\"],number=-12)",
                                          "ratio()"};
  for (const std::string& code : codes) {
    const std::string whole = "[CALL]a[HEAD]" + code + "[END]";
    std::string contexts[2];
    for (const bool fast : {false, true}) {
      auto session =
          Session::create(vocabulary, tools, {{"user", "go"}}, constrained(Mode::async, fast));
      ASSERT_TRUE(session) << session.error().message;
      const auto prompt = session->context().size();
      const auto tokens = encode_with_controls(vocabulary, whole);
      while (session->context().size() - prompt < tokens.size()) {
        const Token next = tokens[session->context().size() - prompt];
        const auto step = std::get<Decode>(session->step());
        ASSERT_TRUE(step.filter == nullptr || step.filter->allows(next, 0)) << code;
        session->decoded(next, {});
      }
      contexts[fast ? 1 : 0] = spelled(vocabulary, session->context().subspan(prompt));
      ASSERT_EQ(session->calls().size(), 1U);
      EXPECT_TRUE(session->calls()[0].dispatched) << session->calls()[0].result;
      EXPECT_EQ(fast, session->token_counts().forced > 0);
      EXPECT_EQ(session->token_counts().forced + session->token_counts().generated,
                static_cast<int>(tokens.size()));
    }
    EXPECT_EQ(contexts[0], whole);
    EXPECT_EQ(contexts[1], whole);
  }
}

TEST(Monitor, TakenIdsCannotBeWritten) {
  const Vocabulary& vocabulary = quick_vocabulary();
  const Markers markers = *Markers::find(vocabulary);
  const Token head = markers.token(Marker::head);
  auto session = Session::create(vocabulary, varied_tools(), {{"user", "go"}},
                                 constrained(Mode::async, false));
  const auto write = [&](std::string_view text) {
    for (const Token token : encode_with_controls(vocabulary, text)) session->decoded(token, {});
  };
  const auto allows_head = [&] {
    TokenFilter& filter = *std::get<Decode>(session->step()).filter;
    const auto bit = static_cast<std::size_t>(head);
    EXPECT_EQ(filter.allows(head, 0), (filter.allowed(0)[bit / 64] >> (bit % 64) & 1U) != 0);
    return filter.allows(head, 0);
  };
  write("[CALL]a");
  EXPECT_TRUE(allows_head());
  write("[HEAD]ratio()[END][CALL]a");
  EXPECT_FALSE(allows_head());
  write("b");
  EXPECT_TRUE(allows_head());
  write("[HEAD]ratio()[END][CALL]user");
  EXPECT_FALSE(allows_head()) << "reserved";
}

// An id has at most 64 bytes, and is never one that cannot be closed.
TEST(Monitor, IdsAreNotTooLong) {
  const Vocabulary& vocabulary = pieces();
  auto session = Session::create(vocabulary, varied_tools(), {{"user", "go"}},
                                 constrained(Mode::async, false));
  ASSERT_TRUE(session) << session.error().message;
  const Markers markers = *Markers::find(vocabulary);
  session->decoded(markers.token(Marker::call), {});
  for (std::size_t length = 0; length <= 64; ++length) {
    TokenFilter& filter = *std::get<Decode>(session->step()).filter;
    const auto allowed = filter.allowed(0);
    for (Token token = 0; token < vocabulary.size(); ++token) {
      const auto bit = static_cast<std::size_t>(token);
      const std::string text = vocabulary.spelling(token);
      ASSERT_EQ(filter.allows(token, 0), (allowed[bit / 64] >> (bit % 64) & 1U) != 0)
          << length << ": " << text;
      const bool letters = text.find_first_not_of("zdeprsthowimlncu_") == std::string::npos;
      if (!letters || vocabulary.is_control(token)) continue;
      EXPECT_EQ(filter.allows(token, 0), length + text.size() <= 64) << length << ": " << text;
    }
    EXPECT_EQ(filter.allows(markers.token(Marker::head), 0), length > 0) << length;
    if (length < 64) session->decoded('z', {});
  }
}

// Else nothing could follow it: neither more of it nor [HEAD].
TEST(Monitor, TheLongestIdCannotBeWrittenTwice) {
  const Vocabulary& vocabulary = pieces();
  const Markers markers = *Markers::find(vocabulary);
  auto session = Session::create(vocabulary, varied_tools(), {{"user", "go"}},
                                 constrained(Mode::async, false));
  session->decoded(markers.token(Marker::call), {});
  for (int i = 0; i < 64; ++i) session->decoded('z', {});
  session->decoded(markers.token(Marker::head), {});
  for (const Token token : vocabulary.encode("ratio()")) session->decoded(token, {});
  session->decoded(markers.token(Marker::end), {});
  session->decoded(markers.token(Marker::call), {});
  for (int i = 0; i < 63; ++i) session->decoded('z', {});
  TokenFilter& filter = *std::get<Decode>(session->step()).filter;
  const auto allowed = filter.allowed(0);
  EXPECT_FALSE(filter.allows('z', 0));
  EXPECT_TRUE(filter.allows('y', 0));
  EXPECT_TRUE(filter.allows(markers.token(Marker::head), 0));
  for (Token token = 0; token < vocabulary.size(); ++token) {
    const auto bit = static_cast<std::size_t>(token);
    ASSERT_EQ(filter.allows(token, 0), (allowed[bit / 64] >> (bit % 64) & 1U) != 0) << token;
  }
}

struct Written {
  std::string context;  // behind the prompt
  TokenCounts counts;
  int steps = 0;
};

// Lets a teacher write `text`, and verifies the drafts as an engine would.
Written write_with_drafts(const Vocabulary& vocabulary, const std::string& user,
                          const std::string& text, bool jump_forward, bool drafts) {
  SessionConfig config = constrained(Mode::async, jump_forward);
  config.drafts = drafts;
  auto session = Session::create(vocabulary, varied_tools(), {{"user", user}}, config);
  const auto prompt = session->context().size();
  const auto tokens = encode_with_controls(vocabulary, text);
  Written out;
  while (session->context().size() - prompt < tokens.size()) {
    const auto step = std::get<Decode>(session->step());
    std::vector<Token> sampled;
    for (std::size_t i = 0; i <= step.draft.size(); ++i) {
      sampled.push_back(tokens.at(session->context().size() - prompt + i));
      EXPECT_TRUE(step.filter == nullptr || step.filter->allows(sampled.back(), i)) << text;
      if (i == step.draft.size() || step.draft[i] != sampled.back()) break;
    }
    session->decoded(sampled, {});
    ++out.steps;
  }
  // Of the last step the engine has not got the last token and what was forced behind it.
  const auto last = std::get<Decode>(session->step());
  EXPECT_EQ(last.append.data() + last.append.size(),
            session->context().data() + session->context().size());
  out.context = spelled(vocabulary, session->context().subspan(prompt));
  out.counts = session->token_counts();
  for (const CallRecord& call : session->calls()) EXPECT_FALSE(call.rejected) << call.result;
  return out;
}

TEST(Monitor, DraftsSaveStepsAndChangeNothing) {
  const Vocabulary& vocabulary = quick_vocabulary();
  const std::string user = "Find some words of \"quoted text\" in library/books, 1200 of them.";
  for (const std::string code :
       {"get(x=\"some words of\")", "get(x=\"some other words\")",
        "get(x=\"library/books\",limit=1200)", "get_all(deep=True,path=\"words of\")",
        "get(x=\"nothing of it\")"}) {
    const std::string text = "text [CALL]a[HEAD]" + code + "[END] more text";
    for (const bool fast : {false, true}) {
      const Written plain = write_with_drafts(vocabulary, user, text, fast, false);
      const Written drafted = write_with_drafts(vocabulary, user, text, fast, true);
      EXPECT_EQ(plain.context, text);
      EXPECT_EQ(drafted.context, text);
      EXPECT_EQ(drafted.counts.generated, plain.counts.generated);
      EXPECT_EQ(drafted.counts.forced, plain.counts.forced);
      EXPECT_EQ(plain.counts.accepted, 0);
      EXPECT_EQ(drafted.steps, plain.steps - drafted.counts.accepted);
      EXPECT_EQ(drafted.counts.accepted > 5, !code.contains("nothing")) << code;
    }
  }
}

// What a call has returned is copied too.
TEST(Monitor, ResultsAreDrafts) {
  const Vocabulary& vocabulary = quick_vocabulary();
  SessionConfig config = constrained(Mode::async, true);
  config.drafts = true;
  auto session = Session::create(vocabulary, varied_tools(), {{"user", "go"}}, config);
  const auto write = [&](std::string_view text) {
    for (const Token token : encode_with_controls(vocabulary, text)) session->decoded(token, {});
  };
  write("[CALL]a[HEAD]r)");  // "atio(" and [END] are forced
  ASSERT_FALSE(session->in_critical_section());
  session->completed(0, {Outcome::returned, "zebra-42"}, {});
  write("[CALL]b[HEAD]g(");
  EXPECT_TRUE(std::get<Decode>(session->step()).draft.empty()) << "nothing of a value is written";
  write("ze");
  std::string draft;
  for (const Token token : std::get<Decode>(session->step()).draft) {
    draft += vocabulary.spelling(token);
  }
  EXPECT_TRUE(draft.starts_with("bra-42")) << draft;
}

TEST(Monitor, ADraftLeavesRoomForTheLimits) {
  const Vocabulary& vocabulary = quick_vocabulary();
  const auto draft_with = [&](auto change) {
    SessionConfig config = constrained(Mode::async, false);
    config.drafts = true;
    change(config);
    auto session = Session::create(vocabulary, varied_tools(), {{"user", "abcdefgh"}}, config);
    for (const Token token : encode_with_controls(vocabulary, "[CALL]a[HEAD]get(x=\"a")) {
      session->decoded(token, {});
    }
    return std::get<Decode>(session->step()).draft.size();
  };
  const std::size_t written = encode_with_controls(vocabulary, "[CALL]a[HEAD]get(x=\"a").size();
  EXPECT_EQ(draft_with([](SessionConfig&) {}), 7U);
  EXPECT_EQ(draft_with([&](SessionConfig& c) {
              c.max_generated = static_cast<std::int32_t>(written) + 4;
            }),
            3U);
  EXPECT_EQ(draft_with([&](SessionConfig& c) {
              c.max_call_tokens = static_cast<std::int32_t>(written) - 2 + 2;  // two markers
            }),
            2U);
}

TEST(Monitor, ConfigurationsThatMakeNoSense) {
  SessionConfig forwarded, drafted;
  forwarded.jump_forward = true;
  drafted.drafts = true;
  for (const SessionConfig& config : {forwarded, drafted}) {
    const auto session =
        Session::create(quick_vocabulary(), varied_tools(), {{"user", "go"}}, config);
    ASSERT_FALSE(session);
    EXPECT_EQ(session.error().code, ErrorCode::invalid_argument);
  }
}

}  // namespace
}  // namespace asynclm
