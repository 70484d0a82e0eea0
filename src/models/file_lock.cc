// SPDX-License-Identifier: Apache-2.0
#include "models/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <format>
#include <optional>
#include <system_error>
#include <utility>

namespace asynclm {
namespace {

// Who removes the file after use leaves the next one with a lock that nobody else sees.
bool is_still_there(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) != 0 || status.st_nlink > 0;
}

// A descriptor that holds the lock; -1: another process does.
Result<int> try_lock(const std::filesystem::path& path) {
  constexpr int kMode = 0664;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kMode);
  if (fd < 0) {
    return fail(ErrorCode::io, std::format("{}: cannot be made: {}", path.string(),
                                           std::generic_category().message(errno)));
  }
  const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  const bool taken = !locked && (errno == EWOULDBLOCK || errno == EINTR);
  if (!taken && is_still_there(fd)) return fd;
  ::close(fd);
  return -1;
}

}  // namespace

Result<FileLock> FileLock::acquire(const std::filesystem::path& path, PullWatch& watch) {
  bool told = false;
  while (true) {
    const Result<int> fd = try_lock(path);
    if (!fd) return std::unexpected(fd.error());
    if (*fd >= 0) return FileLock(*fd);
    if (!std::exchange(told, true)) {
      watch.note("another process downloads this file; waiting for it");
      watch.stage(PullStage::waiting);
    }
    if (auto paused = watch.pause(PullWatch::kTick); !paused) {
      return std::unexpected(std::move(paused.error()));
    }
  }
}

FileLock::FileLock(FileLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

FileLock::~FileLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace asynclm
