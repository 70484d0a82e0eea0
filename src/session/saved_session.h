// SPDX-License-Identifier: Apache-2.0
// A saved session as bytes: a header with format and checksum, then CBOR (which keeps text that is
// not UTF-8 as it is). The checksum finds damage, not malice; what is read is checked all the same.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

namespace asynclm {

[[nodiscard]] std::string seal_session(const Json& session);

// invalid_argument: no saved session, cut off, damaged. unsupported: another version's format.
[[nodiscard]] Result<Json> open_session(std::string_view bytes);

// A context of a million tokens, and results, take less.
inline constexpr std::size_t kMaxSavedSession = std::size_t{256} << 20;

}  // namespace asynclm
