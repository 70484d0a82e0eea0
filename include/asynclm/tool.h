// SPDX-License-Identifier: Apache-2.0
// Tools: what a model can call. A tool is described by a ToolSpec and executed by a C++ function or
// by a program.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include <asynclm/error.h>

namespace asynclm {

using Json = nlohmann::ordered_json;  // keeps the order of a schema's properties

// When a result or a message enters the model's context. Never inside a block or a line of text
// (a line that goes on for long is cut between words); what is there at the same time enters it
// together.
enum class Delivery : std::uint8_t {
  interrupt,  // at once
  when_idle,  // when the model pauses or has ended its turn
  silent,     // with the next thing that does: the model is not woken for it
};
// "interrupt", "when_idle", "silent"
[[nodiscard]] std::string_view to_string(Delivery delivery);
[[nodiscard]] Result<Delivery> parse_delivery(std::string_view text);

// What the model is told of a tool, and how long it may run.
struct ToolSpec {
  std::string name;         // [A-Za-z_][A-Za-z0-9_]*, at most 64 characters
  std::string description;  // one line, plain words
  // JSON Schema of an object; the order of "properties" is the order of positional arguments.
  Json parameters = Json{{"type", "object"}, {"properties", Json::object()}};
  std::chrono::milliseconds estimate{100};    // expected run time; the model orders calls by it
  std::chrono::milliseconds timeout{30'000};  // then the call ends as timed_out
  // Of results. Of a silent tool the model is told at once if a call did not return; its results
  // end a pause only if nothing else can.
  Delivery delivery = Delivery::interrupt;
  // A call whose process is gone may be run again: a saved session does so when it is loaded.
  bool idempotent = false;
};

// How a call ended. Each call has exactly one outcome.
enum class Outcome : std::uint8_t { returned, failed, timed_out, cancelled };
[[nodiscard]] std::string_view to_string(Outcome outcome);

struct CallResult {
  Outcome outcome = Outcome::returned;
  std::string text;  // the value, or what went wrong in words that the model can pass on
};

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
