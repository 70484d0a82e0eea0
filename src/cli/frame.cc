// SPDX-License-Identifier: Apache-2.0
#include "cli/frame.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <format>

#include <ftxui/dom/elements.hpp>
#include <ftxui/screen/color.hpp>

#include "cli/rows.h"
#include "cli/terminal.h"

namespace asynclm {
namespace {

using ftxui::Element;
using ftxui::Elements;

enum class Cell : std::uint8_t {
  blank,
  generating,
  waiting,
  mark,
  queued,
  running,
  returned,
  failed,
  cancelled,
  held,  // returned, but not yet in the context
};

// Shapes differ as well as colours: NO_COLOR and colour blindness lose nothing.
Element draw(Cell cell, std::size_t count, bool colour) {
  struct Look {
    const char* glyph;
    ftxui::Color::Palette16 colour;
  };
  constexpr std::array<Look, 10> kLooks = {{{" ", ftxui::Color::Black},
                                            {"█", ftxui::Color::Blue},
                                            {"░", ftxui::Color::GrayDark},
                                            {"◆", ftxui::Color::Yellow},
                                            {"·", ftxui::Color::GrayDark},
                                            {"▒", ftxui::Color::Yellow},
                                            {"█", ftxui::Color::Green},
                                            {"▚", ftxui::Color::Red},
                                            {"╳", ftxui::Color::Magenta},
                                            {"─", ftxui::Color::GrayDark}}};
  const Look& look = kLooks[static_cast<std::size_t>(cell)];
  std::string glyphs;
  for (std::size_t i = 0; i < count; ++i) glyphs += look.glyph;
  Element element = ftxui::text(glyphs);
  const bool plain = !colour || cell == Cell::blank;
  return plain ? element : element | ftxui::color(look.colour);
}

// A row of cells over [0, end).
class Track {
 public:
  Track(int width, Time end)
      : cells_(static_cast<std::size_t>(width), Cell::blank),
        end_(static_cast<double>(end.count())) {}

  [[nodiscard]] std::size_t cell_at(Time time) const {
    const double share = static_cast<double>(time.count()) / end_;
    const double index = std::floor(share * static_cast<double>(cells_.size()));
    return static_cast<std::size_t>(std::clamp(index, 0.0, static_cast<double>(cells_.size()) - 1));
  }
  // At least one cell, however short.
  void paint(Time from, Time to, Cell cell) {
    const std::size_t first = cell_at(from);
    const std::size_t last = to > from ? cell_at(to - Time(1)) : first;
    for (std::size_t i = first; i <= last; ++i) cells_[i] = cell;
  }
  // Only cells of which it fills the greater part, so that neighbours do not hide each other.
  void paint_majority(Time from, Time to, Cell cell) {
    const double width = static_cast<double>(cells_.size());
    const double first = std::round(static_cast<double>(from.count()) / end_ * width);
    const double last = std::round(static_cast<double>(to.count()) / end_ * width);
    for (double i = std::max(first, 0.0); i < std::min(last, width); ++i) {
      cells_[static_cast<std::size_t>(i)] = cell;
    }
  }
  [[nodiscard]] Element element(bool colour) const {
    Elements runs;
    for (std::size_t i = 0; i < cells_.size();) {
      std::size_t next = i;
      while (next < cells_.size() && cells_[next] == cells_[i]) ++next;
      runs.push_back(draw(cells_[i], next - i, colour));
      i = next;
    }
    return ftxui::hbox(std::move(runs));
  }

