// SPDX-License-Identifier: Apache-2.0
// A session whose model speaks its own tool dialect, the one that its chat template prints.
//
// In mode sync the model is paused while a call runs, and then goes on with its turn; as in the
// other modes it is told of results when it has written its calls.
//
// The model writes freely until the name of a declared tool stands where a call is certain. Then a
// call that began in another form (bare or fenced JSON, a missing mark) is taken back and begun in
// the template's, and the grammar holds the rest. A call is dispatched when its block closes. The
// end of the turn with calls open is the trap. A result is the template's own tool turn: it is
// appended, and nothing that stands is rendered again.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/model_dialect.h"
#include "dialect/reader.h"
#include "dialect/template_increment.h"
#include "session/session_impl.h"

namespace asynclm {

// Whether a session of this vocabulary speaks CML.
[[nodiscard]] bool uses_cml(const Vocabulary& vocabulary, DialectChoice choice);

// Of the calls' form in a native dialect, for CallGrammar::create; empty where calls cannot be
// constrained.
[[nodiscard]] std::optional<GrammarOptions> native_grammar(const ModelDialect& dialect,
                                                           const SessionConfig& config);

class NativeSession final : public Session::Impl {
 public:
  // `dialect` null: found here. unsupported: see ModelDialect::find.
  [[nodiscard]] static Result<std::unique_ptr<Session::Impl>> make(
      const Vocabulary& vocabulary, const std::vector<ToolSpec>& specs, const SessionConfig& config,
      std::shared_ptr<CallGrammar> grammar, std::shared_ptr<const ModelDialect> dialect);

  [[nodiscard]] Result<void> write_prompt(std::vector<Message> messages) override;
  void take(Token token, Time now) override;
  [[nodiscard]] std::span<const Token> banned() const override { return dialect_->banned(); }
  [[nodiscard]] bool in_critical_section() const override {
    return phase_ != Phase::text || held_ || (turn_.after_calls && !turn_.ended);
  }
  [[nodiscard]] std::int32_t block_room() const override {
    return config.max_call_tokens - block_tokens_;
  }
  [[nodiscard]] std::size_t tokens_around() const override { return 64; }
  [[nodiscard]] Result<void> tell(std::vector<PendingInterrupt> interrupts, Time now) override;
  [[nodiscard]] Result<NewTurn> new_turn() const override;
  void begin_turn() override;
  void save_dialect(Json& out) const override;
  void load_dialect(const Json& saved) override;

 private:
  enum class Phase : std::uint8_t {
    text,    // the model writes freely
    block,   // the grammar holds a call
    choice,  // behind a call whose marks the model cannot write: does another one follow?
  };
  // A token of the segment: where its bytes begin in it, and its place in the context.
  struct Written {
    std::size_t begin, position;
  };

  NativeSession(const Vocabulary& vocab, const SessionConfig& c,
                std::shared_ptr<const ModelDialect> dialect)
      : Impl(vocab, c), dialect_(std::move(dialect)) {}

  void begin_segment(bool reasoning_open);
  void begin_segment_after_call();
  void append_written(Token token, std::size_t position);
  void read(Token token, Time now);
  void on_events(Time now);
  void on_native_text(std::string_view bytes, Time now);
  void on_end(Token token, Time now);
  void on_choice(Token token);
  void open_line();
  void enter_block(std::size_t offset, const ToolSpec& tool, Time now);
  void on_block_closed(Time now);
  void drop_block(Time now);
  // A call was written. False: it is one that is open already.
  bool call(std::string_view name, Json arguments, std::string code, Time now);
  [[nodiscard]] std::string next_id(std::string_view name) const;
  [[nodiscard]] bool is_open(std::string_view name, const Json& arguments) const;

  [[nodiscard]] std::vector<Token> template_tokens(std::string_view text) const;
  void append_template(std::string_view text);
  void append_close();
  [[nodiscard]] std::string still_running(std::span<const CallKey> told) const;
  [[nodiscard]] Result<std::vector<Token>> result_tokens(std::span<const PendingInterrupt> results,
                                                         bool opens_answer) const;
  [[nodiscard]] Result<std::vector<Token>> message_tokens(
      std::span<const PendingInterrupt> messages, TurnState turn) const;

  std::shared_ptr<const ModelDialect> dialect_;
  Phase phase_ = Phase::text;

  // What the model has written since the prompt, a call, or what it was told: read by reader_.
  std::optional<dialect::CallReader> reader_;
  std::string segment_;
  std::vector<Written> written_;
  std::size_t segment_position_ = 0;  // of its first token in the context
  std::size_t acted_ = 0;             // bytes of it whose calls were acted on
  bool held_ = false;                 // its end may be a call

  std::size_t block_position_ = 0;  // of the open block's first token in the context
  std::int32_t block_tokens_ = 0;
  std::string close_;  // what the template writes behind the call just written, not yet appended

  // The assistant's turn.
  struct Turn {
    std::vector<CallKey> calls;  // that no result has followed
    bool after_calls = false;    // nothing but white space stands behind the last call
    bool ended = false;          // by its token
  };
  Turn turn_;
  std::size_t turn_position_ = 0;  // of its first token in the context
  bool turn_reasons_ = false;      // the prompt ended in the reasoning
  std::size_t calls_end_ = 0;      // where the last call ends in the context
  bool begun_ = false;             // text stands in it, behind the last call

  // Results that the model was told last, and what stood before them: while it has written nothing
  // since, further ones join them.
  std::vector<PendingInterrupt> told_;
  Turn told_turn_;
  std::size_t told_position_ = 0;
};

}  // namespace asynclm
