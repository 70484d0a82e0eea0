// SPDX-License-Identifier: Apache-2.0
#include "cli/frame.h"

#include <ftxui/screen/string.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_run.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

Timeline until(Time time) {
  Timeline timeline;
  timeline.header = test_header();
  for (const RunEvent& event : test_events()) {
    if (event.time <= time) timeline.apply(event);
  }
  return timeline;
}

// Without escape sequences.
std::string plain(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\x1b') {
      out += text[i];
      continue;
    }
    while (i < text.size() && text[i] != 'm') ++i;
  }
  return out;
}

std::string picture(const Timeline& timeline, Time now, FrameOptions options) {
  std::string out;
  for (const FrameLine& line : render_frame(timeline, now, options)) out += plain(line.text) + '\n';
  return out;
}

TEST(Frame, ARunInTheMiddle) {
  EXPECT_EQ(picture(until(250ms), 250ms, {.columns = 60, .colour = false}),
            "async waiting for a, b\n"
            "I will look.\n"
            "model                    █████████████████░░░░        250 ms\n"
            "a count_lines(path=\"src…         ▒▒▒▒▒▒▒▒▒▒▒▒▒        150 ms\n"
            "b fetch()                            ▒▒▒▒▒▒▒▒▒        100 ms\n"
            "                         0 ────── 150 ms ── 300 ms\n"
            "█ generating  ░ waiting  ◆ interrupt  ▒ running\n");
}

TEST(Frame, TheEnd) {
  const std::string shown =
      picture(until(500ms), 500ms, {.columns = 79, .max_rows = 5, .colour = false, .final = true});
  EXPECT_THAT(shown, HasSubstr("async stop\n"));
  EXPECT_THAT(shown, Not(HasSubstr("I will")));  // the answer is printed below
  EXPECT_THAT(shown, HasSubstr("◆"));
  EXPECT_THAT(shown, HasSubstr("299 ms"));
  EXPECT_THAT(shown, HasSubstr("failed"));
  EXPECT_THAT(shown, HasSubstr("500 ms\n"));
}

TEST(Frame, NoLineIsWiderThanTheTerminal) {
  Timeline timeline = until(500ms);
  timeline.text +=
      std::string(300, 'w') + " 漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字";
  timeline.calls[0].label = "漢字漢字漢字漢字漢字漢字漢字漢字漢字漢字\x1b[2J";
  timeline.calls[0].id = std::string(100, 'i');
  for (const bool final : {false, true}) {
    for (const int columns : {16, 20, 39, 40, 59, 60, 80, 99, 100, 200}) {
      for (const FrameLine& line :
           render_frame(timeline, 700ms, {.columns = columns, .final = final})) {
        EXPECT_LE(line.columns, columns);
        EXPECT_EQ(line.columns, ftxui::string_width(plain(line.text)));
        EXPECT_THAT(plain(line.text), Not(AnyOf(HasSubstr("\n"), HasSubstr("\r"))));
      }
    }
  }
}

TEST(Frame, FortyColumns) {
  const std::string shown = picture(until(250ms), 250ms, {.columns = 40, .colour = false});
  EXPECT_THAT(shown, HasSubstr("model"));
  EXPECT_THAT(shown, HasSubstr("a count_lin…"));
  EXPECT_THAT(shown, HasSubstr("▒"));
}

TEST(Frame, AsManyRowsAsThereAreAtMost) {
  Timeline timeline = until(250ms);
  for (int i = 0; i < 60; ++i) timeline.calls.push_back(timeline.calls[1]);
  for (int i = 0; i < 60; ++i) timeline.text += "line\n";
  for (int rows = 4; rows < 90; ++rows) {
    EXPECT_LE(render_frame(timeline, 250ms, {.max_rows = rows}).size(),
              static_cast<std::size_t>(rows));
  }
  EXPECT_THAT(picture(timeline, 250ms, {.max_rows = 10}), HasSubstr("earlier calls"));
  EXPECT_GT(render_frame(timeline, 250ms, {.max_rows = 10, .final = true}).size(), 60U);
}

TEST(Frame, NoColourMeansNoColour) {
  const auto colours = [](bool colour) {
    std::string all;
    for (const FrameLine& line : render_frame(until(500ms), 500ms, {.colour = colour})) {
      all += line.text;
    }
    return all.find("\x1b[3") != std::string::npos || all.find("\x1b[9") != std::string::npos;
  };
  EXPECT_TRUE(colours(true));
  EXPECT_FALSE(colours(false));
}

TEST(Frame, HostileTextCannotReachTheTerminal) {
  Timeline timeline = until(500ms);
  timeline.text = "\x1b[2J\x07 [END][CALL] x [HEAD] rm() [END]";
  timeline.calls[0].id = "\x1b]0;title\x07";
  for (const FrameLine& line : render_frame(timeline, 600ms, {.colour = false})) {
    const std::string text = plain(line.text);
    EXPECT_THAT(line.text, Not(HasSubstr("\x1b[2J")));
    EXPECT_THAT(line.text, Not(HasSubstr("\x1b]")));
    EXPECT_THAT(line.text, Not(HasSubstr("\x07")));
  }
}

TEST(Frame, NothingHasHappenedYet) {
  EXPECT_FALSE(render_frame(Timeline{}, Time{}, {}).empty());
  EXPECT_FALSE(render_frame(Timeline{}, Time{}, {.final = true}).empty());
}

}  // namespace
}  // namespace asynclm
