// SPDX-License-Identifier: Apache-2.0
// What other threads tell the decode thread.
#pragma once

#include <memory>
#include <variant>

#include <asynclm/runtime.h>

#include "runtime/inbox.h"

namespace asynclm {

// A point in time of the runtime's clock. Sessions count theirs from their start.
using Instant = Time;

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
