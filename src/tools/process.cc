// SPDX-License-Identifier: Apache-2.0
//
// The program is started with posix_spawn and waited for by pidfd rather than with Boost.Process:
// its launchers fork, which copies the page tables of a process that holds a model; and its wait
// reaps, after which the number of the process group may already be another's when it is killed.
#include "tools/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/write.hpp>

namespace asynclm {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// From SIGTERM to SIGKILL; after as long again a process that even SIGKILL does not end (stuck in
// the kernel, or of another user) is given up.
constexpr std::chrono::milliseconds kStopGrace{300};
// A program that has exited may have left a child that still writes its last words, or one that
// keeps the pipe open for ever.
constexpr std::chrono::milliseconds kDrainGrace{100};
constexpr std::size_t kErrorTailBytes = 4096;
constexpr std::size_t kErrorLineBytes = 200;

// A file descriptor that closes itself and is never inherited by accident.
class Fd {
 public:
  explicit Fd(int fd = -1) : fd_(fd) {}
  ~Fd() { reset(); }
  Fd(Fd&& other) noexcept : fd_(other.release()) {}
  Fd& operator=(Fd&& other) noexcept {
    reset(other.release());
    return *this;
  }
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

 private:
  int fd_;
};

struct Pipe {
  Fd read, write;
};

// The programs that run, for kill_programs(); 0: a free place. Of fixed size, as a signal handler
// reads it; what has no place is killed in the ordinary ways only.
constinit std::array<std::atomic<pid_t>, 512> running_programs{};

std::atomic<pid_t>* list_program(pid_t pid) {
  for (std::atomic<pid_t>& place : running_programs) {
    pid_t free = 0;
    if (place.compare_exchange_strong(free, pid)) return &place;
  }
  return nullptr;
}

Result<Pipe> make_pipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) {
    return fail(ErrorCode::io, std::generic_category().message(errno));
  }
  return Pipe{Fd(fds[0]), Fd(fds[1])};
}

// What a child begins with: posix_spawn's two objects, which must be destroyed.
class SpawnSetup {
 public:
  SpawnSetup() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSetup() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSetup(const SpawnSetup&) = delete;
  SpawnSetup& operator=(const SpawnSetup&) = delete;

  // 0 or an errno.
  int prepare(int in, int out, int err, const std::string& directory) {
    int error = posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    // What the host or its libraries have opened without O_CLOEXEC is not the program's business.
    if (error == 0) error = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    if (error == 0 && !directory.empty()) {
      error = posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
    }
    // The host may ignore or block signals (SIGPIPE above all); programs expect the defaults.
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    if (error == 0) error = posix_spawnattr_setsigmask(&attributes, &none);
    if (error == 0) error = posix_spawnattr_setsigdefault(&attributes, &all);
    if (error == 0) {
      error = posix_spawnattr_setflags(
          &attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    return error;
  }

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

std::string last_line(const std::string& text) {
  const auto is_space = [](char c) { return static_cast<unsigned char>(c) <= ' '; };
  std::size_t end = text.size();
  while (end > 0 && is_space(text[end - 1])) --end;
  const std::size_t newline = end == 0 ? std::string::npos : text.rfind('\n', end - 1);
  std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
  while (begin < end && is_space(text[begin])) ++begin;
  std::string line = text.substr(begin, std::min(end - begin, kErrorLineBytes));
  std::ranges::replace_if(line, [](char c) { return static_cast<unsigned char>(c) < ' '; }, ' ');
  return valid_utf8(line);
}

}  // namespace

void kill_programs() noexcept {
  for (const std::atomic<pid_t>& place : running_programs) {
    if (const pid_t pid = place.load(); pid > 0) ::kill(-pid, SIGKILL);
  }
}

std::string valid_utf8(const std::string& text) {
  const std::string json = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(json).get<std::string>();
}

Process::Process(asio::io_context& context, Options options)
    : options_(std::move(options)),
      process_(context),
      input_(context),
      output_(context),
      errors_(context),
      timer_(context) {}

Result<std::shared_ptr<Process>> Process::start(asio::io_context& context, Options options) {
  std::shared_ptr<Process> process(new Process(context, std::move(options)));
  if (auto spawned = process->spawn(); !spawned) {
    return fail(spawned.error().code,
                "cannot start '" + process->options_.shown + "': " + spawned.error().message);
  }
  process->write_input();
  process->read(process->output_);
  process->read(process->errors_);
  process->wait_for_exit();
  return process;
}

Result<void> Process::spawn() {
  auto in = make_pipe();
  auto out = make_pipe();
  auto err = make_pipe();
  for (const auto* pipe : {&in, &out, &err}) {
    if (!*pipe) return std::unexpected(pipe->error());
  }
  std::vector<char*> argv;
  for (std::string& argument : options_.command.argv) argv.push_back(argument.data());
  argv.push_back(nullptr);

  SpawnSetup setup;
  const std::string& directory = options_.command.directory;
  int error = setup.prepare(in->read.get(), out->write.get(), err->write.get(), directory);
  if (error == 0) {
    error = posix_spawnp(&pid_, argv[0], &setup.actions, &setup.attributes, argv.data(), environ);
  }
  if (error != 0) {
    std::error_code ignored;
    if (!directory.empty() && !std::filesystem::is_directory(directory, ignored)) {
      return fail(ErrorCode::io, "its working directory does not exist");
    }
    return fail(ErrorCode::io, std::generic_category().message(error));
  }
  listed_ = list_program(pid_);
  // Not glibc's pidfd_open: its header gives it C++ linkage in several versions.
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  error_code failed;
  if (pidfd.get() < 0) {
    failed = error_code(errno, boost::system::generic_category());
  } else {
    process_.assign(pidfd.release(), failed);
  }
  if (!failed) input_.assign(in->write.release(), failed);
  if (!failed) output_.pipe.assign(out->read.release(), failed);
  if (!failed) errors_.pipe.assign(err->read.release(), failed);
  for (auto* pipe : {&input_, &output_.pipe, &errors_.pipe}) {
    if (!failed) pipe->non_blocking(true, failed);
  }
  if (failed) {
    kill_group(SIGKILL);
    if (listed_ != nullptr) listed_->store(0);
    ::waitpid(pid_, nullptr, 0);
    return fail(ErrorCode::io, failed.message());
  }
  return {};
}

void Process::write_input() {
  asio::async_write(input_, asio::buffer(options_.input),
                    [self = shared_from_this()](error_code, std::size_t) {
                      // Also when the program does not read: that is its own affair.
                      error_code ignored;
                      self->input_.close(ignored);
                    });
}

void Process::read(Output& output) {
  output.pipe.async_read_some(
      asio::buffer(output.buffer),
      [self = shared_from_this(), &output](error_code error, std::size_t bytes) {
        if (self->closed_) return;
        self->take(output, bytes);
        if (!error) return self->read(output);
        output.ended = true;
        if (self->exit_code_ != 0 && self->output_.ended && self->errors_.ended) self->complete();
      });
}

void Process::take(Output& output, std::size_t bytes) {
  if (stopping_) return;  // nobody wants it, but the program must be able to write it
  output.text.append(output.buffer.data(), bytes);
  if (&output == &errors_) {
    if (output.text.size() > 2 * kErrorTailBytes) {
      output.text.erase(0, output.text.size() - kErrorTailBytes);
    }
  } else if (output.text.size() > options_.max_output_bytes) {
    auto on_result = std::move(options_.on_result);
    stop();
    on_result({Outcome::failed,
               "output exceeds " + std::to_string(options_.max_output_bytes) + " bytes"});
  }
}

void Process::drain(Output& output) {
  error_code error;
  // Bounded, as a child of the program may write for ever; a pipe holds 64 KiB unless it was grown.
  for (int i = 0; i < 64 && !stopping_ && !output.ended && !error; ++i) {
    const std::size_t bytes = output.pipe.read_some(asio::buffer(output.buffer), error);
    take(output, bytes);
  }
}

void Process::wait_for_exit() {
  process_.async_wait(asio::posix::descriptor_base::wait_read,
                      [self = shared_from_this()](error_code error) {
                        if (!error && !self->closed_) self->exited();
                      });
}

void Process::exited() {
  siginfo_t info{};
  // WNOWAIT: as long as the program is not reaped, its group's number cannot be another's.
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT) == 0) {
    if (info.si_pid == 0) return wait_for_exit();
    exit_code_ = info.si_code;
    exit_status_ = info.si_status;
  } else {
    exit_code_ = -1;  // the host process reaps all children itself
  }
  if (stopping_) return close();
  if (output_.ended && errors_.ended) return complete();
  timer_.expires_after(kDrainGrace);
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (error || self->closed_ || self->stopping_) return;
    self->drain(self->output_);
    self->drain(self->errors_);
    self->complete();
  });
}

