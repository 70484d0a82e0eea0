// SPDX-License-Identifier: Apache-2.0
// A run as lines, one an event: for pipes, files and terminals that cannot redraw.
#pragma once

#include <iosfwd>
#include <optional>
#include <string>

#include "cli/run_event.h"
#include "cli/timeline.h"

namespace asynclm {

class PlainPrinter : public RunSink {
 public:
  explicit PlainPrinter(std::ostream& out) : out_(out) {}

  void begin(const RunHeader& header) override;
  void event(const RunEvent& event) override;
  void end(const RunReport& report) override;

  // The events that follow go on with this.
  void go_on(const Timeline& so_far) { timeline_ = so_far; }

  // What the program itself says.
  void note(Time time, const std::string& text, bool bad);
  void flush() { flush_text(); }  // nothing follows the text so far

 private:
  void line(Time time, const std::string& what);
  void flush_text();

  std::ostream& out_;
  Timeline timeline_;
  std::string text_;  // since the last line: text comes in pieces, a line shows it in one
  Time text_time_{};
};

}  // namespace asynclm
