// SPDX-License-Identifier: Apache-2.0
#include "base/utf8.h"

#include <iterator>

#include <boost/nowide/utf/utf.hpp>

namespace asynclm {
namespace {

namespace utf = boost::nowide::utf;
using Utf8 = utf::utf_traits<char>;

}  // namespace

std::size_t find_invalid_utf8(std::string_view text) {
  for (auto at = text.begin(); at != text.end();) {
    const auto begin = at;
    const utf::code_point code = Utf8::decode(at, text.end());
    if (code == utf::illegal || code == utf::incomplete) {
      return static_cast<std::size_t>(begin - text.begin());
    }
  }
  return text.size();
}

std::size_t complete_utf8_prefix(std::string_view text, std::size_t from) {
  // Only the last three bytes can belong to a character that is not complete.
  for (std::size_t back = 1; back <= 3 && text.size() >= from + back; ++back) {
    const char byte = text[text.size() - back];
    if (Utf8::is_trail(byte)) continue;
    const bool complete = Utf8::trail_length(byte) < static_cast<int>(back);
    return complete ? text.size() : text.size() - back;
  }
  return text.size();
}

bool is_unicode(std::uint32_t code_point) { return utf::is_valid_codepoint(code_point); }

void append_utf8(std::uint32_t code_point, std::string& out) {
  Utf8::encode(code_point, std::back_inserter(out));
}

}  // namespace asynclm
