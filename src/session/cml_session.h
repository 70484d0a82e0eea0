// SPDX-License-Identifier: Apache-2.0
// A session whose model speaks CML (docs/protocol.md): calls and traps are blocks between marker
// tokens, results are interrupts, and the assistant's turn goes on through all of them.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cml/markers.h"
#include "cml/parser.h"
#include "session/session_impl.h"

namespace asynclm {

class CmlSession final : public Session::Impl {
 public:
  // unsupported: the vocabulary lacks a marker.
  [[nodiscard]] static Result<std::unique_ptr<Session::Impl>> make(
      const Vocabulary& vocabulary, const std::vector<ToolSpec>& specs, const SessionConfig& config,
      std::shared_ptr<CallGrammar> grammar);

  [[nodiscard]] Result<void> write_prompt(std::vector<Message> messages) override;
  void take(Token token, Time now) override;
  [[nodiscard]] std::span<const Token> banned() const override {
    return parser_.banned(!monitor || can_wait());
  }
  [[nodiscard]] bool in_critical_section() const override { return parser_.in_block(); }
  [[nodiscard]] std::int32_t block_room() const override { return parser_.block_room(); }
  [[nodiscard]] std::size_t tokens_around() const override { return 3; }  // [INTR], [HEAD], [END]
  [[nodiscard]] Result<void> tell(std::vector<PendingInterrupt> interrupts, Time now) override;
  [[nodiscard]] Result<NewTurn> new_turn() const override;
  void begin_turn() override { parser_.begin_turn(); }
  void save_dialect(Json& out) const override;
  void load_dialect(const Json& saved) override;

 private:
  CmlSession(const Vocabulary& vocab, const Markers& m, const SessionConfig& c)
      : Impl(vocab, c),
        markers_(m),
        parser_(vocab, m, c.max_call_tokens, c.mode == Mode::async_plus) {}

  void on_block(Time now);
  void on_malformed(bool was_in_block, Time now);
  void on_trap(Time now);
  void on_stop(Token token, Time now);
  void append_marker(Marker marker);
  [[nodiscard]] std::vector<CallName> nameable(Marker marker) const;

  Markers markers_;
  Parser parser_;
};

}  // namespace asynclm
