// SPDX-License-Identifier: Apache-2.0
// Errors as values: every boundary of the library returns Result<T>; nothing throws, prints or
// aborts.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace asynclm {

enum class ErrorCode : std::uint8_t {
  invalid_argument,  // the caller's input is wrong
  not_found,         // a file, tool, token or session that does not exist
  unsupported,       // understood, but not possible with this model, library or machine
  limit_exceeded,    // context, batch, sequence, size or time limit
  overloaded,        // too much is waiting; a later try may succeed
  cancelled,         // ended on request
  io,                // the operating system refused
  engine,            // the inference library failed
  internal,          // a bug in asynclm
};

// The message names the input, what is wrong with it and what to do.
struct Error {
  ErrorCode code = ErrorCode::internal;
  std::string message;
  std::chrono::milliseconds retry_after{};  // overloaded: when a new try has a chance
};

template <class T>
using Result = std::expected<T, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message)});
}

// "invalid_argument", "not_found", …
[[nodiscard]] std::string_view to_string(ErrorCode code);

}  // namespace asynclm
