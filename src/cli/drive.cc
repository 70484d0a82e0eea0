// SPDX-License-Identifier: Apache-2.0
#include "cli/drive.h"

#include <chrono>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "cli/stop_signals.h"
#include "runtime/inbox.h"

namespace asynclm {

Result<RunReport> drive(Runtime& runtime, RunRequest request, const RunHeader& header,
                        std::span<RunSink* const> sinks, const std::function<bool()>& stop) {
  // Shared: the run may outlive this function if something throws here.
  const auto inbox = std::make_shared<Inbox<RunEvent>>();
  request.on_event = [inbox](const Session& session, const Event& event) {
    inbox->put(make_run_event(session, event));
  };
  const auto began = std::chrono::steady_clock::now();
  const Result<RunId> run = runtime.start(std::move(request));
  if (!run) return std::unexpected(run.error());
  for (RunSink* sink : sinks) sink->begin(header);

  auto report = std::async(std::launch::async, [&runtime, id = *run] {
    StopSignals::leave_to_other_threads();
    return runtime.wait(id);
  });
  std::vector<RunEvent> events;
  bool cancelled = false;
  for (bool ended = false; !ended;) {
    // Events are looked at in batches: waking up for each token would take time from the model.
    ended = report.wait_for(kTick) == std::future_status::ready;
    inbox->take(events);
    for (const RunEvent& event : events) {
      for (RunSink* sink : sinks) sink->event(event);
    }
    if (ended) break;
    for (RunSink* sink : sinks) sink->tick(std::chrono::steady_clock::now() - began);
    if (!cancelled && stop()) {
      cancelled = true;
      runtime.cancel(*run);
    }
  }
  Result<RunReport> result = report.get();
  if (result) {
    for (RunSink* sink : sinks) sink->end(*result);
  }
  return result;
}

}  // namespace asynclm
