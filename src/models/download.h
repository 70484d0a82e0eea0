// SPDX-License-Identifier: Apache-2.0
// One file of a server into a PartialFile: goes on where it ended, tries again where that helps.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <asynclm/error.h>

#include "models/http.h"
#include "models/partial_file.h"
#include "models/retries.h"

namespace asynclm {

struct Download {
  std::string name = {};  // in messages
  std::string url = {};
  std::string token = {};
  std::optional<std::uint64_t> size = {};
  // If-Range: the server sends the rest only of the file that has this (strong) tag, else all.
  std::string etag = {};
  // What a bad reply means.
  std::function<Error(const HttpReply&)> explain = {};
};

// After success the file has `size` bytes, or as many as the server said; nothing is said about
// what they are. After an error it has what came and can be gone on with, but for a wrong size:
// then it is empty.
[[nodiscard]] Result<void> download(HttpClient& client, const Download& what, PartialFile& file,
                                    const RetryPolicy& policy, PullWatch& watch);

}  // namespace asynclm
