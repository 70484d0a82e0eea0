// SPDX-License-Identifier: Apache-2.0
// The call grammar: what may come next inside a call block, byte by byte and marker by marker.
//
// It is a pushdown automaton compiled from a tool list. Configurations are interned, so that a
// transition that was taken once is an array look-up from then on: states are small numbers, and
// whatever is derived from a state (a token mask, a forced continuation) can be kept by it.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

#include "cml/markers.h"

namespace asynclm {

// A call whose arguments are a JSON object, as a model's own tool dialect has it. The texts stand
// around the tool's name and the arguments: before_name NAME before_arguments {…} after_arguments.
struct JsonCallForm {
  std::string before_name;
  std::string before_arguments;
  std::string after_arguments;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  auto operator<=>(const JsonCallForm&) const = default;
};

// The spelling of calls is canonical, with no optional white space: f(a=1,b="x") in a block of CML,
// or a JSON form.
struct GrammarOptions {
  // Arguments in the order of the schema, so that more of a call follows from what stands before
  // it. Else in any order.
  bool canonical_order = false;
  // Calls without an id: [CALL] code [END].
  bool anonymous_calls = true;
  // `id after other`, $other.path as a value, cancel(id): the forms of async+.
  bool async_plus = false;
  // The calls are in this form, and there are no markers.
  std::optional<JsonCallForm> json = {};
};

// A byte (0 to 255) or a marker.
using Symbol = std::uint16_t;
[[nodiscard]] constexpr Symbol symbol_of(Marker marker) {
  return static_cast<Symbol>(256 + static_cast<unsigned>(marker));
}
inline constexpr std::size_t kSymbols = 256 + kMarkerCount;

// Immutable; may be shared by threads.
class Grammar {
 public:
  // Errors name the tool and the place in its schema. limit_exceeded: too large for a grammar.
  // What a schema demands beyond its types, names, choices and counts is left to the check of the
  // finished call (cml/schema.h).
  // So is the length of a call's id.
  [[nodiscard]] static Result<Grammar> compile(const std::vector<ToolSpec>& tools,
                                               const GrammarOptions& options);

  // Whether there is anything that can be called.
  [[nodiscard]] bool has_calls() const { return call_ != 0; }

 private:
  friend class Automaton;
  friend class GrammarCompiler;

  using NodeId = std::uint32_t;
  enum class Kind : std::uint8_t {
    nothing,   // the empty text
    never,     // no text at all
    literal,   // symbols [first, first + size) of literals_
    bytes,     // one byte of sets_[first]
    sequence,  // children [first, first + size)
    choice,    // one of the children
    repeat,    // children[first], min to max times
    trie,      // one of several texts, each followed by a node; first: its root in trie_
    members,   // the rest of an object, first: its entry in objects_
    items,     // the rest of an array, first: its entry in arrays_
    integer,   // a number between bounds_[first] and bounds_[first + 1]
    named,  // the child, where there are earlier calls to name; min: 1 if they must not have ended
    name,   // of an earlier call; min: 1 if it must not have ended
  };
  static constexpr std::uint32_t kUnbounded = std::numeric_limits<std::uint32_t>::max();
  struct Node {
    Kind kind;
    std::uint32_t first = 0, size = 0;
    std::uint32_t min = 0, max = 0;
  };
  // First child and next sibling. `below`: which keys of an object lie below.
  struct TrieNode {
    std::uint64_t below = 0;
    std::uint32_t child = 0, sibling = 0;
    NodeId then = 0;  // what follows where a text ends here; 0: none does
    std::uint8_t byte = 0;
    std::uint8_t key = 0;  // of the text that ends here
  };
  struct Object {
    NodeId open_quote, close_key, comma, close;       // what stands around keys and values
    NodeId additional_key = 0, additional_value = 0;  // of keys that are not in `keys`; 0: none
    std::uint32_t keys = 0;                           // trie of the keys; 0: there are none
    std::uint64_t all = 0, required = 0;              // bit i: key i, in the schema's order
    bool canonical_order = false;
  };
  struct Array {
    std::uint32_t first = 0, size = 1;  // children: of each place, the last one of all further ones
    std::uint32_t min = 0, max = kUnbounded;
    NodeId comma, close;
  };

  std::vector<Node> nodes_;
  std::vector<NodeId> children_;
  std::vector<Symbol> literals_;
  std::vector<std::bitset<256>> sets_;
  std::vector<TrieNode> trie_;
  std::vector<Object> objects_;
  std::vector<Array> arrays_;
  std::vector<std::int64_t> bounds_;
  NodeId call_ = 0, trap_ = 0;  // what follows [CALL] and [TRAP]
  NodeId character_ = 0;        // of a string
};

// Runs a grammar. Not thread-safe: one for each thread that owns sessions; shared by its sessions.
class Automaton {
 public:
  using State = std::uint32_t;
  static constexpr State kDead = 0;  // nothing can follow

  // Of which earlier calls: none, those that have ended, or also others.
  enum class Naming : std::uint8_t { no, any, open };

  // names: which calls there are to name. Where they are missing, so is all that would need one.
  Automaton(std::shared_ptr<const Grammar> grammar, Naming names);

