// SPDX-License-Identifier: Apache-2.0
// The call grammar: any schema compiles or is an error, and what the grammar lets through is a call
// that can be parsed and placed.
//
// Input: a tool's parameters as JSON, a zero byte, and the bytes of a call. A byte that the grammar
// does not allow is replaced by one that it does.
#include "grammar/grammar.h"

#include "cml/call_syntax.h"
#include "cml/schema.h"
#include "target.h"

namespace asynclm {
namespace {

constexpr std::size_t kMaxCall = 400;

std::optional<Symbol> some_symbol(Automaton& automaton, Automaton::State state, std::uint8_t from) {
  for (std::size_t i = 0; i < kSymbols; ++i) {
    const auto symbol = static_cast<Symbol>((from + i) % kSymbols);
    if (automaton.step(state, symbol) != Automaton::kDead) return symbol;
  }
  return std::nullopt;
}

void run(std::string_view input) {
  const std::string_view schema = fuzz::take_until(input, '\0');
  if (nests_deeper(schema, 64)) return;
  ToolSpec tool{.name = "f", .description = "d"};
  tool.parameters = Json::parse(schema, nullptr, false);
  if (tool.parameters.is_discarded()) return;
  const bool canonical = input.size() % 2 == 0;
  auto grammar = Grammar::compile({tool}, {.canonical_order = canonical});
  if (!grammar || !grammar->has_calls()) return;
  const auto validator = ArgumentValidator::compile(tool);
  Automaton automaton(std::make_shared<const Grammar>(std::move(*grammar)), Automaton::Naming::no);
  Automaton::State state = automaton.call();
  state = automaton.step(state, 'a');
  state = automaton.step(state, symbol_of(Marker::head));
  fuzz::require(state != Automaton::kDead, "a call may have the id a");
  std::string code;
  for (std::size_t i = 0; code.size() < kMaxCall; ++i) {
    const auto forced = automaton.forced(state);
    const auto wanted = static_cast<std::uint8_t>(i < input.size() ? input[i] : ')');
    const auto symbol = some_symbol(automaton, state, wanted);
    fuzz::require(symbol.has_value(), "something can follow: " + code);
    fuzz::require(!forced || *forced == *symbol, "what is forced is all that can follow: " + code);
    state = automaton.step(state, *symbol);
    if (*symbol >= 256) break;
    code += static_cast<char>(*symbol);
  }
  if (state != automaton.finished()) return;
  const auto call = parse_call(code);
  fuzz::require(call.has_value(), "the grammar's calls can be parsed: " + code);
  if (!validator) return;  // it refuses more schemas than the grammar does
  const auto placed = validator->place(call->positional, call->named);
  fuzz::require(placed.has_value(), "the grammar's calls have the right arguments: " + code);
}

}  // namespace
}  // namespace asynclm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  asynclm::run(asynclm::fuzz::text_of(data, size));
  return 0;
}
