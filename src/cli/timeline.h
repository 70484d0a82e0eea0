// SPDX-License-Identifier: Apache-2.0
// A run so far, as bars and marks over time: what the display draws and the trace writes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/run_event.h"

namespace asynclm {

struct TimelineCall {
  std::string id, name, result;
  std::string label;  // call_text, or the block as written if it was not a call
  Json arguments = Json::object();
  Time emitted{};
  std::optional<Time> dispatched, returned, delivered;
  std::optional<Outcome> outcome;
  bool rejected = false;

  [[nodiscard]] bool ok() const { return outcome == Outcome::returned; }
};

struct TimelineMark {  // an interrupt that entered the context
  Time time{};
  std::optional<CallKey> call;
  std::string id, text;
};

struct TimelineWait {  // the model was paused; without an end: it is
  Time begin{};
  std::optional<Time> end;
};

struct Timeline {
  RunHeader header;
  std::string text;  // of the turn
  std::vector<TimelineCall> calls;
  std::vector<TimelineMark> marks;
  std::vector<TimelineWait> waits;
  std::optional<FinishReason> finish;
  Time latest{};  // of the events so far

  void apply(const RunEvent& event);

  [[nodiscard]] bool waiting() const { return !waits.empty() && !waits.back().end; }

 private:
  void pause(Time now);
  void resume(Time now);

  Time finished_{};  // the last turn
};

// 'count_lines(path="src")'. Not made for machines; may hold anything that the model wrote.
[[nodiscard]] std::string call_text(const std::string& name, const Json& arguments);

// "ok", "failed", "timed out", "cancelled", "rejected"; "open" before the end.
[[nodiscard]] std::string outcome_text(std::optional<Outcome> outcome, bool rejected);

}  // namespace asynclm
