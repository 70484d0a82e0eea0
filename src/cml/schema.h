// SPDX-License-Identifier: Apache-2.0
// Checks a call's arguments against the JSON Schema of its tool.
//
// Dialect: draft 7 without "format", plus local "$ref" ("#/$defs/…"); a schema that needs more
// (remote or recursive references, unevaluatedProperties, …) is refused when it is compiled, never
// misread. Neither a hostile schema nor hostile arguments can crash or hang the check.
#pragma once

#include <memory>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

namespace asynclm {

// Immutable and cheap to copy; may be used by several threads at once.
class ArgumentValidator {
 public:
  // Errors (invalid_argument, unsupported, limit_exceeded) name the tool and the place in its
  // schema.
  [[nodiscard]] static Result<ArgumentValidator> compile(const ToolSpec& tool);

  // Places positional arguments by the order of "properties", adds the named ones (an object, in
  // which a name given twice by the caller has already been refused) and checks the whole.
  // Returns the arguments as one object in the schema's order; 3.0 becomes 3 where the schema
  // wants an integer, nothing else is converted. The error is one short line for the model.
  [[nodiscard]] Result<Json> check(const std::vector<Json>& positional, const Json& named) const;

  // The first part of check(): places the arguments and checks their names, not their values.
  [[nodiscard]] Result<Json> place(const std::vector<Json>& positional, const Json& named) const;

  // Whether a string may stand for the argument, as far as its schema names types.
  [[nodiscard]] bool wants_text(const std::string& name) const;

 private:
  struct Impl;
  explicit ArgumentValidator(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

}  // namespace asynclm
