// SPDX-License-Identifier: Apache-2.0
// One picture of a run: text, a track of the model, a bar for each call, a common time axis.
#pragma once

#include <string>
#include <vector>

#include "cli/timeline.h"

namespace asynclm {

struct FrameOptions {
  int columns = 80;   // no line is wider
  int max_rows = 24;  // 0: as many as there are
  bool colour = true;
  bool final = false;  // the run is over: without the text, the axis ends with the run
};

struct FrameLine {
  std::string text;  // with colours; no trailing blanks, no line break
  int columns = 0;
};

[[nodiscard]] std::vector<FrameLine> render_frame(const Timeline& timeline, Time now,
                                                  const FrameOptions& options);

}  // namespace asynclm
