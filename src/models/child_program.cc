// SPDX-License-Identifier: Apache-2.0
#include "models/child_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <format>
#include <string_view>
#include <system_error>
#include <thread>

namespace asynclm {
namespace {

constexpr std::size_t kKeptOutput = 4096;

class Pipe {
 public:
  Pipe() { good_ = ::pipe2(ends_.data(), O_CLOEXEC) == 0; }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;

  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] int reader() const { return ends_[0]; }
  [[nodiscard]] int writer() const { return ends_[1]; }
  void close_writer() { close_end(1); }

 private:
  void close_end(std::size_t end) {
    if (ends_[end] >= 0) ::close(ends_[end]);
    ends_[end] = -1;
  }
  std::array<int, 2> ends_ = {-1, -1};
  bool good_ = false;
};

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& each : strings) out.push_back(each.data());
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment_of(const ChildProgram& program) {
  std::vector<std::string> out;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view text = *each;
    bool replaced = false;
    for (const auto& [name, value] : program.environment) {
      replaced = replaced || text.starts_with(name + "=");
    }
    if (!replaced) out.emplace_back(text);
  }
  for (const auto& [name, value] : program.environment) out.push_back(name + "=" + value);
  return out;
}

// What the child needs, made before the fork: after it only what is safe in a signal handler runs.
struct Prepared {
  char** arguments;
  char** environment;
  const char* folder;
  int output, error;
  pid_t parent;
};

[[noreturn]] void become(const Prepared& prepared) {
  constexpr int kCannotRun = 127;
  // Its own group: Ctrl-C of the terminal reaches it through us alone.
  (void)::setpgid(0, 0);
  (void)::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != prepared.parent) ::_exit(kCannotRun);
  sigset_t none;
  sigemptyset(&none);
  (void)::sigprocmask(SIG_SETMASK, &none, nullptr);
  const int input = ::open("/dev/null", O_RDONLY);
  if (::dup2(input, STDIN_FILENO) >= 0 && ::dup2(prepared.output, STDOUT_FILENO) >= 0 &&
      ::dup2(prepared.output, STDERR_FILENO) >= 0 && ::chdir(prepared.folder) == 0) {
    ::execvpe(prepared.arguments[0], prepared.arguments, prepared.environment);
  }
  const int error = errno;
  [[maybe_unused]] const ssize_t told = ::write(prepared.error, &error, sizeof error);
  ::_exit(kCannotRun);
}

class Child {
 public:
  Child(pid_t pid, int output) : pid_(pid), output_(output) {
    (void)::fcntl(output_, F_SETFL, O_NONBLOCK);
  }

  Result<ChildEnd> wait(PullWatch& watch, const std::function<void()>& on_tick) {
    while (!exited()) {
      if (watch.stopped()) {
        end();
        return std::unexpected(PullWatch::stop_error());
      }
      pollfd poll{.fd = output_, .events = POLLIN, .revents = 0};
      if (ended_) {
        std::this_thread::sleep_for(PullWatch::kTick);
      } else if (::poll(&poll, 1, static_cast<int>(PullWatch::kTick.count())) > 0) {
        read();
      }
      on_tick();
    }
    read();
    return ChildEnd{
        .exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_),
        .output = std::move(text_)};
  }

 private:
  bool exited() { return ::waitpid(pid_, &status_, WNOHANG) != 0; }

  void read() {
    std::array<char, 4096> buffer{};
    ssize_t count = 0;
    while ((count = ::read(output_, buffer.data(), buffer.size())) > 0) {
      text_.append(buffer.data(), static_cast<std::size_t>(count));
      if (text_.size() > kKeptOutput) text_.erase(0, text_.size() - kKeptOutput);
    }
    ended_ = ended_ || count == 0;
  }

  void end() {
    constexpr int kTicksOfGrace = 20;
    (void)::kill(-pid_, SIGTERM);
    for (int i = 0; i < kTicksOfGrace; ++i) {
      if (exited()) return;
      std::this_thread::sleep_for(PullWatch::kTick);
    }
    (void)::kill(-pid_, SIGKILL);
    (void)::waitpid(pid_, &status_, 0);
  }

  pid_t pid_;
  int output_;
  int status_ = 0;
  bool ended_ = false;  // the output
  std::string text_;
};

std::unexpected<Error> not_started(const ChildProgram& program, int error) {
  return fail(error == ENOENT ? ErrorCode::not_found : ErrorCode::io,
              std::format("{} cannot be started: {}", program.arguments.front(),
                          std::generic_category().message(error)));
}

}  // namespace

Result<ChildEnd> run_child(const ChildProgram& program, PullWatch& watch,
                           const std::function<void()>& on_tick) {
  std::vector<std::string> arguments = program.arguments;
  std::vector<std::string> environment = environment_of(program);
  std::vector<char*> argument_pointers = pointers_to(arguments);
  std::vector<char*> environment_pointers = pointers_to(environment);
  Pipe output, error;
  if (!output.good() || !error.good()) return not_started(program, errno);
  const Prepared prepared{.arguments = argument_pointers.data(),
                          .environment = environment_pointers.data(),
                          .folder = program.folder.c_str(),
                          .output = output.writer(),
                          .error = error.writer(),
                          .parent = ::getpid()};
  const pid_t pid = ::fork();
  if (pid < 0) return not_started(program, errno);
  if (pid == 0) become(prepared);
  (void)::setpgid(pid, pid);  // whoever comes first
  output.close_writer();
  error.close_writer();
  int code = 0;
  if (::read(error.reader(), &code, sizeof code) == sizeof code) {
    (void)::waitpid(pid, nullptr, 0);
    return not_started(program, code);
  }
  return Child(pid, output.reader()).wait(watch, on_tick);
}

}  // namespace asynclm
