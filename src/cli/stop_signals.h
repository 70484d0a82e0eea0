// SPDX-License-Identifier: Apache-2.0
// Ctrl-C (also SIGTERM, and SIGHUP of a closed terminal): the first asks for an orderly end, the
// second ends the process and the programs that it runs at once.
#pragma once

struct termios;  // NOLINT(readability-identifier-naming): the system's

namespace asynclm {

// One at a time. While it lives, the signals are counted instead of being deadly, and a closed pipe
// is an error of writing instead of a death.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] bool stop_wanted() const;
  [[nodiscard]] bool only_ctrl_c() const;  // stop_wanted(), by SIGINT

  // Called on a thread that only waits. The kernel may give a signal to any thread, and under
  // ThreadSanitizer one that sleeps in std::future has it handled only when it wakes.
  static void leave_to_other_threads();

  // What the terminal is set to before the process dies of a second signal; null: nothing. Must
  // outlive the object, or be taken back.
  static void restore_terminal(const termios* settings);
};

}  // namespace asynclm
