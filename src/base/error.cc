// SPDX-License-Identifier: Apache-2.0
#include <asynclm/error.h>

namespace asynclm {

std::string_view to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "invalid_argument";
    case ErrorCode::not_found:
      return "not_found";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::limit_exceeded:
      return "limit_exceeded";
    case ErrorCode::overloaded:
      return "overloaded";
    case ErrorCode::cancelled:
      return "cancelled";
    case ErrorCode::io:
      return "io";
    case ErrorCode::engine:
      return "engine";
    case ErrorCode::internal:
      return "internal";
  }
  return "unknown";
}

}  // namespace asynclm
