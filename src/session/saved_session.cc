// SPDX-License-Identifier: Apache-2.0
#include "session/saved_session.h"

#include <cstdint>
#include <cstring>
#include <exception>
#include <format>
#include <span>
#include <type_traits>
#include <vector>

#include "engine/saved_sequence.h"

namespace asynclm {
namespace {

constexpr std::uint64_t kSessionMagic = 0x3153'4553'4D4C'5941U;  // "AYLMSES1" in memory order
constexpr std::uint64_t kSessionFormat = 2;

struct SessionFileHeader {
  std::uint64_t magic = kSessionMagic;
  std::uint64_t format = kSessionFormat;
  std::uint64_t bytes = 0;     // behind the header
  std::uint64_t checksum = 0;  // of them
};
static_assert(std::is_trivially_copyable_v<SessionFileHeader> && sizeof(SessionFileHeader) == 32);

std::uint64_t checksum_of(std::string_view body) {
  return fingerprint(std::as_bytes(std::span(body)));
}

// The reader calls itself for each level: a session has a call's arguments (64 levels at most) and
// a few around them.
constexpr int kMaxLevels = 100;

class DepthLimit : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return ++levels_ <= kMaxLevels; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return --levels_ >= 0; }
  bool start_array(std::size_t) override { return ++levels_ <= kMaxLevels; }
  bool end_array() override { return --levels_ >= 0; }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) override {
    return false;
  }

 private:
  int levels_ = 0;
};

}  // namespace

std::string seal_session(const Json& session) {
  std::string body;
  Json::to_cbor(session, nlohmann::detail::output_adapter<char>(body));
  SessionFileHeader header;
  header.bytes = body.size();
  header.checksum = checksum_of(body);
  std::string out(sizeof header, '\0');
  std::memcpy(out.data(), &header, sizeof header);
  return out + body;
}

Result<Json> open_session(std::string_view bytes) {
  constexpr auto kCode = ErrorCode::invalid_argument;
  SessionFileHeader header;
  if (bytes.size() < sizeof header) return fail(kCode, "is no saved session, or cut off");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kSessionMagic) return fail(kCode, "is no saved session");
  if (header.format != kSessionFormat) {
    return fail(ErrorCode::unsupported,
                std::format("is a saved session of format {}; this asynclm reads format {}",
                            header.format, kSessionFormat));
  }
  const std::string_view body = bytes.substr(sizeof header);
  if (body.size() != header.bytes) {
    return fail(kCode, std::format("is cut off or has bytes too many: {} where {} should be",
                                   body.size(), header.bytes));
  }
  if (checksum_of(body) != header.checksum) {
    return fail(kCode, "is damaged (its checksum does not fit)");
  }
  try {
    DepthLimit limit;
    if (!Json::sax_parse(body, &limit, Json::input_format_t::cbor)) {
      return fail(kCode, "is damaged (no CBOR, or nested too deep)");
    }
    return Json::from_cbor(body);
  } catch (const std::exception& error) {
    return fail(kCode, std::format("is damaged: {}", error.what()));
  }
}

}  // namespace asynclm