 private:
  std::vector<Cell> cells_;
  double end_;
};

// A run that goes on gets an axis with room, so that bars do not shrink at every redraw.
Time axis_end(Time now, bool final) {
  constexpr Time kShortest = std::chrono::milliseconds(1);
  if (final) return std::max(now, kShortest);
  double unit = 1e8;  // 100 ms
  while (unit * 10 < static_cast<double>(now.count())) unit *= 10;
  for (const double step : {1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0}) {
    if (step * unit >= static_cast<double>(now.count())) {
      return Time(static_cast<Time::rep>(step * unit));
    }
  }
  return Time(static_cast<Time::rep>(unit * 10));
}

std::string axis(int width, Time end) {
  const auto label = [](Time t) {
    return to_ms(t) < 1000 ? std::format("{:.0f} ms", to_ms(t))
                           : std::format("{:.4g} s", to_ms(t) / 1000);
  };
  const std::string right = label(end);
  const std::string middle = label(end / 2);
  const int left_gap = width / 2 - static_cast<int>(middle.size()) / 2 - 1;
  const int right_gap =
      width - 1 - left_gap - static_cast<int>(middle.size()) - static_cast<int>(right.size());
  const auto rule = [](int count) {
    std::string line = " ";
    for (int i = 2; i < count; ++i) line += "─";
    return line + (count > 1 ? " " : "");
  };
  if (left_gap >= 2 && right_gap >= 2) {
    return "0" + rule(left_gap) + middle + rule(right_gap) + right;
  }
  const int gap = width - 1 - static_cast<int>(right.size());
  return gap >= 2 ? "0" + rule(gap) + right : cut_to_columns(right, width);
}

std::string state_text(const Timeline& timeline) {
  if (timeline.finish) return std::string(to_string(*timeline.finish));
  if (!timeline.waiting()) return "generating";
  std::string names;
  for (const TimelineCall& call : timeline.calls) {
    if (call.outcome || call.id.empty()) continue;
    names += (names.empty() ? " for " : ", ") + call.id;
  }
  return "waiting" + names;
}

struct Layout {
  int label, track, status;
  bool colour;
};

Layout layout(int columns, bool colour) {
  constexpr int kStatus = 10;  // "cancelled" and a blank
  const int label = columns < 60 ? 12 : columns < 100 ? 24 : 36;
  return {.label = label,
          .track = std::max(4, columns - label - 1 - kStatus),
          .status = std::max(0, std::min(kStatus, columns - label - 1 - 4)),
          .colour = colour};
}

Element row(const Layout& place, const std::string& label, Element track,
            const std::string& status) {
  const auto width = [](int columns) { return ftxui::size(ftxui::WIDTH, ftxui::EQUAL, columns); };
  return ftxui::hbox(
      {ftxui::text(cut_to_columns(printable(label, LineBreaks::escape), place.label)) |
           width(place.label + 1),
       std::move(track) | width(place.track),
       ftxui::hbox({ftxui::filler(), ftxui::text(status)}) | width(place.status)});
}

Element model_row(const Timeline& timeline, const Layout& place, Time now, Time end) {
  Track track(place.track, end);
  track.paint(Time{}, now, Cell::generating);
  for (const TimelineWait& wait : timeline.waits) {
    track.paint_majority(wait.begin, wait.end.value_or(now), Cell::waiting);
  }
  for (const TimelineMark& mark : timeline.marks) track.paint(mark.time, mark.time, Cell::mark);
  return row(place, "model", track.element(place.colour), duration_text(now)) | ftxui::bold;
}

Element call_row(const TimelineCall& call, const Layout& place, Time now, Time end) {
  Track track(place.track, end);
  const Time returned = call.returned.value_or(now);
  track.paint(call.emitted, call.dispatched.value_or(returned), Cell::queued);
  if (call.returned && call.delivered) track.paint(returned, *call.delivered, Cell::held);
  Cell bar = Cell::running;
  if (call.outcome) {
    bar = call.ok()                            ? Cell::returned
          : call.outcome == Outcome::cancelled ? Cell::cancelled
                                               : Cell::failed;
  }
  if (call.dispatched) {
    track.paint(*call.dispatched, returned, bar);
  } else if (call.outcome) {
    track.paint(returned, returned, bar);
  }
  std::string status = outcome_text(call.outcome, call.rejected);
  if (!call.outcome) {
    status = call.dispatched ? duration_text(now - *call.dispatched) : "queued";
  } else if (call.ok() && call.dispatched) {
    status = duration_text(returned - *call.dispatched);
  }
  const std::string label = call.id.empty() ? call.label : call.id + " " + call.label;
  return row(place, label, track.element(place.colour), status);
}

Element legend(int columns, bool colour) {
  struct Entry {
    Cell cell;
    const char* text;
  };
  constexpr std::array<Entry, 6> kEntries = {{{Cell::generating, "generating"},
                                              {Cell::waiting, "waiting"},
                                              {Cell::mark, "interrupt"},
                                              {Cell::running, "running"},
                                              {Cell::returned, "returned"},
                                              {Cell::failed, "failed"}}};
  Elements parts;
  int width = 0;
  for (const Entry& entry : kEntries) {
    width += static_cast<int>(std::string_view(entry.text).size()) + 4;
    if (width > columns) break;
    parts.push_back(draw(entry.cell, 1, colour));
    parts.push_back(ftxui::text(std::format(" {}  ", entry.text)) | ftxui::dim);
  }
  return ftxui::hbox(std::move(parts));
}

}  // namespace

std::vector<FrameLine> render_frame(const Timeline& timeline, Time now,
                                    const FrameOptions& options) {
  const int columns = std::max(options.columns, 16);
  const Layout place = layout(columns, options.colour);
  now = std::max(now, timeline.latest);
  if (options.final) now = timeline.latest;
  const Time end = axis_end(now, options.final);

  Elements rows;
  rows.push_back(ftxui::hbox(
      {ftxui::text(std::string(to_string(timeline.header.mode))) | ftxui::bold,
       ftxui::text(" " + cut_to_columns(printable(state_text(timeline), LineBreaks::escape),
                                        columns - 14))}));

  // Rows that there must be: this one, the model's, the axis.
  constexpr int kFixedRows = 3;
  const bool limited = !options.final && options.max_rows > 0;
  const auto calls = static_cast<int>(timeline.calls.size());
  int shown_calls = calls;
  if (limited && calls + kFixedRows > options.max_rows) {
    shown_calls = std::max(0, options.max_rows - kFixedRows - 1);
  }
  const int call_rows = shown_calls < calls ? shown_calls + 1 : calls;
  int free_rows = limited ? options.max_rows - kFixedRows - call_rows : 2;
  const bool with_legend = free_rows > 1;
  if (with_legend) --free_rows;

  if (!options.final && free_rows > 0) {
    std::vector<std::string> lines = wrap(printable(timeline.text, LineBreaks::keep), columns);
    // Trailing empty lines are text to come: they would only make the picture jump.
    while (!lines.empty() && lines.back().empty()) lines.pop_back();
    const auto first = lines.size() - std::min(lines.size(), static_cast<std::size_t>(free_rows));
    for (std::size_t i = first; i < lines.size(); ++i) rows.push_back(ftxui::text(lines[i]));
  }

  rows.push_back(model_row(timeline, place, now, end));
  if (shown_calls < calls) {
    rows.push_back(ftxui::text(std::format("… {} earlier calls", calls - shown_calls)) |
                   ftxui::dim);
  }
  for (int i = calls - shown_calls; i < calls; ++i) {
    rows.push_back(call_row(timeline.calls[static_cast<std::size_t>(i)], place, now, end));
  }
  rows.push_back(row(place, "", ftxui::text(axis(place.track, end)) | ftxui::dim, ""));
  if (with_legend) rows.push_back(legend(columns, options.colour));
  return draw_rows(std::move(rows), columns);
}

}  // namespace asynclm
