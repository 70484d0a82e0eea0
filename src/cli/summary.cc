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

constexpr int kMaxResultColumns = 200;

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
  const std::string name = call.name.empty() ? "malformed call" : call_text(call.name, call.arguments);
  const std::string text = std::format(
      "{}{} {}: {}", call.id.empty() ? "" : call.id + " = ", name,
      outcome_text(call.outcome, call.rejected), call.result);
  return cut_to_columns(printable(text, LineBreaks::escape), kMaxResultColumns);
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
  print_wrapped(out,
                std::format("calls {} of {} ok; tokens: prompt {}, generated {}, injected {}",
                            calls_ok(report), report.calls.size(), report.tokens.prompt,
                            report.tokens.generated, report.tokens.injected),
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

std::vector<FrameLine> comparison_table(const std::vector<ComparedRun>& runs, int columns) {
  using Row = std::vector<std::string>;
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
                    factor            ? std::format("{:.2f}x", *factor)
                    : task_succeeded(report) ? "-"
                                      : "failed"});
  }
  constexpr int kWideTable = 80;
  const bool wide = columns >= kWideTable;
  std::vector<Row> cells = rows;
  if (!wide) {
    cells.assign(rows.front().size(), Row(rows.size()));
    for (std::size_t y = 0; y < rows.size(); ++y) {
      for (std::size_t x = 0; x < rows[y].size(); ++x) cells[x][y] = rows[y][x];
    }
    // "sync-parallel" over the widest number leaves no room on 40 columns.
    for (std::string& name : cells.front()) {
      if (name == "sync-parallel") name = "parallel";
    }
  }

  // Numbers to the right; a blank on either side where there is room.
  std::vector<std::size_t> widths(cells.front().size(), 0);
  for (const Row& line : cells) {
    for (std::size_t x = 0; x < line.size(); ++x) widths[x] = std::max(widths[x], line[x].size());
  }
  int total = 1;
  for (std::size_t x = 0; x < widths.size(); ++x) {
    for (Row& line : cells) {
      std::string& cell = line[x];
      const std::string fill(widths[x] - cell.size(), ' ');
      cell = x == 0 ? cell + fill : fill + cell;
      if (wide) cell = " " + cell + " ";
    }
    total += static_cast<int>(widths[x]) + (wide ? 3 : 1);
  }
  ftxui::Table table(cells);
  table.SelectAll().Border(ftxui::LIGHT);
  table.SelectAll().SeparatorVertical(ftxui::LIGHT);
  table.SelectRow(0).Border(ftxui::LIGHT);
  return draw_element(table.Render(), total, static_cast<int>(cells.size()) + 3);
}

}  // namespace asynclm
