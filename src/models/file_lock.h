// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>

#include <asynclm/error.h>

#include "models/pull_events.h"

namespace asynclm {

// A lock between processes, as huggingface_hub takes it (flock). It ends with the object and with
// the process. File systems that know no locks have none: then two processes may do the same work.
class FileLock {
 public:
  // Waits for another holder, with PullStage::waiting. Error: stopped, or the file cannot be made.
  [[nodiscard]] static Result<FileLock> acquire(const std::filesystem::path& path,
                                                PullWatch& watch);
  FileLock(FileLock&& other) noexcept;
  FileLock& operator=(FileLock&&) = delete;
  ~FileLock();

 private:
  explicit FileLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace asynclm
