// SPDX-License-Identifier: Apache-2.0
#include "cli/timeline.h"

#include <algorithm>

#include "cli/json_report.h"

namespace asynclm {

void Timeline::pause(Time now) {
  if (!waiting()) waits.push_back({now, std::nullopt});
}

void Timeline::resume(Time now) {
  if (waiting()) waits.back().end = now;
}

void Timeline::apply(const RunEvent& event) {
  latest = std::max(latest, event.time);
  TimelineCall* call = nullptr;
  if (event.call) {
    if (*event.call >= calls.size()) {
      // A log may name any call; in a run the calls come in order.
      if (*event.call != calls.size() || event.kind != RunEventKind::emitted) return;
      calls.emplace_back();
    }
    call = &calls[*event.call];
  }
  switch (event.kind) {
    case RunEventKind::text:
      text += event.text;
      break;
    case RunEventKind::emitted:
      call->id = event.id;
      call->name = event.name;
      call->arguments = event.arguments;
      call->emitted = event.time;
      call->label = event.name.empty() ? event.text : call_text(event.name, event.arguments);
      break;
    case RunEventKind::dispatched:
      call->dispatched = event.time;
      break;
    case RunEventKind::completed:
      call->outcome = event.outcome;
      call->rejected = event.rejected;
      call->result = event.text;
      call->dispatched = event.dispatched;
      call->returned = event.time;
      break;
    case RunEventKind::interrupt:
      if (call != nullptr) call->delivered = event.time;
      marks.push_back({event.time, event.call, event.id, event.text});
      break;
    case RunEventKind::trapped:
      pause(event.time);
      break;
    case RunEventKind::resumed:
      resume(event.time);
      break;
    case RunEventKind::reasoning:
    case RunEventKind::cut:
    case RunEventKind::turn:
      if (finish) waits.push_back({finished_, event.time});
      finish.reset();
      text.clear();
      break;
    case RunEventKind::finished:
      resume(event.time);
      finish = event.reason;
      finished_ = event.time;
      break;
    case RunEventKind::cancelled:
      break;  // its completion follows
  }
}

std::string call_text(const std::string& name, const Json& arguments) {
  std::string out = name + "(";
  bool first = true;
  for (const auto& [key, value] : arguments.items()) {
    if (!first) out += ", ";
    first = false;
    if (arguments.is_object()) out += key + "=";
    out += dump_json(value);
  }
  return out + ")";
}

std::string outcome_text(std::optional<Outcome> outcome, bool rejected) {
  if (rejected) return "rejected";
  if (!outcome) return "open";
  switch (*outcome) {
    case Outcome::returned:
      return "ok";
    case Outcome::failed:
      return "failed";
    case Outcome::timed_out:
      return "timed out";
    case Outcome::cancelled:
      return "cancelled";
  }
  return "?";
}

}  // namespace asynclm
