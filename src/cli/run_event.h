// SPDX-License-Identifier: Apache-2.0
// What happened in a run, free of the session that it came from: the display, the log and the trace
// are made of these, whether the run is going on or is read back from a log.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/runtime.h>

namespace asynclm {

enum class RunEventKind : std::uint8_t {
  text,        // text
  emitted,     // call, id, name, arguments, text = the block as written
  dispatched,  // call
  cancelled,   // call
  completed,   // call, outcome, rejected, text = the result, dispatched = when a worker took it
  interrupt,   // call or none, id, text, position
  trapped,
  resumed,
  turn,       // a further one began
  finished,   // the turn: reason
  reasoning,  // text
  cut,        // position: what stood from there on was taken back
};

struct RunEvent {
  Time time{};
  RunEventKind kind = RunEventKind::text;
  std::optional<CallKey> call;
  std::string id, name, text;
  Json arguments = Json::object();
  std::optional<Outcome> outcome;
  bool rejected = false;
  std::optional<Time> dispatched;
  std::int32_t position = 0;
  FinishReason reason = FinishReason::stop;
};

// Raised when a reader of older logs would misread newer ones.
inline constexpr int kLogFormat = 1;

// What is known before a run starts.
struct RunHeader {
  std::string version;  // of asynclm
  std::string library;  // EngineInfo::library
  std::string model;
  Mode mode = Mode::async;
  std::string task;
  std::vector<std::string> tools;
};

[[nodiscard]] RunEvent make_run_event(const Session& session, const Event& event);

// One line of an event log each. The readers name the field that is wrong.
[[nodiscard]] Json to_json(const RunEvent& event);
[[nodiscard]] Result<RunEvent> run_event_from_json(const Json& json);
[[nodiscard]] Json to_json(const RunHeader& header);
[[nodiscard]] Result<RunHeader> run_header_from_json(const Json& json);

// Follows a run. All calls come from one thread.
class RunSink {
 public:
  virtual ~RunSink() = default;
  virtual void begin(const RunHeader& header) = 0;
  virtual void event(const RunEvent& event) = 0;
  virtual void tick(Time /*now*/) {}  // some 15 times a second
  virtual void end(const RunReport& report) = 0;
};

}  // namespace asynclm
