// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_screen.h"

#include <algorithm>
#include <format>
#include <ostream>
#include <string_view>
#include <utility>

#include <ftxui/dom/elements.hpp>
#include <ftxui/screen/color.hpp>
#include <ftxui/screen/string.hpp>

#include "cli/rows.h"

namespace asynclm {
namespace {

constexpr std::string_view kPrompt = "> ";
constexpr int kMaxResultColumns = 400;  // of a result; /save has all of it

std::string shown_line(const std::string& text) { return printable(text, LineBreaks::escape); }

std::string shown_id(const Timeline& timeline, CallKey key) {
  const std::string& id = timeline.calls[key].id;
  return id.empty() ? std::format("#{}", key) : shown_line(id);
}

}  // namespace

ChatScreen::ChatScreen(std::ostream& out, bool colour, std::function<TerminalSize()> size)
    : region_(out), colour_(colour), size_(std::move(size)) {
  columns_ = std::max(10, size_().columns - 1);
}

FrameLine ChatScreen::styled(const std::string& text, Look look) const {
  ftxui::Element element = ftxui::text(text);
  if (look == Look::person) element = element | ftxui::bold;
  if (look == Look::event) element = element | ftxui::dim;
  if (look == Look::bad && colour_) element = element | ftxui::color(ftxui::Color::Red);
  return draw_rows({std::move(element)}, columns_).front();
}

void ChatScreen::add(const std::string& text, Look look) {
  for (const std::string& line : wrap(text, columns_)) above_.push_back(styled(line, look));
}

// Lines of the model's text that will not change any more go up; all of it, where something else
// follows.
void ChatScreen::flush_text(bool all) {
  if (text_.find_first_not_of(" \n") == std::string::npos) {
    if (all) text_.clear();
    return;
  }
  const std::vector<std::string> lines = wrap(text_, columns_);
  const std::size_t whole = all ? lines.size() : lines.size() - 1;
  for (std::size_t i = 0; i < whole; ++i) {
    if (all && i + 1 == whole && lines[i].empty()) break;
    above_.push_back(styled(lines[i], Look::plain));
  }
  if (all) {
    text_.clear();
  } else if (whole > 0) {
    // The blanks at its end stand before a word to come.
    text_ = lines.back() + text_.substr(text_.find_last_not_of(' ') + 1);
  }
}

void ChatScreen::said(const std::string& text, const std::string& how) {
  flush_text(true);
  add(std::string(kPrompt) + shown_line(text) + (how.empty() ? "" : "  (" + how + ")"),
      Look::person);
}

void ChatScreen::notice(const std::string& text) {
  flush_text(true);
  std::string lines = printable(text, LineBreaks::keep);
  while (lines.ends_with('\n')) lines.pop_back();
  add(lines, Look::event);
}

void ChatScreen::event(const RunEvent& event, const Timeline& timeline) {
  if (event.kind == RunEventKind::text) {
    text_ += printable(event.text, LineBreaks::keep);
    return flush_text(false);
  }
  const bool of_call = event.call && *event.call < timeline.calls.size();
  const auto line = [&](const std::string& text, Look look = Look::event) {
    flush_text(true);
    add(text, look);
  };
  switch (event.kind) {
    case RunEventKind::emitted:
      if (of_call) {
        const TimelineCall& call = timeline.calls[*event.call];
        line(std::format("▶ {} {}", shown_id(timeline, *event.call), shown_line(call.label)));
      }
      break;
    case RunEventKind::completed:
      if (of_call) {
        const TimelineCall& call = timeline.calls[*event.call];
        const std::string took = call.dispatched && call.returned
                                     ? duration_text(*call.returned - *call.dispatched)
                                     : "";
        line(std::format("{} {} {}{}{}: {}", call.ok() ? "■" : "▚", shown_id(timeline, *event.call),
                         outcome_text(call.outcome, call.rejected), took.empty() ? "" : " after ",
                         took, cut_to_columns(shown_line(call.result), kMaxResultColumns)),
             call.ok() ? Look::event : Look::bad);
      }
      break;
    case RunEventKind::interrupt:
      if (event.call) {
        line(std::format("◆ the model is told: {}", shown_line(event.id)));
      } else {
        line(std::format("◆ the model is told: {}: {}", shown_line(event.id),
                         cut_to_columns(shown_line(event.text), kMaxResultColumns)));
      }
      break;
    case RunEventKind::finished:
      flush_text(true);
      if (event.reason != FinishReason::stop) {
        line("the turn ended: " + std::string(to_string(event.reason)), Look::bad);
      }
      break;
    case RunEventKind::reasoning:
    case RunEventKind::cut:
    case RunEventKind::turn:
    case RunEventKind::text:
    case RunEventKind::dispatched:
    case RunEventKind::cancelled:  // its completion follows
    case RunEventKind::trapped:
    case RunEventKind::resumed:
      break;
  }
}

void ChatScreen::draw(const Timeline& timeline, Time now, const std::string& state,
                      const LineEditor& line) {
  const TerminalSize size = size_();
  // The last column stays free: terminals differ in where the cursor is after it.
  columns_ = std::max(10, size.columns - 1);
  std::vector<FrameLine> live;
  // Below it: state and input. What scrolled away cannot be drawn again.
  const auto rows = static_cast<std::size_t>(std::max(1, size.rows - 3));
  const auto calls = open_call_lines(timeline, now, std::max<std::size_t>(1, rows / 2));
  if (!text_.empty()) {
    const auto lines = wrap(text_, columns_);
    const std::size_t room = rows - std::min(rows - 1, calls.size());
    for (std::size_t i = lines.size() - std::min(lines.size(), room); i < lines.size(); ++i) {
      live.push_back(styled(lines[i], Look::plain));
    }
  }
  for (const std::string& call : calls) {
    live.push_back(styled(cut_to_columns(call, columns_), Look::event));
  }
  live.push_back(styled(cut_to_columns(state, columns_), Look::event));
  int cursor = 0;
  const std::string input = input_line(line, columns_, cursor);
  ftxui::Elements cells;
  int column = 0;
  for (const std::string& glyph : ftxui::Utf8ToGlyphs(input + " ")) {
    if (glyph.empty()) continue;
    ftxui::Element cell = ftxui::text(glyph);
    cells.push_back(column == cursor ? cell | ftxui::inverted : cell);
    column += ftxui::string_width(glyph);
  }
  live.push_back(draw_rows({ftxui::hbox(std::move(cells))}, columns_).front());
  region_.draw(above_, std::move(live), size.columns);
  above_.clear();
}

void ChatScreen::leave() {
  flush_text(true);
  region_.draw(above_, {}, columns_ + 1);
  above_.clear();
  region_.leave();
}

std::vector<std::string> open_call_lines(const Timeline& timeline, Time now, std::size_t rows) {
  std::vector<std::string> lines;
  for (CallKey key = 0; key < timeline.calls.size(); ++key) {
    const TimelineCall& call = timeline.calls[key];
    if (call.outcome) continue;
    lines.push_back(std::format("▒ {:>9} {} {}",
                                call.dispatched
                                    ? duration_text(std::max(Time{}, now - *call.dispatched))
                                    : std::string("queued"),
                                shown_id(timeline, key), shown_line(call.label)));
  }
  if (lines.size() > rows) {
    const std::size_t hidden = lines.size() - (rows - 1);
    lines.resize(rows - 1);
    lines.push_back(std::format("… {} calls more", hidden));
  }
  return lines;
}

std::string calls_text(const Timeline& timeline, Time now) {
  if (timeline.calls.empty()) return "no calls yet";
  std::string out;
  for (CallKey key = 0; key < timeline.calls.size(); ++key) {
    const TimelineCall& call = timeline.calls[key];
    std::string state = outcome_text(call.outcome, call.rejected);
    if (!call.outcome) {
      state = call.dispatched
                  ? "running for " + duration_text(std::max(Time{}, now - *call.dispatched))
                  : "queued";
    } else if (call.dispatched && call.returned) {
      state += " after " + duration_text(*call.returned - *call.dispatched);
    }
    out += std::format("{} {}: {}\n", shown_id(timeline, key), shown_line(call.label), state);
  }
  return out;
}

std::string input_line(const LineEditor& line, int columns, int& cursor) {
  const int room = std::max(1, columns - static_cast<int>(kPrompt.size()) - 1);
  const std::string before = shown_line(line.text().substr(0, line.cursor()));
  const std::string behind = shown_line(line.text().substr(line.cursor()));
  std::vector<std::string> glyphs;
  for (std::string& glyph : ftxui::Utf8ToGlyphs(before)) {
    if (!glyph.empty()) glyphs.push_back(std::move(glyph));
  }
  // From the cursor backwards as much as fits.
  int width = 0;
  std::size_t first = glyphs.size();
  while (first > 0 && width + ftxui::string_width(glyphs[first - 1]) <= room) {
    width += ftxui::string_width(glyphs[--first]);
  }
  std::string out(kPrompt);
  for (std::size_t i = first; i < glyphs.size(); ++i) out += glyphs[i];
  cursor = static_cast<int>(kPrompt.size()) + width;
  for (const std::string& glyph : ftxui::Utf8ToGlyphs(behind)) {
    if (glyph.empty()) continue;
    width += ftxui::string_width(glyph);
    if (width > room) break;
    out += glyph;
  }
  return out;
}

}  // namespace asynclm
