// SPDX-License-Identifier: Apache-2.0
// The schema compiler and the check of arguments: an answer or an error, never a crash or a stall.
//
// Input: a tool's parameters as JSON, a zero byte, and arguments as JSON.
#include "cml/schema.h"

#include "cml/call_syntax.h"
#include "target.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace asynclm;
  std::string_view input = fuzz::text_of(data, size);
  const std::string_view schema = fuzz::take_until(input, '\0');
  if (nests_deeper(schema, 200) || nests_deeper(input, 64)) return 0;
  ToolSpec tool{.name = "f", .description = "d"};
  tool.parameters = Json::parse(schema, nullptr, false);
  if (tool.parameters.is_discarded()) return 0;
  const auto validator = ArgumentValidator::compile(tool);
  if (!validator) {
    fuzz::require(!validator.error().message.empty(), "an error says what is wrong");
    return 0;
  }
  const Json arguments = Json::parse(input, nullptr, false);
  if (!arguments.is_object()) return 0;
  const auto checked = validator->check({}, arguments);
  if (!checked) return 0;
  const auto again = validator->check({}, *checked);
  fuzz::require(again.has_value() && *again == *checked, "checked arguments stay as they are");
  return 0;
}
