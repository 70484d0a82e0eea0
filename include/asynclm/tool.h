// SPDX-License-Identifier: Apache-2.0
// Tools: what a model can call. A tool is described by a ToolSpec (protocol.h) and executed by a
// C++ function or by a program.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

namespace asynclm {

// A tool in this process. Runs on a worker thread; `arguments` is an object that fulfils the
// schema. Should return soon after a stop request (time-out, cancel); its result is then ignored.
// An exception becomes a failed call.
using ToolFunction = std::function<Result<std::string>(const Json& arguments, std::stop_token)>;

// A tool that is a program: arguments as one JSON object on stdin, result on stdout.
struct ProcessCommand {
  std::vector<std::string> argv;  // argv[0] is looked up in PATH, with a slash in `directory`
  std::string directory;          // working directory; empty = the caller's
};

// A set of tools; immutable once it is handed to a Runtime.
class Toolbox {
 public:
  Toolbox();
  ~Toolbox();
  Toolbox(Toolbox&&) noexcept;
  Toolbox& operator=(Toolbox&&) noexcept;

  // Errors: bad name, name taken, schema that is not a valid object schema, empty command.
  [[nodiscard]] Result<void> add(ToolSpec spec, ToolFunction function);
  [[nodiscard]] Result<void> add(ToolSpec spec, ProcessCommand command);

  // Adds all tools of a JSON manifest: {"tools": [{"name", "description", "parameters",
  // "estimate_ms", "timeout_ms", "delivery", "idempotent", "command": ["prog", "arg", …],
  // "directory"}, …]}. A relative path with a slash in command[0], and "directory", where the
  // program runs, are relative to the manifest's folder.
  // All or nothing; the error names file, tool and field.
  [[nodiscard]] Result<void> load_manifest(const std::string& path);

  [[nodiscard]] std::vector<ToolSpec> specs() const;  // in the order of adding
  [[nodiscard]] const ToolSpec* find(std::string_view name) const;

  struct Impl;  // src/tools/toolbox.h
  [[nodiscard]] const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
