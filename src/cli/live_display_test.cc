// SPDX-License-Identifier: Apache-2.0
#include "cli/live_display.h"

#include <sstream>

#include <ftxui/screen/string.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/test_run.h"

namespace asynclm {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

// The screen of a terminal that knows what the display uses: printing, line feeds, moving up,
// clearing. Lines wrap again when it gets narrower, as on most terminals.
class Screen {
 public:
  explicit Screen(TerminalSize size) : size_(size) { rows_.resize(1); }

  void write(const std::string& text) {
    for (const std::string& glyph : split(text)) {
      if (glyph.starts_with("\x1b[") && glyph.size() > 2) {
        control(glyph);
      } else if (glyph == "\n") {
        ++row_;
        column_ = 0;
        if (row_ >= rows_.size()) rows_.resize(row_ + 1);
      } else if (glyph == "\r") {
        column_ = 0;
      } else {
        auto& row = rows_[row_];
        row.resize(std::max(row.size(), column_ + 1), " ");
        row[column_++] = glyph;
        EXPECT_LT(column_, static_cast<std::size_t>(size_.columns)) << "the last column stays free";
      }
    }
    // What has scrolled off the top can no longer be reached.
    if (row_ + 1 > static_cast<std::size_t>(size_.rows)) {
      top_ = std::max(top_, row_ + 1 - static_cast<std::size_t>(size_.rows));
    }
  }

  void resize(TerminalSize size) {
    const auto width = static_cast<std::size_t>(size.columns);
    std::vector<std::vector<std::string>> wrapped;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      auto& row = rows_[i];
      do {
        const auto part = static_cast<std::ptrdiff_t>(std::min(width, row.size()));
        wrapped.emplace_back(row.begin(), row.begin() + part);
        row.erase(row.begin(), row.begin() + part);
      } while (!row.empty());
      if (i == row_) row_ = wrapped.size() - 1;
    }
    rows_ = std::move(wrapped);
    size_ = size;
    if (row_ + 1 > static_cast<std::size_t>(size_.rows)) {
      top_ = row_ + 1 - static_cast<std::size_t>(size_.rows);
    }
  }

  [[nodiscard]] std::string text() const {
    std::string out;
    for (const auto& row : rows_) {
      std::string line;
      for (const std::string& glyph : row) line += glyph;
      while (line.ends_with(' ')) line.pop_back();
      out += line + '\n';
    }
    while (out.ends_with("\n\n")) out.pop_back();
    return out;
  }
  [[nodiscard]] bool cursor_shown() const { return cursor_shown_; }

 private:
  static std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < text.size();) {
      std::size_t end = i + 1;
      if (text[i] == '\x1b') {
        end = text.find_first_of("ABCDHJKhlm", i) + 1;
      } else {
        while (end < text.size() && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) ++end;
      }
      out.push_back(text.substr(i, end - i));
      i = end;
    }
    return out;
  }
  void control(const std::string& sequence) {
    switch (sequence.back()) {
      case 'A': {
        const auto up = static_cast<std::size_t>(std::stoi(sequence.substr(2)));
        ASSERT_LE(up, row_) << "moved above the first line";
        row_ -= up;
        EXPECT_GE(row_, top_) << "moved to a line that has scrolled away";
        break;
      }
      case 'K':
        rows_[row_].resize(std::min(rows_[row_].size(), column_));
        break;
      case 'J':
        rows_[row_].resize(std::min(rows_[row_].size(), column_));
        rows_.resize(row_ + 1);
        break;
      case 'h':
        cursor_shown_ = true;
        break;
      case 'l':
        cursor_shown_ = false;
        break;
      default:
        break;
    }
  }

  TerminalSize size_;
  std::vector<std::vector<std::string>> rows_;
  std::size_t row_ = 0, column_ = 0, top_ = 0;
  bool cursor_shown_ = true;
};

struct LiveDisplayTest : ::testing::Test {
  void show() {
    screen.write(out.str());
    out.str("");
  }
  // The whole run, with a picture after each event.
  void play(LiveDisplay& display, const std::function<void(std::size_t)>& before_picture = {}) {
    display.begin(test_header());
    show();
    std::size_t count = 0;
    for (const RunEvent& event : test_events()) {
      if (before_picture) before_picture(count++);
      display.event(event);
      display.tick(event.time);
      show();
    }
    display.end(test_report());
    show();
  }
  LiveDisplay display() {
    return LiveDisplay(out, false, [this] { return size; });
  }

  TerminalSize size{.columns = 80, .rows = 24};
  std::ostringstream out;
  Screen screen{size};
};

TEST_F(LiveDisplayTest, PicturesReplaceEachOther) {
  screen.write("$ asynclm run\n");
  LiveDisplay shown = display();
  play(shown);
  const std::string text = screen.text();
  EXPECT_TRUE(text.starts_with("$ asynclm run\nasync stop\nmodel ")) << text;
  EXPECT_EQ(text.find("model"), text.rfind("model"));
  EXPECT_THAT(text, HasSubstr("count_lines"));
  EXPECT_TRUE(screen.cursor_shown());
}

TEST_F(LiveDisplayTest, ATerminalThatChangesItsSize) {
  screen.write("$ asynclm run\n");
  LiveDisplay shown = display();
  play(shown, [this](std::size_t i) {
    constexpr int kColumns[] = {80, 40, 100, 30, 60};
    size.columns = kColumns[i % 5];
    screen.resize(size);
  });
  const std::string text = screen.text();
  EXPECT_TRUE(text.starts_with("$ asynclm run\nasync stop\nmodel ")) << text;
  EXPECT_EQ(text.find("model"), text.rfind("model"));
}

TEST_F(LiveDisplayTest, ASmallTerminal) {
  size = {.columns = 40, .rows = 6};
  screen.resize(size);
  LiveDisplay shown = display();
  play(shown);
  EXPECT_THAT(screen.text(), HasSubstr("async stop"));
}

TEST_F(LiveDisplayTest, RunsOneAfterTheOtherStayOnTheScreen) {
  LiveDisplay shown = display();
  play(shown);
  play(shown);
  const std::string text = screen.text();
  const std::size_t first = text.find("async stop");
  EXPECT_NE(first, std::string::npos);
  EXPECT_NE(text.find("async stop", first + 1), std::string::npos);
}

TEST_F(LiveDisplayTest, TheCursorComesBackInAnyCase) {
  {
    LiveDisplay shown = display();
    shown.begin(test_header());
    show();
    EXPECT_FALSE(screen.cursor_shown());
  }
  show();
  EXPECT_TRUE(screen.cursor_shown());
}

}  // namespace
}  // namespace asynclm
