// SPDX-License-Identifier: Apache-2.0
// What other threads tell the decode thread.
#pragma once

#include <future>
#include <memory>
#include <string>
#include <variant>
#include <vector>

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
struct CancelTurn {
  RunId run;
};
struct CancelCall {
  RunId run;
  CallKey call;
};
struct CloseRun {
  RunId run;
};
struct InterruptRun {
  RunId run;
  std::string source, text;
  Delivery delivery;
  std::promise<Result<void>> answer;
};
// A call of send() by another member of the receiver's group.
struct SendMessage {
  RunId from;
  CallKey call;
  RunId to;
  std::string text;
};
struct ReportRun {
  RunId run;
  std::promise<Result<RunReport>> answer;
};
struct SaveRun {
  RunId run;
  std::promise<Result<Json>> answer;
};
struct StartGroup {
  std::vector<std::unique_ptr<Run>> runs;
};
struct Shutdown {};

using Input =
    std::variant<StartRun, StartGroup, CallStarted, CallEnded, CancelRun, CancelTurn, CancelCall,
                 CloseRun, InterruptRun, SendMessage, ReportRun, SaveRun, Shutdown>;

}  // namespace asynclm
