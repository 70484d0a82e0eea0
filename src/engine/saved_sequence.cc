// SPDX-License-Identifier: Apache-2.0
#include "engine/saved_sequence.h"

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

namespace asynclm {
namespace {

constexpr std::uint64_t kMagic = 0x3151'4553'4D4C'5941U;  // "AYLMSEQ1" in memory order
constexpr std::uint32_t kFormat = 1;

// Native byte order: the engine's own bytes have it too. No padding, so that every byte of the
// state is the same for the same sequence.
struct Header {
  std::uint64_t magic = kMagic;
  std::uint64_t checksum = 0;  // of everything behind this field
  std::uint32_t format = kFormat;
  std::int32_t tokens = 0;
  std::uint64_t library = 0;
  std::uint64_t model = 0;
  std::uint64_t seed = 0;
  std::uint64_t random = 0;
  std::uint64_t payload_bytes = 0;
  float temperature = 0;
  std::int32_t top_k = 0;
  float top_p = 0;
  float min_p = 0;
};
static_assert(std::is_trivially_copyable_v<Header> && sizeof(Header) == 80);
constexpr std::size_t kChecksumEnd = offsetof(Header, checksum) + sizeof(Header::checksum);

std::uint64_t hash_text(std::string_view text) {
  return fingerprint(std::as_bytes(std::span(text)));
}

Header read_header(std::span<const std::byte> saved) {
  Header header;
  std::memcpy(&header, saved.data(), sizeof header);
  return header;
}

}  // namespace

// Four independent lanes of multiply and rotate: memory speed, since states are many megabytes.
std::uint64_t fingerprint(std::span<const std::byte> bytes, std::uint64_t seed) {
  constexpr std::uint64_t kA = 0x9E3779B185EBCA87U;
  constexpr std::uint64_t kB = 0xC2B2AE3D27D4EB4FU;
  constexpr std::size_t kBlock = 32;
  std::array<std::uint64_t, 4> lanes{seed + kA, seed + kB, seed ^ kA, seed ^ kB};
  const std::uint64_t length = bytes.size();
  std::array<std::uint64_t, 4> words{};
  const auto mix = [&] {
    for (std::size_t i = 0; i < lanes.size(); ++i) {
      lanes[i] = std::rotl(lanes[i] + words[i] * kB, 31) * kA;
    }
  };
  for (; bytes.size() >= kBlock; bytes = bytes.subspan(kBlock)) {
    std::memcpy(words.data(), bytes.data(), kBlock);
    mix();
  }
  words.fill(0);
  if (!bytes.empty()) std::memcpy(words.data(), bytes.data(), bytes.size());
  mix();
  std::uint64_t hash = length * kA;
  for (const std::uint64_t lane : lanes) {
    hash = (hash ^ lane) * kB;
    hash ^= hash >> 29U;
  }
  return hash;
}

std::vector<std::byte> make_saved(const SavedOrigin& origin, std::int32_t tokens,
                                  const SamplerState& sampler, std::size_t payload_bytes) {
  Header header;
  header.tokens = tokens;
  header.library = hash_text(origin.library);
  header.model = origin.model;
  header.seed = sampler.params.seed;
  header.random = sampler.random.state();
  header.payload_bytes = payload_bytes;
  header.temperature = sampler.params.temperature;
  header.top_k = sampler.params.top_k;
  header.top_p = sampler.params.top_p;
  header.min_p = sampler.params.min_p;
  std::vector<std::byte> saved(sizeof header + payload_bytes);
  std::memcpy(saved.data(), &header, sizeof header);
  return saved;
}

std::span<std::byte> saved_payload(std::vector<std::byte>& saved, std::size_t payload_bytes) {
  return std::span(saved).last(payload_bytes);
}

void seal_saved(std::vector<std::byte>& saved) {
  const std::uint64_t checksum = fingerprint(std::span(saved).subspan(kChecksumEnd));
  std::memcpy(saved.data() + offsetof(Header, checksum), &checksum, sizeof checksum);
}

namespace {

// The header of bytes that are whole; wherever they come from.
Result<Header> open_header(std::span<const std::byte> saved) {
  constexpr auto kCode = ErrorCode::invalid_argument;
  if (saved.size() < sizeof(Header)) {
    return fail(kCode, "the saved sequence is too short to be one");
  }
  const Header header = read_header(saved);
  if (header.magic != kMagic) return fail(kCode, "these bytes are not a saved sequence");
  if (header.format != kFormat) {
    return fail(kCode, "the saved sequence has another version's format; compute it again");
  }
  if (header.payload_bytes != saved.size() - sizeof(Header)) {
    return fail(kCode, "the saved sequence is cut off or has bytes too many");
  }
  return header;
}

Result<SamplerState> sampler_of(const Header& header, std::span<const std::byte> saved) {
  constexpr auto kCode = ErrorCode::invalid_argument;
  if (header.checksum != fingerprint(saved.subspan(kChecksumEnd)) || header.tokens < 0) {
    return fail(kCode, "the saved sequence is damaged (its checksum does not fit)");
  }
  SamplerState sampler(SamplingParams{.temperature = header.temperature,
                                      .top_k = header.top_k,
                                      .top_p = header.top_p,
                                      .min_p = header.min_p,
                                      .seed = header.seed});
  if (Result<void> valid = validate(sampler.params); !valid) {
    return fail(kCode, "the saved sequence is damaged: " + valid.error().message);
  }
  sampler.random = Random(header.random);
  return sampler;
}

}  // namespace

Result<SavedSequence> open_saved(std::span<const std::byte> saved, const SavedOrigin& origin) {
  constexpr auto kCode = ErrorCode::invalid_argument;
  const Result<Header> header = open_header(saved);
  if (!header) return std::unexpected(header.error());
  if (header->library != hash_text(origin.library)) {
    return fail(kCode, "the saved sequence comes from another engine or library version than " +
                           std::string(origin.library) + "; compute it again");
  }
  if (header->model != origin.model) {
    return fail(kCode, "the saved sequence comes from another model; compute it again");
  }
  const Result<SamplerState> sampler = sampler_of(*header, saved);
  if (!sampler) return std::unexpected(sampler.error());
  return SavedSequence{header->tokens, *sampler, saved.subspan(sizeof(Header))};
}

Result<SamplerState> saved_sampler(std::span<const std::byte> saved) {
  const Result<Header> header = open_header(saved);
  if (!header) return std::unexpected(header.error());
  return sampler_of(*header, saved);
}

}  // namespace asynclm
