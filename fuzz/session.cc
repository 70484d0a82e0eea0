// SPDX-License-Identifier: Apache-2.0
// Parser and session: any tokens that a model may write, results at any time. The session keeps its
// rules (session_checker.h), in every mode.
//
// Input: one byte for mode and monitor, then tokens. Bytes from 0xF0 on are control tokens and
// events.
#include <vector>

#include <asynclm/session.h>

#include "cml/test_vocabulary.h"
#include "grammar/test_grammar.h"
#include "session/test_session_checker.h"
#include "target.h"

namespace asynclm {
namespace {

constexpr std::uint8_t kFirstControl = 0xF0, kReturns = 0xFC, kFails = 0xFD, kInterrupt = 0xFE,
                       kPart = 0xFF;

SessionConfig config_of(std::uint8_t byte) {
  SessionConfig config;
  config.mode =
      std::vector{Mode::sync, Mode::sync_parallel, Mode::async, Mode::async_plus}[byte % 4];
  config.constrained = (byte & 4U) != 0;
  config.jump_forward = config.constrained && (byte & 8U) != 0;
  config.drafts = config.constrained && (byte & 16U) != 0;
  config.max_generated = 300;
  config.context_tokens = (byte & 32U) != 0 ? 1024 : 4096;
  config.max_call_tokens = 100;
  config.max_result_bytes = 40;
  config.max_calls = 12;
  return config;
}

void run(std::string_view input) {
  if (input.empty()) return;
  const SessionConfig config = config_of(static_cast<std::uint8_t>(input.front()));
  const Vocabulary& vocabulary = quick_vocabulary();
  auto session = Session::create(vocabulary, varied_tools(), {{"user", "get some words"}}, config);
  fuzz::require(session.has_value(), "a session can be created");
  SessionChecker checker(*session, vocabulary, config);
  Time now{};
  for (const char c : input.substr(1)) {
    const auto byte = static_cast<std::uint8_t>(c);
    now += from_ms(1);
    const Step step = session->step();
    if (std::holds_alternative<Done>(step)) break;
    if (byte >= kReturns) {
      const std::string text = "result [END] " + std::to_string(byte);
      const auto key = static_cast<CallKey>(byte % 3);
      if (byte == kReturns) session->completed(key, {Outcome::returned, text}, now);
      if (byte == kFails) session->completed(key + 1, {Outcome::failed, text}, now);
      if (byte == kInterrupt)
        (void)session->interrupt("user", text, now,
                                 static_cast<Delivery>(session->calls().size() % 3));
      if (byte == kPart) session->progressed(key, text, now);
    } else if (const auto* decode = std::get_if<Decode>(&step)) {
      const Token token = byte >= kFirstControl ? 256 + (byte - kFirstControl) % 9 : byte;
      // What a sampler would not give is not given; without the monitor anything is.
      if (decode->filter != nullptr && !decode->filter->allows(token, 0)) continue;
      if (config.constrained && std::ranges::contains(decode->banned, token)) continue;
      session->decoded(token, now);
    }
    (void)checker.after_input(*session);
    fuzz::require(checker.problem().empty(), checker.problem());
  }
  session->cancel(now);
  (void)checker.after_input(*session);
  fuzz::require(checker.problem().empty(), checker.problem());
}

}  // namespace
}  // namespace asynclm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  asynclm::run(asynclm::fuzz::text_of(data, size));
  return 0;
}
