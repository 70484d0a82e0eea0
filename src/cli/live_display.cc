// SPDX-License-Identifier: Apache-2.0
#include "cli/live_display.h"

#include <algorithm>
#include <utility>

namespace asynclm {

LiveDisplay::LiveDisplay(std::ostream& out, bool colour, std::function<TerminalSize()> size)
    : region_(out), colour_(colour), size_(std::move(size)) {}

void LiveDisplay::begin(const RunHeader& header) {
  timeline_ = Timeline{};
  timeline_.header = header;
  draw(Time{}, false);
}

void LiveDisplay::tick(Time now) { draw(now, false); }

void LiveDisplay::end(const RunReport& report) {
  timeline_.latest = std::max(timeline_.latest, report.wall);
  draw(timeline_.latest, true);
  region_.leave();
}

void LiveDisplay::draw(Time now, bool final) {
  const TerminalSize size = size_();
  // The last column stays free: terminals differ in where the cursor is after it.
  region_.draw({},
               render_frame(timeline_, now,
                            {.columns = size.columns - 1,
                             // what scrolled away cannot be redrawn
                             .max_rows = std::max(4, size.rows - 1),
                             .colour = colour_,
                             .final = final}),
               size.columns);
}

}  // namespace asynclm
