// SPDX-License-Identifier: Apache-2.0
// Lines at the bottom of a terminal that are drawn again in place; what is printed goes above them.
#pragma once

#include <iosfwd>
#include <vector>

#include "cli/frame.h"

namespace asynclm {

class LiveRegion {
 public:
  explicit LiveRegion(std::ostream& out) : out_(out) {}
  ~LiveRegion();  // the cursor is shown again
  LiveRegion(const LiveRegion&) = delete;
  LiveRegion& operator=(const LiveRegion&) = delete;

  // On a terminal of so many columns: `above` stays, `live` stands below it until the next call.
  void draw(const std::vector<FrameLine>& above, std::vector<FrameLine> live, int columns);
  void leave();  // what is drawn stays

 private:
  std::ostream& out_;
  std::vector<FrameLine> drawn_;  // what is on the terminal, above the cursor
  bool cursor_hidden_ = false;
};

}  // namespace asynclm
