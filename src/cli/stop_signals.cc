// SPDX-License-Identifier: Apache-2.0
#include "cli/stop_signals.h"

#include <signal.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>

namespace asynclm {
namespace {

constexpr std::array<int, 4> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

volatile sig_atomic_t stops = 0;
std::array<struct sigaction, kSignals.size()> before;

// Only what POSIX allows in a handler.
void count_stop(int signal) {
  const int saved = errno;
  stops = stops + 1;
  if (stops >= 2) {
    constexpr char kShowCursor[] = "\x1b[?25h\n";
    if (isatty(STDOUT_FILENO) == 1) {
      [[maybe_unused]] const ssize_t n = write(STDOUT_FILENO, kShowCursor, sizeof kShowCursor - 1);
    }
    _exit(128 + signal);
  }
  errno = saved;
}

// Not SIG_IGN: that would be inherited by the tools' programs.
void ignore_signal(int /*signal*/) {}

}  // namespace

StopSignals::StopSignals() {
  stops = 0;
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    struct sigaction action{};
    action.sa_handler = kSignals[i] == SIGPIPE ? ignore_signal : count_stop;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(kSignals[i], &action, &before[i]);
  }
}

StopSignals::~StopSignals() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
}

bool StopSignals::stop_wanted() const { return stops > 0; }

}  // namespace asynclm
