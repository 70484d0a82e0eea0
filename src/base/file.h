// SPDX-License-Identifier: Apache-2.0
// Whole files. Errors name the path.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <asynclm/error.h>

namespace asynclm {

// not_found, io, limit_exceeded (more than `max_bytes`).
[[nodiscard]] Result<std::string> read_whole_file(const std::string& path, std::size_t max_bytes);

// Either the file has the new bytes, also after a crash, or it is as it was: they go into a file
// beside it, which then takes its name.
[[nodiscard]] Result<void> replace_file(const std::string& path, std::string_view bytes);

}  // namespace asynclm
