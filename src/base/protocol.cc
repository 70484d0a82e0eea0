// SPDX-License-Identifier: Apache-2.0
#include <format>

#include <asynclm/protocol.h>

namespace asynclm {

std::string_view to_string(Mode mode) {
  switch (mode) {
    case Mode::sync:
      return "sync";
    case Mode::sync_parallel:
      return "sync-parallel";
    case Mode::async:
      return "async";
    case Mode::async_plus:
      return "async+";
  }
  return "?";
}

Result<Mode> parse_mode(std::string_view text) {
  for (const Mode mode : {Mode::sync, Mode::sync_parallel, Mode::async, Mode::async_plus}) {
    if (to_string(mode) == text) return mode;
  }
  return fail(ErrorCode::invalid_argument,
              std::format("unknown mode '{}': use async, async+, sync or sync-parallel", text));
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::returned:
      return "returned";
    case Outcome::failed:
      return "failed";
    case Outcome::timed_out:
      return "timed_out";
    case Outcome::cancelled:
      return "cancelled";
  }
  return "unknown";
}

std::string_view to_string(Delivery delivery) {
  switch (delivery) {
    case Delivery::interrupt:
      return "interrupt";
    case Delivery::when_idle:
      return "when_idle";
    case Delivery::silent:
      return "silent";
  }
  return "unknown";
}

Result<Delivery> parse_delivery(std::string_view text) {
  for (const Delivery delivery : {Delivery::interrupt, Delivery::when_idle, Delivery::silent}) {
    if (to_string(delivery) == text) return delivery;
  }
  return fail(ErrorCode::invalid_argument,
              "unknown delivery '" + std::string(text) + "': use interrupt, when_idle or silent");
}

}  // namespace asynclm
