// SPDX-License-Identifier: Apache-2.0
// The words of the protocol that all layers share: tools as a model is told of them, messages, the
// modes, and how calls end.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include <asynclm/error.h>

namespace asynclm {

using Json = nlohmann::ordered_json;  // keeps the order of a schema's properties

enum class Mode : std::uint8_t {
  sync,           // the model waits for each call
  sync_parallel,  // calls are collected until the model traps, run together, all awaited
  async,          // calls run while the model goes on; results are interrupts (the paper)
  async_plus,     // async, and the model may name what it waits for, what a call comes after and
                  // whose result it takes, and may withdraw a call (docs/protocol.md)
};
// "sync", "sync-parallel", "async", "async+"
[[nodiscard]] std::string_view to_string(Mode mode);
[[nodiscard]] Result<Mode> parse_mode(std::string_view text);

struct Message {
  std::string role;  // "system", "user", "assistant"
  std::string content;
};

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

}  // namespace asynclm
