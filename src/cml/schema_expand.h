// SPDX-License-Identifier: Apache-2.0
// Reduces a tool's JSON Schema to the keywords that constrain values, with references replaced by
// what they refer to. What comes out is small, finite and safe to give to a validator.
#pragma once

#include <cstddef>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

namespace asynclm::schema {

inline constexpr std::size_t kMaxBytes = 64 * 1024;  // of the schema as JSON text
inline constexpr int kMaxDepth = 32;                 // levels of JSON, also after references
// References can multiply: a schema of a few lines may stand for a billion nodes.
inline constexpr std::size_t kMaxNodes = 10'000;
// The parser of regular expressions is recursive.
inline constexpr std::size_t kMaxPatternBytes = 256;

// Whether `value` has more than `levels` levels of arrays and objects. Safe for any depth.
[[nodiscard]] bool deeper_than(const Json& value, int levels);

// A name or value in an error message: quoted, one line, cut when long.
[[nodiscard]] std::string shown(const Json& value);

// Annotations, "format" and unknown keywords are dropped; "$ref" is resolved. Errors name the place
// as "parameters.properties.x", without the tool's name.
[[nodiscard]] Result<Json> expand(const Json& parameters);

}  // namespace asynclm::schema
