// SPDX-License-Identifier: Apache-2.0
#include "base/file.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <format>
#include <system_error>

namespace asynclm {
namespace {

std::unexpected<Error> system_failed(const std::string& path, const char* what) {
  const int error = errno;
  return fail(error == ENOENT ? ErrorCode::not_found : ErrorCode::io,
              std::format("{}: {}: {}", path, what, std::generic_category().message(error)));
}

class FileHandle {
 public:
  explicit FileHandle(int fd) : fd_(fd) {}
  ~FileHandle() {
    if (fd_ >= 0) ::close(fd_);
  }
  FileHandle(const FileHandle&) = delete;
  FileHandle& operator=(const FileHandle&) = delete;
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool close() {
    const int fd = fd_;
    fd_ = -1;
    return ::close(fd) == 0;
  }

 private:
  int fd_;
};

bool write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Result<std::string> read_whole_file(const std::string& path, std::size_t max_bytes) {
  // Not blocking, so that a named pipe does not hang the caller.
  const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return system_failed(path, "cannot be opened");
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return system_failed(path, "cannot be read");
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::io, path + ": is not a file");
  std::string out;
  char buffer[1 << 16];
  while (true) {
    const ssize_t count = ::read(file.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_failed(path, "cannot be read");
    if (count == 0) return out;
    out.append(buffer, static_cast<std::size_t>(count));
    if (out.size() > max_bytes) {
      return fail(ErrorCode::limit_exceeded,
                  std::format("{}: has more than {} bytes", path, max_bytes));
    }
  }
}

Result<void> replace_file(const std::string& path, std::string_view bytes) {
  std::string beside = path + ".XXXXXX";
  FileHandle file(::mkostemp(beside.data(), O_CLOEXEC));
  if (file.get() < 0) return system_failed(path, "cannot be written");
  // The owner's alone, as mkostemp makes it: a session is nobody else's business.
  const bool done = write_all(file.get(), bytes) && ::fsync(file.get()) == 0 && file.close() &&
                    std::rename(beside.c_str(), path.c_str()) == 0;
  if (done) return {};
  auto error = system_failed(path, "cannot be written");
  ::unlink(beside.c_str());
  return error;
}

}  // namespace asynclm
