// SPDX-License-Identifier: Apache-2.0
// One session on its way through the runtime: owned and touched by the decode thread alone, from
// the moment it leaves the inbox.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <future>
#include <optional>
#include <vector>

#include <asynclm/runtime.h>

#include "runtime/accounting.h"
#include "runtime/inputs.h"
#include "tools/executor.h"

namespace asynclm {

struct Run {
  RunId id;
  Session session;
  SamplingParams sampling;
  std::function<void(const Session&, const Event&)> on_event;
  Instant began;
  std::promise<RunReport> report{};

  // The engine's sequence; none while the run is queued.
  std::optional<SequenceId> sequence{};

  // Tokens of the current Decode step that the engine already has: long appends go in pieces. While
  // it is not zero the session gets no input but cancel and failure, since its step must not
  // change.
  std::size_t fed = 0;
  std::vector<Input> held{};

  // By CallKey; empty where nothing runs.
  std::vector<std::optional<Executor::Handle>> handles{};

  Accounting accounting{};
  Time latest{};  // of the inputs so far

  // The instant in the session's time, which never decreases: a worker's report may be older than
  // the decode that ended meanwhile.
  Time tick(Instant at) { return latest = std::max(latest, Time(at - began)); }

  [[nodiscard]] bool done() const { return std::holds_alternative<Done>(session.step()); }
};

}  // namespace asynclm
