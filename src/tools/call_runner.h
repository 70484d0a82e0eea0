// SPDX-License-Identifier: Apache-2.0
// What runs calls for the decode loop: the Executor, or in simulations a list of events on a virtual
// clock.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include <asynclm/tool.h>

namespace asynclm {

class CallRunner {
 public:
  virtual ~CallRunner() = default;

  using Handle = std::uint64_t;  // never 0, never used twice

  // Queues a call; `arguments` is an object that fulfils the tool's schema. on_started is called
  // when the call begins to run (from then on its time-out counts), on_done exactly once, also for
  // unknown tools (failed) and cancelled calls; neither before start() has returned. Calls started
  // while the destructor runs are dropped.
  virtual Handle start(const std::string& tool, Json arguments, std::function<void()> on_started,
                       std::function<void(CallResult)> on_done) = 0;

  // Outcome `cancelled`, soon. Unknown and finished calls are ignored.
  virtual void cancel(Handle handle) = 0;
};

}  // namespace asynclm
