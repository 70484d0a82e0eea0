// SPDX-License-Identifier: Apache-2.0
#include "cli/plain_printer.h"

#include <format>
#include <ostream>
#include <utility>

#include "cli/terminal.h"

namespace asynclm {
namespace {

// Longer results are shown cut; --json and --log have them whole.
constexpr int kMaxColumns = 400;

std::string shown(const std::string& text) {
  return cut_to_columns(printable(text, LineBreaks::escape), kMaxColumns);
}

std::string call_name(const TimelineCall& call) {
  return call.id.empty() ? shown(call.label) : shown(call.id);
}

}  // namespace

void PlainPrinter::line(Time time, const std::string& what) {
  out_ << std::format("[{:>9.1f} ms] {}\n", to_ms(time), what) << std::flush;
}

void PlainPrinter::flush_text() {
  const std::string text = std::exchange(text_, {});
  if (text.find_first_not_of(" \n\t") == std::string::npos) return;
  line(text_time_, "text       " + shown(text));
}

void PlainPrinter::begin(const RunHeader& header) {
  timeline_ = Timeline{};
  timeline_.header = header;
  line(Time{}, std::format("start      mode {}, model {}, {} tools: {}", to_string(header.mode),
                           shown(header.model), header.tools.size(), shown(header.task)));
}

void PlainPrinter::event(const RunEvent& event) {
  timeline_.apply(event);
  const TimelineCall* call =
      event.call && *event.call < timeline_.calls.size() ? &timeline_.calls[*event.call] : nullptr;
  if (event.kind == RunEventKind::text) {
    if (text_.empty()) text_time_ = event.time;
    text_ += event.text;
    return;
  }
  flush_text();
  switch (event.kind) {
    case RunEventKind::emitted:
      if (call == nullptr) break;
      line(event.time,
           "call       " + (call->id.empty() ? "" : shown(call->id) + " = ") + shown(call->label));
      break;
    case RunEventKind::dispatched:
      if (call != nullptr) line(event.time, "running    " + call_name(*call));
      break;
    case RunEventKind::completed: {
      if (call == nullptr) break;
      std::string took;
      if (call->dispatched && call->returned) {
        took = " after " + duration_text(*call->returned - *call->dispatched);
      }
      const std::string what =
          call->ok() ? "returned" : outcome_text(call->outcome, call->rejected);
      line(event.time,
           std::format("{:<10} {}{}: {}", what, call_name(*call), took, shown(call->result)));
      break;
    }
    case RunEventKind::interrupt:
      line(event.time, std::format("interrupt  {} at token {}: {}", shown(event.id), event.position,
                                   shown(event.text)));
      break;
    case RunEventKind::trapped:
      line(event.time, "waiting");
      break;
    case RunEventKind::resumed:
      line(event.time, "resumed");
      break;
    case RunEventKind::reasoning:
    case RunEventKind::cut:
    case RunEventKind::turn:
      line(event.time, "turn");
      break;
    case RunEventKind::finished:
      line(event.time, "finished   " + std::string(to_string(event.reason)));
      break;
    case RunEventKind::cancelled:  // its completion follows
    case RunEventKind::text:
      break;
  }
}

void PlainPrinter::note(Time time, const std::string& text, bool bad) {
  flush_text();
  line(time, (bad ? "problem    " : "note       ") + shown(text));
}

void PlainPrinter::end(const RunReport& /*report*/) { flush_text(); }

}  // namespace asynclm
