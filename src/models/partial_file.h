// SPDX-License-Identifier: Apache-2.0
// A file that grows until it is whole: its bytes are always the first ones of the wanted file, so a
// later process can go on behind them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <asynclm/error.h>

#include "models/pull_events.h"
#include "models/sha256.h"

namespace asynclm {

// limit_exceeded if the file system of `folder` has not `bytes` free; the message says so.
[[nodiscard]] Result<void> check_room(const std::filesystem::path& folder, std::uint64_t bytes);

// "491 MB", "1.12 GB"; of decimal units, as disks and hubs count.
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

class PartialFile {
 public:
  // Opens or makes it, and hashes what is there.
  [[nodiscard]] static Result<PartialFile> open(const std::filesystem::path& path,
                                                PullWatch& watch);
  PartialFile(PartialFile&& other) noexcept;
  PartialFile& operator=(PartialFile&&) = delete;
  ~PartialFile();

  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // What it is to become, for messages about a full disk.
  void expect(std::uint64_t size) { expected_ = size; }

  [[nodiscard]] Result<void> append(std::string_view bytes);
  [[nodiscard]] Result<void> clear();
  // Its bytes are on the disk, also after a crash, and the file is closed. Returns their SHA-256.
  [[nodiscard]] Result<std::string> close();
  void remove();

 private:
  PartialFile(std::filesystem::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  [[nodiscard]] Result<void> hash_present(PullWatch& watch);
  [[nodiscard]] std::unexpected<Error> failed(const char* what) const;

  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
  std::optional<std::uint64_t> expected_;
  Sha256 hash_;
};

// The SHA-256 of a whole file.
[[nodiscard]] Result<std::string> sha256_of_file(const std::filesystem::path& path,
                                                 PullWatch& watch);

}  // namespace asynclm
