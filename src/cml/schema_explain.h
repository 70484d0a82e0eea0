// SPDX-License-Identifier: Apache-2.0
// Says in words what a value must be to fit a schema, and why one does not.
#pragma once

#include <string>

#include <asynclm/protocol.h>

namespace asynclm::schema {

// Types as a set of bits; `number` includes integers.
enum Type : unsigned {
  kNull = 1,
  kBoolean = 2,
  kInteger = 4,
  kNumber = 8,
  kString = 16,
  kArray = 32,
  kObject = 64,
  kAnyType = 127,
};

// The types that an expanded schema allows, as far as it says so; kAnyType if it does not.
[[nodiscard]] unsigned allowed_types(const Json& schema);
[[nodiscard]] Type type_of(const Json& value);
[[nodiscard]] bool allows(unsigned types, Type type);

// One short line, "argument \"a.b[0]\": expected integer, got string", for a value that a validator
// has found not to fit. `path` is "" for the arguments as a whole. Empty where words fail ("not",
// "if", …). Throws what PatternEngine throws.
[[nodiscard]] std::string explain(const Json& schema, const Json& value, const std::string& path);

}  // namespace asynclm::schema
