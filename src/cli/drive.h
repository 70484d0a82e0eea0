// SPDX-License-Identifier: Apache-2.0
// One run from start to end, followed by sinks on the calling thread.
#pragma once

#include <functional>
#include <span>

#include <asynclm/runtime.h>

#include "cli/run_event.h"

namespace asynclm {

// Between two pictures: 15 a second are smooth enough, and cost the model nothing.
inline constexpr std::chrono::milliseconds kTick{66};

// request.on_event is replaced. Sinks get begin, events with ticks in between, end; nothing if the
// run could not be started. When stop() is true the run is cancelled, and the report says so.
[[nodiscard]] Result<RunReport> drive(Runtime& runtime, RunRequest request, const RunHeader& header,
                                      std::span<RunSink* const> sinks,
                                      const std::function<bool()>& stop);

}  // namespace asynclm