void Process::complete() {
  if (!stopping_) {
    auto on_result = std::move(options_.on_result);
    on_result(result());
  }
  close();
}

CallResult Process::result() {
  switch (exit_code_) {
    case CLD_EXITED: {
      if (exit_status_ == 0) {
        std::string text = std::move(output_.text);
        if (text.ends_with('\n')) text.pop_back();
        if (text.ends_with('\r')) text.pop_back();
        return {Outcome::returned, valid_utf8(text)};
      }
      const std::string line = last_line(errors_.text);
      return {Outcome::failed,
              "exit status " + std::to_string(exit_status_) + (line.empty() ? "" : ": " + line)};
    }
    case CLD_KILLED:
    case CLD_DUMPED: {
      const char* name = ::sigabbrev_np(exit_status_);
      return {Outcome::failed, "killed by signal " + std::to_string(exit_status_) +
                                   (name == nullptr ? "" : " (SIG" + std::string(name) + ")")};
    }
    default:
      return {Outcome::failed, "its exit status is not known"};
  }
}

void Process::stop() {
  if (stopping_ || closed_) return;
  stopping_ = true;
  if (exit_code_ != 0) {  // in the grace after its exit
    asio::post(timer_.get_executor(), [self = shared_from_this()] { self->close(); });
    return;
  }
  kill_group(SIGTERM);
  timer_.expires_after(kStopGrace);
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (!error && !self->closed_) self->kill_after_grace();
  });
}

void Process::kill_after_grace() {
  kill_group(SIGKILL);
  timer_.expires_after(kStopGrace);
  timer_.async_wait([self = shared_from_this()](error_code error) {
    if (!error) self->close();
  });
}

void Process::kill_group(int signal) const {
  // Not when somebody else has reaped it: the number may be another's.
  if (exit_code_ != -1) ::kill(-pid_, signal);
}

void Process::close() {
  if (closed_) return;
  closed_ = true;
  kill_group(SIGKILL);
  if (listed_ != nullptr) listed_->store(0);  // from here on the number may be another's
  ::waitpid(pid_, nullptr, WNOHANG);
  timer_.cancel();
  error_code ignored;
  for (auto* fd : {&process_, &input_, &output_.pipe, &errors_.pipe}) fd->close(ignored);
  options_.on_result = nullptr;
  std::exchange(options_.on_gone, nullptr)();
}

}  // namespace asynclm
