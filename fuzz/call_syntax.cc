// SPDX-License-Identifier: Apache-2.0
// The argument syntax: whatever a block holds is a call or an error, and a call that is written out
// is read again as the same.
#include "cml/call_syntax.h"

#include <string>

#include "cml/future.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace asynclm;
  const std::string_view text = fuzz::text_of(data, size);
  for (const bool async_plus : {false, true}) {
    const auto call = parse_call(text, async_plus);
    if (!call) {
      fuzz::require(!call.error().message.empty(), "an error says what is wrong");
      continue;
    }
    // JSON can have any text as a name, and format_call writes literals only.
    bool writable = is_identifier(call->name) && futures_in(call->named).empty();
    for (const auto& argument : call->named.items()) {
      writable = writable && is_identifier(argument.key());
    }
    if (!writable) continue;
    const std::string written = format_call(call->name, call->named);
    const auto again = parse_call(written, false);
    fuzz::require(again.has_value(), "a written call can be read: " + written);
    fuzz::require(again->name == call->name && again->named == call->named,
                  "a written call is read as the same: " + written);
  }
  return 0;
}