  [[nodiscard]] State call() const { return call_; }  // after [CALL]; where a JSON form begins
  [[nodiscard]] State trap() const { return trap_; }  // after [TRAP]; only with async_plus

  // After the block's last symbol, [END], or the last byte of a JSON form.
  [[nodiscard]] State finished() const { return finished_; }

  [[nodiscard]] State step(State state, Symbol symbol) {
    const State known = states_[state].next[symbol];
    return known != kUnknown ? known : step_slowly(state, symbol);
  }
  [[nodiscard]] State advance(State state, std::string_view bytes) {
    for (std::size_t i = 0; i < bytes.size() && state != kDead; ++i) {
      state = step(state, static_cast<unsigned char>(bytes[i]));
    }
    return state;
  }

  // The only symbol that can follow; nothing where several or none can.
  [[nodiscard]] std::optional<Symbol> forced(State state);

  // Any string character leads back to the state itself: inside a string of any length.
  [[nodiscard]] bool loops_on_text(State state);

  // Whether the state is inside the name of an earlier call, and of which: any, or one that has not
  // ended. The grammar takes any name; the names that there are keep CallNames.
  [[nodiscard]] Naming naming(State state) const { return states_[state].naming; }
  // Whether the next symbol can be of a name, or end one.
  [[nodiscard]] bool may_name(State state);

  // Characters of a call's id, as many as may come, can follow: any of them, or none but a letter.
  enum class Identifier : std::uint8_t { no, from_letter, anywhere };
  [[nodiscard]] Identifier takes_identifiers(State state);
  // Inside an id and nowhere else: each character of an id leads back to it. kDead if the grammar
  // has none.
  [[nodiscard]] State identifier();
  // What else the state may be, of one that may be inside an id; other states themselves.
  [[nodiscard]] State without_identifier(State state);

  [[nodiscard]] std::size_t size() const { return states_.size(); }

  // Forgets the states, all but the start, when they have become many. States from before are
  // invalid afterwards: then `epoch` has changed, and whoever kept one begins the block anew.
  void trim();
  [[nodiscard]] std::uint32_t epoch() const { return epoch_; }

 private:
  static constexpr State kUnknown = std::numeric_limits<State>::max();
  static constexpr std::size_t kManyStates = 16'384;  // a kilobyte each
  static constexpr std::uint32_t kMaxDepth = 56;      // of a stack: values nest no deeper than the
                                                      // call syntax allows, which is 64 levels
  static constexpr std::size_t kMaxStacks = 256;      // of a state; the grammar's ambiguity

  using StackId = std::uint32_t;
  static constexpr StackId kEmpty = 0;
  struct Item {
    Grammar::NodeId node = 0;
    std::uint32_t count = 0;  // how far the node has got
    std::uint64_t data = 0;   // keys used; the digits of a number
    bool operator==(const Item&) const = default;
  };
  struct Stack {
    Item top;
    StackId rest = kEmpty;
    std::uint32_t depth = 0;
    bool operator==(const Stack&) const = default;
  };
  struct StackHash {
    std::size_t operator()(const Stack& stack) const;
  };
  struct StateHash {
    std::size_t operator()(const std::vector<StackId>& stacks) const;
  };
  enum class Known : std::uint8_t { unknown, no, yes };
  struct StateData {
    std::vector<State> next;  // kSymbols of them
    const std::vector<StackId>* stacks = nullptr;
    std::int32_t forced = kForcedUnknown;
    Known loops = Known::unknown, may_name = Known::unknown;
    Naming naming = Naming::no;
  };
  static constexpr std::int32_t kForcedUnknown = -2, kForcedNone = -1;

  void begin();
  [[nodiscard]] bool is_inside_identifier(State state) const;
  [[nodiscard]] Naming naming_of(const std::vector<StackId>& stacks) const;
  [[nodiscard]] bool is_inside_string(State state) const;
  [[nodiscard]] State step_slowly(State state, Symbol symbol);
  [[nodiscard]] StackId push(Item item, StackId rest);
  [[nodiscard]] State intern(std::vector<StackId> stacks);

  // Adds to found_ what each way of taking `symbol` from the stack leads to.
  void match(StackId stack, Symbol symbol);
  // false: no text of the node begins so. A look that saves the stacks of most choices.
  [[nodiscard]] bool may_begin(Grammar::NodeId node, Symbol symbol) const;
  void match_trie(const Item& item, StackId rest, Symbol symbol);
  void match_members(const Item& item, StackId rest, Symbol symbol);
  void match_items(const Item& item, StackId rest, Symbol symbol);
  void match_integer(const Item& item, StackId rest, Symbol symbol);
  void found(StackId stack) { found_.push_back(stack); }
  [[nodiscard]] std::uint64_t keys_possible(const Grammar::Object& object,
                                            std::uint64_t used) const;

  std::shared_ptr<const Grammar> grammar_;
  Naming names_;
  std::uint32_t epoch_ = 0;
  State call_ = kDead, trap_ = kDead, finished_ = kDead;
  State identifier_ = kUnknown;  // not yet looked for
  std::vector<Stack> stacks_;
  std::unordered_map<Stack, StackId, StackHash> stack_ids_;
  std::vector<StateData> states_;
  std::unordered_map<std::vector<StackId>, State, StateHash> state_ids_;
  std::vector<StackId> found_;
};

}  // namespace asynclm
