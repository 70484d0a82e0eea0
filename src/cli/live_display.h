// SPDX-License-Identifier: Apache-2.0
// A run on a terminal: the picture of frame.h, redrawn in place below what was there before.
#pragma once

#include <functional>
#include <iosfwd>

#include "cli/frame.h"
#include "cli/live_region.h"
#include "cli/terminal.h"
#include "cli/timeline.h"

namespace asynclm {

class LiveDisplay : public RunSink {
 public:
  // `size` is asked before each drawing, so that the picture follows the window.
  LiveDisplay(std::ostream& out, bool colour, std::function<TerminalSize()> size = terminal_size);

  void begin(const RunHeader& header) override;
  void event(const RunEvent& event) override { timeline_.apply(event); }
  void tick(Time now) override;
  void end(const RunReport& report) override;  // the last picture stays

 private:
  void draw(Time now, bool final);

  LiveRegion region_;
  bool colour_;
  std::function<TerminalSize()> size_;
  Timeline timeline_;
};

}  // namespace asynclm
