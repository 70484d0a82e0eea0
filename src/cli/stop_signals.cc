// SPDX-License-Identifier: Apache-2.0
#include "cli/stop_signals.h"

#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>

#include "tools/process.h"

namespace asynclm {
namespace {

constexpr std::array<int, 4> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

// Any thread may be the one that a signal interrupts.
std::atomic<int> stops = 0;
static_assert(std::atomic<int>::is_always_lock_free, "a handler may not lock");
std::atomic<int> latest = 0;
std::atomic<const termios*> terminal = nullptr;
std::array<struct sigaction, kSignals.size()> before;

// As the signal does without a handler, so that a shell sees what ended the program and stops a
// script.
void die_of(int signal) {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, signal);
  pthread_sigmask(SIG_UNBLOCK, &only, nullptr);
  raise(signal);
}

// Only what POSIX allows in a handler.
void count_stop(int signal) {
  const int saved = errno;
  latest = signal;
  if (stops.fetch_add(1) >= 1) {
    constexpr char kRestored[] = "\x1b[?25h\n";
    if (isatty(STDOUT_FILENO) == 1) {
      [[maybe_unused]] const ssize_t n = write(STDOUT_FILENO, kRestored, sizeof kRestored - 1);
    }
    if (const termios* settings = terminal) tcsetattr(STDIN_FILENO, TCSANOW, settings);
    kill_programs();
    die_of(signal);
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

bool StopSignals::only_ctrl_c() const { return stops > 0 && latest == SIGINT; }

void StopSignals::leave_to_other_threads() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : kSignals) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void StopSignals::restore_terminal(const termios* settings) { terminal = settings; }

}  // namespace asynclm
