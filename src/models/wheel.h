// SPDX-License-Identifier: Apache-2.0
// Reads a Python package as what it is, a zip archive. Nothing of it is run or written anywhere.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include <asynclm/error.h>

namespace asynclm {

// Calls `take` with the bytes of the one file in the archive whose name ends with "/" and `member`,
// from byte `skip` on. It must have `size` bytes. `take` may end it with an error.
[[nodiscard]] Result<void> read_wheel_member(
    const std::filesystem::path& wheel, std::string_view member, std::uint64_t size,
    std::uint64_t skip, const std::function<Result<void>(std::string_view)>& take);

}  // namespace asynclm
