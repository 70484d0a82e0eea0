// SPDX-License-Identifier: Apache-2.0
// What other threads tell the decode thread.
#pragma once

#include <chrono>
#include <memory>
#include <variant>

#include <asynclm/runtime.h>

#include "runtime/inbox.h"

namespace asynclm {

using Instant = std::chrono::steady_clock::time_point;

struct Run;  // runtime/run.h

struct StartRun {
  std::unique_ptr<Run> run;
};
struct CallStarted {
  RunId run;
  CallKey call;
  Instant at;
};
struct CallEnded {
  RunId run;
  CallKey call;
  CallResult result;
  Instant at;
};
struct CancelRun {
  RunId run;
};
struct Shutdown {};

using Input = std::variant<StartRun, CallStarted, CallEnded, CancelRun, Shutdown>;

}  // namespace asynclm
