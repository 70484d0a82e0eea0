// SPDX-License-Identifier: Apache-2.0
// The token monitor of one session: keeps the model to the call grammar inside blocks, and knows
// which tokens need not be asked of the model because only they are possible.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/protocol.h>

#include "cml/markers.h"
#include "grammar/call_names.h"
#include "grammar/grammar.h"
#include "grammar/token_mask.h"

namespace asynclm {

// What all sessions with the same tools on one vocabulary share. Of the thread that owns them.
class CallGrammar {
 public:
  // `trie` is of `vocabulary`; both must outlive the grammar. Errors as Grammar::compile.
  [[nodiscard]] static Result<std::shared_ptr<CallGrammar>> create(
      const Vocabulary& vocabulary, std::shared_ptr<const TokenTrie> trie,
      const std::vector<ToolSpec>& tools, const GrammarOptions& options);

  [[nodiscard]] bool has_calls() const { return has_calls_; }

 private:
  friend class Monitor;
  struct Variant {  // one for each Naming
    Variant(const std::shared_ptr<const Grammar>& grammar, Automaton::Naming names,
            const TokenTrie& trie, const Markers& markers)
        : automaton(grammar, names), masks(trie, markers, automaton) {
      // The one state that takes long, as any tool may follow.
      (void)masks.mask(automaton.call());
    }
    Automaton automaton;
    TokenMasks masks;
  };

  CallGrammar(const Vocabulary& vocabulary, std::shared_ptr<const TokenTrie> trie,
              const Markers& markers, const std::shared_ptr<const Grammar>& grammar,
              const GrammarOptions& options);

  const Vocabulary& vocabulary_;
  std::shared_ptr<const TokenTrie> trie_;
  Markers markers_;
  bool has_calls_;
  bool has_markers_;
  Variant nothing_named_;
  std::optional<Variant> ended_named_, open_named_;  // of async+
};

class Monitor final : public TokenFilter {
 public:
  // `is_free`: whether a new call may have this id. Must outlive the monitor's use.
  Monitor(std::shared_ptr<CallGrammar> grammar, std::function<bool(const std::string&)> is_free)
      : shared_(std::move(grammar)),
        is_free_(std::move(is_free)),
        named_(shared_->vocabulary_.size()) {}

  // The model has opened a block with this marker: [CALL] or, in async+, [TRAP]; in a JSON form, a
  // call. `names`: the calls that can be named in it (in async+).
  void open(Marker marker, std::vector<CallName> names = {});
  // A token of the block was written, or forced. The block is left when it was the last one.
  void advance(Token token);
  void close() { open_ = std::nullopt; }
  [[nodiscard]] bool is_open() const { return open_.has_value(); }
  // Of the open block: what to open() another monitor with, and the tokens to advance it by.
  [[nodiscard]] std::optional<Marker> opened_by() const { return open_; }
  [[nodiscard]] const std::vector<CallName>& opened_with_names() const { return names_.all(); }
  [[nodiscard]] std::span<const Token> block() const { return block_; }

  // --- TokenFilter: of the open block ---
  [[nodiscard]] bool allows(Token token, std::size_t drafted = 0) override;
  [[nodiscard]] std::span<const std::uint64_t> allowed(std::size_t drafted = 0) override;

  // The tokens that must come next, as the model would have written them: only up to where they do
  // not depend on what follows. Empty if the next token is open. Valid until the next call.
  [[nodiscard]] std::span<const Token> forced();

  // The text of the block since its last marker.
  [[nodiscard]] std::string_view written() const { return written_; }

  // Tokens of a text that the block is to begin with, as far as they are the same whatever follows.
  // Empty where the grammar does not begin so. Only of an empty block.
  [[nodiscard]] std::span<const Token> beginning(std::string_view text);

  // Makes the block's draft of text that may come next: at most `limit` tokens, as far as the
  // grammar allows them and nothing in between is forced. Only of a call's code behind its [HEAD].
  [[nodiscard]] std::span<const Token> draft(std::string_view continuation, std::size_t limit);

 private:
  [[nodiscard]] CallGrammar::Variant& variant() {
    switch (names_.most()) {
      case Automaton::Naming::any:
        return *shared_->ended_named_;
      case Automaton::Naming::open:
        return *shared_->open_named_;
      case Automaton::Naming::no:
        break;
    }
    return shared_->nothing_named_;
  }
  [[nodiscard]] NamedState begin();
  [[nodiscard]] NamedState step(NamedState state, Token token) {
    return variant().masks.step(names_, state, token);
  }
  [[nodiscard]] NamedState state();
  [[nodiscard]] NamedState state_behind(std::size_t drafted);
  [[nodiscard]] std::optional<Symbol> only_symbol(NamedState state);
  [[nodiscard]] bool id_is_taken() const;
  [[nodiscard]] std::size_t id_room() const;
  [[nodiscard]] bool overfills_id(Token token, std::size_t room) const;
  [[nodiscard]] std::vector<Token> tokens_with(std::string_view text) const;

  std::shared_ptr<CallGrammar> shared_;
  std::function<bool(const std::string&)> is_free_;
  std::optional<Marker> open_;
  CallNames names_;
  NamedState state_;
  std::uint32_t epoch_ = 0;
  std::vector<Token> block_;  // tokens since the marker that opened the block
  std::size_t part_ = 0;      // where the text since the last marker begins in block_
  std::string written_;       // that text
  std::vector<Token> forced_, draft_;
  TokenSet named_;  // made for the names at hand
  std::vector<std::uint64_t> narrowed_;
};

}  // namespace asynclm
