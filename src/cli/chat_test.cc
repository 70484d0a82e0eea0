// SPDX-License-Identifier: Apache-2.0
// Parts of asynclm chat: lines, and what is drawn of them; tests/cli_test.py has the program.
#include <sstream>
#include <string>
#include <vector>

#include <ftxui/screen/string.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/chat_line.h"
#include "cli/chat_screen.h"
#include "cli/trace.h"

namespace asynclm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(ChatLine, WhatLinesMean) {
  const auto kind = [](std::string_view line) { return parse_chat_line(line)->kind; };
  const auto text = [](std::string_view line) { return parse_chat_line(line)->text; };
  EXPECT_EQ(kind("  \t"), ChatLine::Kind::nothing);
  EXPECT_EQ(kind(" hello you "), ChatLine::Kind::say);
  EXPECT_EQ(text(" hello you "), "hello you");
  EXPECT_EQ(kind("//etc"), ChatLine::Kind::say);
  EXPECT_EQ(text("//etc"), "/etc");
  EXPECT_EQ(kind("/later do it"), ChatLine::Kind::later);
  EXPECT_EQ(kind("/note it is late"), ChatLine::Kind::note);
  EXPECT_EQ(text("/cancel  a "), "a");
  EXPECT_EQ(text("/save my file"), "my file");
  EXPECT_EQ(kind("/quit"), ChatLine::Kind::quit);
  for (const char* bad : {"/", "/dance", "/save", "/calls now", "/QUIT"}) {
    EXPECT_FALSE(parse_chat_line(bad)) << bad;
  }
}

TEST(ChatLine, EveryCommandIsInTheHelp) {
  for (const char* name :
       {"/later", "/note", "/calls", "/cancel", "/save", "/load", "/wait", "/quit"}) {
    EXPECT_TRUE(chat_help().contains(name)) << name;
  }
}

TEST(ChatScreenParts, TheInputIsShiftedToItsCursor) {
  LineEditor editor;
  for (const char c : std::string("0123456789abcdef")) (void)editor.feed(c);
  int cursor = 0;
  EXPECT_EQ(input_line(editor, 40, cursor), "> 0123456789abcdef");
  EXPECT_EQ(cursor, 18);
  const std::string narrow = input_line(editor, 10, cursor);
  EXPECT_EQ(narrow, "> 9abcdef");
  EXPECT_EQ(cursor, 9);
  for (const char c : std::string("\x01")) (void)editor.feed(c);
  EXPECT_EQ(input_line(editor, 10, cursor), "> 0123456");
  EXPECT_EQ(cursor, 2);
  LineEditor wide;
  for (const char c : std::string("漢字漢字漢字")) (void)wide.feed(c);
  for (int columns = 1; columns < 20; ++columns) {
    const std::string line = input_line(wide, columns, cursor);
    EXPECT_LE(ftxui::string_width(line), std::max(columns, 3)) << columns;
    EXPECT_LE(cursor, std::max(columns - 1, 3));
  }
}

Timeline with_calls(int calls) {
  Timeline timeline;
  for (int i = 0; i < calls; ++i) {
    TimelineCall& call = timeline.calls.emplace_back();
    call.id = "c" + std::to_string(i);
    call.label = "get(x=1)";
    call.dispatched = from_ms(100);
  }
  return timeline;
}

TEST(ChatScreenParts, OpenCallsAndTheirTimes) {
  Timeline timeline = with_calls(3);
  timeline.calls[0].outcome = Outcome::returned;
  timeline.calls[2].dispatched.reset();
  EXPECT_THAT(open_call_lines(timeline, from_ms(350), 10),
              ElementsAre("▒    250 ms c1 get(x=1)", "▒    queued c2 get(x=1)"));
  EXPECT_THAT(open_call_lines(with_calls(9), from_ms(350), 3),
              ElementsAre(HasSubstr("c0"), HasSubstr("c1"), "… 7 calls more"));
  EXPECT_THAT(open_call_lines(with_calls(0), {}, 3), IsEmpty());
  EXPECT_THAT(calls_text(timeline, from_ms(350)),
              HasSubstr("c1 get(x=1): running for 250 ms\nc2 get(x=1): queued"));
}

RunEvent text_event(const std::string& text) {
  RunEvent event;
  event.text = text;
  return event;
}

TEST(ChatScreen, WholeLinesGoUpAndTheRestIsLive) {
  std::ostringstream out;
  ChatScreen screen(out, false, [] { return TerminalSize{.columns = 21, .rows = 10}; });
  Timeline timeline;
  const LineEditor editor;
  screen.event(text_event("one two three four fi"), timeline);
  screen.draw(timeline, {}, "state", editor);
  EXPECT_THAT(out.str(), HasSubstr("one two three four"));
  out.str("");
  screen.event(text_event("ve\x1b[2J six"), timeline);
  screen.draw(timeline, {}, "state", editor);
  EXPECT_THAT(out.str(), HasSubstr("five\\x1b[2J six"));    // harmless
  EXPECT_EQ(out.str().find("one two"), std::string::npos);  // it stays where it is
  screen.leave();
  EXPECT_TRUE(out.str().ends_with("\x1b[?25h"));
}

TEST(ChatScreen, TextInPiecesIsTheSame) {
  std::ostringstream out;
  ChatScreen screen(out, false, [] { return TerminalSize{.columns = 11, .rows = 10}; });
  for (const char* piece :
       {"-", " ", "ab", ":", " ", "cd", " ", "efg", " ", "h", "\n", "ij", " ", "k"}) {
    screen.event(text_event(piece), {});
  }
  screen.leave();
  EXPECT_THAT(out.str(), HasSubstr("- ab: cd\x1b[K\nefg h\x1b[K\nij k\x1b[K\n"));
}

TEST(Trace, MessagesAreArrows) {
  std::vector<Timeline> group(2);
  group[0].header.model = "anna";
  group[1].header.model = "bob";
  for (int i = 0; i < 3; ++i) {
    TimelineCall& call = group[0].calls.emplace_back();
    call.name = "send";
    call.arguments = Json{{"to", "bob"}, {"text", "x"}};
    call.emitted = from_ms(i);
    call.outcome = i == 1 ? Outcome::failed : Outcome::returned;
  }
  group[1].marks = {{from_ms(5), std::nullopt, "agent:anna", "x"},
                    {from_ms(6), std::nullopt, "user", "y"},
                    {from_ms(7), std::nullopt, "agent:anna", "x"}};
  const Json arrows = message_arrows(group);
  ASSERT_THAT(arrows, SizeIs(4));
  EXPECT_EQ(arrows[0]["ts"], 0.0);
  EXPECT_EQ(arrows[1]["ts"], 5000.0);
  EXPECT_EQ(arrows[2]["ts"], 2000.0);
  EXPECT_EQ(arrows[3]["ts"], 7000.0);
  EXPECT_EQ(arrows[2]["id"], arrows[3]["id"]);
  EXPECT_EQ(arrows[3]["pid"], 2);
}

}  // namespace
}  // namespace asynclm
