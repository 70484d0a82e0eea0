// SPDX-License-Identifier: Apache-2.0
// A terminal on standard input that gives each key at once, and shows none.
#pragma once

#include <termios.h>

namespace asynclm {

// While it lives; also a second deadly signal (stop_signals.h) puts the terminal back.
class RawTerminal {
 public:
  RawTerminal();
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

 private:
  termios before_{};
  bool changed_ = false;
};

}  // namespace asynclm
