// SPDX-License-Identifier: Apache-2.0
// Chrome trace events, as chrome://tracing and ui.perfetto.dev read them. Each run is a process: a
// track of the model, one of the interrupts, and lanes of calls.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/timeline.h"

namespace asynclm {

// The events of one run, to be put into {"traceEvents": [...]}. `process` tells runs apart.
[[nodiscard]] Json trace_events(const Timeline& timeline, int process);

// Arrows from each send() that returned to where its message entered the receiver's context. The
// timelines are a group's, in the order of their processes (from 1 on), each with its member's name
// as header.model, and with a common zero of time.
[[nodiscard]] Json message_arrows(const std::vector<Timeline>& group);

// Lanes so that calls that overlap in time are on different ones: entry i is call i's, from 0 on.
[[nodiscard]] std::vector<int> call_lanes(const std::vector<TimelineCall>& calls, Time end);

class TraceWriter : public RunSink {
 public:
  // Writes an empty trace at once, so that a file that cannot be written is found before the run.
  [[nodiscard]] static Result<std::unique_ptr<TraceWriter>> open(const std::string& path);

  void begin(const RunHeader& header) override;
  void event(const RunEvent& event) override { timeline_.apply(event); }
  void end(const RunReport& report) override;

  [[nodiscard]] Result<void> write() const;  // all runs that ended

 private:
  explicit TraceWriter(std::string path) : path_(std::move(path)) {}

  std::string path_;
  Timeline timeline_;
  Json events_ = Json::array();
  int runs_ = 0;
};

}  // namespace asynclm
