// SPDX-License-Identifier: Apache-2.0
#include "cli/raw_terminal.h"

#include <unistd.h>

#include "cli/stop_signals.h"

namespace asynclm {

RawTerminal::RawTerminal() {
  if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
  termios raw = before_;
  // ISIG too: Ctrl-C is a key here.
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG | IEXTEN);
  raw.c_iflag &= ~static_cast<tcflag_t>(IXON | ICRNL);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  changed_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
  if (changed_) StopSignals::restore_terminal(&before_);
}

RawTerminal::~RawTerminal() {
  if (!changed_) return;
  StopSignals::restore_terminal(nullptr);
  tcsetattr(STDIN_FILENO, TCSANOW, &before_);
}

}  // namespace asynclm
