// SPDX-License-Identifier: Apache-2.0
#include "models/partial_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <format>
#include <functional>
#include <system_error>
#include <utility>
#include <vector>

namespace asynclm {
namespace {

constexpr std::size_t kHashedAtOnce = std::size_t{1} << 20U;

// Where the folder is to be made, of the one above it.
std::optional<std::uint64_t> free_bytes(std::filesystem::path folder) {
  std::error_code error;
  while (!std::filesystem::exists(folder, error) && folder.has_relative_path()) {
    folder = folder.parent_path();
  }
  struct statvfs status{};
  if (::statvfs(folder.c_str(), &status) != 0) return std::nullopt;
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

Error no_room(const std::filesystem::path& folder, std::uint64_t needed, std::string_view why) {
  const auto free = free_bytes(folder);
  return {ErrorCode::limit_exceeded,
          std::format("{}: {}: {} more are needed{}. Make room, or set HF_HUB_CACHE to a folder on "
                      "another disk",
                      folder.string(), why, bytes_text(needed),
                      free ? std::format(", {} are free", bytes_text(*free)) : "")};
}

// Calls `take` with all bytes of the file, from where it stands.
Result<void> read_to_end(int fd, const std::filesystem::path& path, PullWatch& watch,
                         const std::function<void(std::string_view)>& take) {
  std::vector<char> buffer(kHashedAtOnce);
  while (true) {
    if (watch.stopped()) return std::unexpected(PullWatch::stop_error());
    const ssize_t count = ::read(fd, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      return fail(ErrorCode::io, std::format("{}: cannot be read: {}", path.string(),
                                             std::generic_category().message(errno)));
    }
    if (count == 0) return {};
    take({buffer.data(), static_cast<std::size_t>(count)});
  }
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"bytes", "kB", "MB", "GB", "TB"};
  constexpr double kStep = 1000;
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  // As far as the rounded value has three digits.
  while (value >= kStep - 0.5 && unit + 1 < std::size(kUnits)) {
    value /= kStep;
    ++unit;
  }
  const int digits = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return std::format("{:.{}f} {}", value, digits, kUnits[unit]);
}

Result<void> check_room(const std::filesystem::path& folder, std::uint64_t bytes) {
  const auto free = free_bytes(folder);
  if (!free || *free >= bytes) return {};
  return std::unexpected(no_room(folder, bytes, "the disk is too full"));
}

Result<PartialFile> PartialFile::open(const std::filesystem::path& path, PullWatch& watch) {
  constexpr int kMode = 0644;
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, kMode);
  PartialFile file(path, fd);
  if (fd < 0) return file.failed("cannot be written");
  if (auto hashed = file.hash_present(watch); !hashed) {
    return std::unexpected(std::move(hashed.error()));
  }
  return file;
}

PartialFile::PartialFile(PartialFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::exchange(other.fd_, -1)),
      size_(other.size_),
      expected_(other.expected_),
      hash_(std::move(other.hash_)) {}

PartialFile::~PartialFile() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> PartialFile::hash_present(PullWatch& watch) {
  struct stat status{};
  if (::fstat(fd_, &status) != 0 || !S_ISREG(status.st_mode)) return failed("is not a file");
  if (status.st_size == 0) return {};
  watch.stage(PullStage::checking);
  return read_to_end(fd_, path_, watch, [&](std::string_view bytes) {
    hash_.add(bytes);
    size_ += bytes.size();
    watch.done(size_);
  });
}

Result<void> PartialFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("cannot be written");
    const auto count = static_cast<std::size_t>(written);
    hash_.add(bytes.substr(0, count));
    size_ += count;
    bytes.remove_prefix(count);
  }
  return {};
}

Result<void> PartialFile::clear() {
  if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0)
    return failed("cannot be written");
  size_ = 0;
  hash_ = Sha256();
  return {};
}

Result<std::string> PartialFile::close() {
  if (::fsync(fd_) != 0 || ::close(std::exchange(fd_, -1)) != 0) return failed("cannot be written");
  return hash_.take_hex();
}

void PartialFile::remove() { (void)::unlink(path_.c_str()); }

std::unexpected<Error> PartialFile::failed(const char* what) const {
  const int error = errno;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    const char* why = error == ENOSPC   ? "the disk is full"
                      : error == EDQUOT ? "the user's share of the disk is full"
                                        : "the file may not grow any more (ulimit -f)";
    const std::uint64_t needed = expected_ && *expected_ > size_ ? *expected_ - size_ : 1;
    return std::unexpected(no_room(path_.parent_path(), needed, why));
  }
  return fail(ErrorCode::io, std::format("{}: {}: {}", path_.string(), what,
                                         std::generic_category().message(error)));
}

Result<std::string> sha256_of_file(const std::filesystem::path& path, PullWatch& watch) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return fail(ErrorCode::io, std::format("{}: cannot be opened: {}", path.string(),
                                           std::generic_category().message(errno)));
  }
  Sha256 hash;
  std::uint64_t done = 0;
  watch.stage(PullStage::checking);
  auto read = read_to_end(fd, path, watch, [&](std::string_view bytes) {
    hash.add(bytes);
    done += bytes.size();
    watch.done(done);
  });
  ::close(fd);
  if (!read) return std::unexpected(std::move(read.error()));
  return hash.take_hex();
}

}  // namespace asynclm
