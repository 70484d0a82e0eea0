// SPDX-License-Identifier: Apache-2.0
#include "cli/summary.h"

#include <algorithm>
#include <format>
#include <ostream>
#include <utility>

#include <ftxui/dom/table.hpp>

#include "cli/rows.h"
#include "cli/terminal.h"
#include "cli/timeline.h"

namespace asynclm {
namespace {

constexpr int kMaxSummaryColumns = 200;

void print_wrapped(std::ostream& out, const std::string& text, int columns) {
  if (columns <= 0) {
    out << text << '\n';
    return;
  }
  for (const std::string& line : wrap(text, columns)) out << line << '\n';
}

std::ptrdiff_t calls_ok(const RunReport& report) {
  return std::ranges::count(report.calls, std::optional(Outcome::returned), &CallRecord::outcome);
}

std::string problem_text(const CallRecord& call) {
  const std::string name =
      call.name.empty() ? "malformed call" : call_text(call.name, call.arguments);
  const std::string text = std::format("{}{} {}: {}", call.id.empty() ? "" : call.id + " = ", name,
                                       outcome_text(call.outcome, call.rejected), call.result);
  return cut_to_columns(printable(text, LineBreaks::escape), kMaxSummaryColumns);
}

using Row = std::vector<std::string>;

std::vector<std::size_t> column_widths(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows) {
    for (std::size_t x = 0; x < row.size(); ++x) widths[x] = std::max(widths[x], row[x].size());
  }
  return widths;
}

// With borders, and so many blanks on both sides of a cell.
int table_columns(const std::vector<Row>& rows, int blanks) {
  int total = 1;
  for (const std::size_t width : column_widths(rows)) {
    total += static_cast<int>(width) + 2 * blanks + 1;
  }
  return total;
}

}  // namespace

bool task_succeeded(const RunReport& report) {
  return report.finish == FinishReason::stop &&
         report.answer.find_first_not_of(" \t\n\r") != std::string::npos;
}

void print_answer(std::ostream& out, const RunReport& report, int columns) {
  std::string answer = printable(report.answer, LineBreaks::keep);
  const std::size_t first = answer.find_first_not_of(" \n");
  if (first == std::string::npos) {
    out << "(no answer)\n";
    return;
  }
  answer = answer.substr(first, answer.find_last_not_of(" \n") + 1 - first);
  print_wrapped(out, answer, columns);
}

void print_summary(std::ostream& out, Mode mode, const RunReport& report, int columns) {
  std::string end;
  if (report.finish != FinishReason::stop) {
    end = " (" + std::string(to_string(report.finish)) + ")";
  } else if (!task_succeeded(report)) {
    end = " (no answer)";
  }
  print_wrapped(out,
                std::format("{}{}: wall {}, generating {}, waiting {}, overlap {}", to_string(mode),
                            end, duration_text(report.wall), duration_text(report.generating),
                            duration_text(report.waiting), duration_text(report.overlap)),
                columns);
  print_wrapped(
      out,
      std::format("calls {} of {} ok; tokens: prompt {}, generated {} ({} drafted), forced {}, "
                  "injected {}",
                  calls_ok(report), report.calls.size(), report.tokens.prompt,
                  report.tokens.generated, report.tokens.accepted, report.tokens.forced,
                  report.tokens.injected),
      columns);
  for (const CallRecord& call : report.calls) {
    if (call.outcome != Outcome::returned) print_wrapped(out, problem_text(call), columns);
  }
  if (report.error) {
    print_wrapped(out, "error: " + printable(report.error->message, LineBreaks::keep), columns);
  }
}

std::optional<double> speed_up(const std::vector<ComparedRun>& runs, const ComparedRun& run) {
  const auto sync = std::ranges::find(runs, Mode::sync, &ComparedRun::mode);
  if (sync == runs.end() || !task_succeeded(sync->report) || !task_succeeded(run.report) ||
      run.report.wall <= Time{}) {
    return std::nullopt;
  }
  return to_ms(sync->report.wall) / to_ms(run.report.wall);
}

bool same_calls(const std::vector<ComparedRun>& runs) {
  const auto made = [](const RunReport& report) {
    std::vector<std::string> calls;
    for (const CallRecord& call : report.calls) {
      calls.push_back(call_text(call.name, call.arguments));
    }
    std::ranges::sort(calls);
    return calls;
  };
  return std::ranges::all_of(
      runs, [&](const ComparedRun& run) { return made(run.report) == made(runs.front().report); });
}

std::vector<FrameLine> comparison_table(const std::vector<ComparedRun>& runs, int columns) {
  std::vector<Row> rows = {
      {"mode", "wall ms", "generating", "waiting", "overlap", "calls ok", "tokens", "speed-up"}};
  for (const ComparedRun& run : runs) {
    const RunReport& report = run.report;
    const auto ms = [](Time time) { return std::format("{:.1f}", to_ms(time)); };
    const std::optional<double> factor = speed_up(runs, run);
    rows.push_back({std::string(to_string(run.mode)), ms(report.wall), ms(report.generating),
                    ms(report.waiting), ms(report.overlap),
                    std::format("{}/{}", calls_ok(report), report.calls.size()),
                    std::to_string(report.tokens.generated),
                    factor                   ? std::format("{:.2f}x", *factor)
                    : task_succeeded(report) ? "-"
                                             : "failed"});
  }
  // The widest form that fits: with blanks around the cells, without them, modes as columns.
  std::vector<Row> cells = rows;
  int blanks = 1;
  if (table_columns(cells, blanks) > columns) blanks = 0;
  if (table_columns(cells, blanks) > columns) {
    cells.assign(rows.front().size(), Row(rows.size()));
    for (std::size_t y = 0; y < rows.size(); ++y) {
      for (std::size_t x = 0; x < rows[y].size(); ++x) cells[x][y] = rows[y][x];
    }
    // "sync-parallel" over the widest number leaves no room on 40 columns.
    std::ranges::replace(cells.front(), "sync-parallel", "parallel");
  }
  const int total = table_columns(cells, blanks);

  const std::vector<std::size_t> widths = column_widths(cells);
  const std::string around(static_cast<std::size_t>(blanks), ' ');
  for (Row& line : cells) {
    for (std::size_t x = 0; x < line.size(); ++x) {
      const std::string fill(widths[x] - line[x].size(), ' ');
      line[x] = around + (x == 0 ? line[x] + fill : fill + line[x]) + around;
    }
  }
  ftxui::Table table(cells);
  table.SelectAll().Border(ftxui::LIGHT);
  table.SelectAll().SeparatorVertical(ftxui::LIGHT);
  table.SelectRow(0).Border(ftxui::LIGHT);
  return draw_element(table.Render(), total, static_cast<int>(cells.size()) + 3);
}

}  // namespace asynclm
