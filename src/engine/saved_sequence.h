// SPDX-License-Identifier: Apache-2.0
// What Engine::save returns: a header that says whose state this is, then the engine's own bytes.
// Not for exchange between machines: the checksum finds damage, not malice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <asynclm/error.h>

#include "engine/sampler.h"

namespace asynclm {

// Who wrote it. Restoring needs the same.
struct SavedOrigin {
  std::string_view library;  // EngineInfo::library
  std::uint64_t model = 0;   // a fingerprint
};

struct SavedSequence {
  std::int32_t tokens = 0;
  SamplerState sampler{SamplingParams{}};
  std::span<const std::byte> payload;  // within the bytes that were opened
};

// Bytes with room for a payload at their end, to be filled in and then sealed.
[[nodiscard]] std::vector<std::byte> make_saved(const SavedOrigin& origin, std::int32_t tokens,
                                                const SamplerState& sampler,
                                                std::size_t payload_bytes);
[[nodiscard]] std::span<std::byte> saved_payload(std::vector<std::byte>& saved,
                                                 std::size_t payload_bytes);
void seal_saved(std::vector<std::byte>& saved);

// invalid_argument: not a saved sequence, damaged, of another origin or format.
[[nodiscard]] Result<SavedSequence> open_saved(std::span<const std::byte> saved,
                                               const SavedOrigin& origin);

// The sampler alone, wherever the bytes come from.
[[nodiscard]] Result<SamplerState> saved_sampler(std::span<const std::byte> saved);

// A quick 64-bit hash of bytes, to tell files and states apart.
[[nodiscard]] std::uint64_t fingerprint(std::span<const std::byte> bytes, std::uint64_t seed = 0);

}  // namespace asynclm
