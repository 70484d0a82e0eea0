// SPDX-License-Identifier: Apache-2.0
// One program that runs for one call: arguments on stdin, result on stdout.
#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <asynclm/error.h>
#include <asynclm/tool.h>

namespace asynclm {

// `text` as valid UTF-8: each broken sequence becomes U+FFFD.
[[nodiscard]] std::string valid_utf8(const std::string& text);

// Kills all programs that run. Async-signal-safe: for a handler that ends the process at once.
void kill_programs() noexcept;

// The program leads a session and process group of its own. Once it has exited, what is left of its
// group is killed: a call ends with all its processes (one that is meant to stay calls setsid).
// Members and callbacks run on the one thread that runs the io_context, which must have SIGPIPE
// blocked.
class Process : public std::enable_shared_from_this<Process> {
 public:
  struct Options {
    ProcessCommand command;
    std::string shown;  // the program's name in messages
    std::string input;
    std::size_t max_output_bytes = 0;
    std::function<void(CallResult)> on_result;  // at most once, and not after stop()
    std::function<void()> on_gone;              // once, last: no process is left
  };

  // No callback is called before start returns. The error is a line for the model.
  [[nodiscard]] static Result<std::shared_ptr<Process>> start(boost::asio::io_context& context,
                                                              Options options);

  [[nodiscard]] pid_t pid() const { return pid_; }

  // Ends the whole group: SIGTERM, after 300 ms SIGKILL.
  void stop();

 private:
  struct Output {
    explicit Output(boost::asio::io_context& context) : pipe(context) {}
    boost::asio::posix::stream_descriptor pipe;
    std::array<char, 16 * 1024> buffer{};
    std::string text;
    bool ended = false;
  };

  Process(boost::asio::io_context& context, Options options);

  Result<void> spawn();
  void write_input();
  void read(Output& output);
  void take(Output& output, std::size_t bytes);
  void drain(Output& output);
  void wait_for_exit();
  void exited();
  void complete();
  void kill_after_grace();
  void kill_group(int signal) const;
  void close();
  [[nodiscard]] CallResult result();

  Options options_;
  pid_t pid_ = -1;
  std::atomic<pid_t>* listed_ = nullptr;  // for kill_programs()
  int exit_code_ = 0;                     // si_code of waitid, 0 until the program has exited
  int exit_status_ = 0;                   // si_status
  bool stopping_ = false;
  bool closed_ = false;
  boost::asio::posix::stream_descriptor process_;  // pidfd: readable once the program has exited
  boost::asio::posix::stream_descriptor input_;
  Output output_;
  Output errors_;  // only the end is kept
  boost::asio::steady_timer timer_;
};

}  // namespace asynclm
