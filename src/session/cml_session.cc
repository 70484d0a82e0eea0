// SPDX-License-Identifier: Apache-2.0
#include "session/cml_session.h"

#include <algorithm>
#include <format>
#include <ranges>
#include <utility>

#include "cml/chat_template.h"
#include "cml/future.h"
#include "cml/writer.h"
#include "session/saved_json.h"

namespace asynclm {
namespace {

std::vector<std::string> words(std::string_view text) {
  std::vector<std::string> out;
  for (const auto part : std::views::split(text, ' ')) {
    if (!part.empty()) out.emplace_back(part.begin(), part.end());
  }
  return out;
}

Json parser_json(const ParserState& state) {
  return Json{{"place", state.place},    {"block_tokens", state.block_tokens},
              {"id", state.id},          {"code", state.code},
              {"buffer", state.buffer},  {"thinking", state.thinking},
              {"matched", state.matched}};
}

ParserState parser_from(const Json& json) {
  return {.place = json.at("place").get<int>(),
          .block_tokens = json.at("block_tokens").get<std::int32_t>(),
          .id = json.at("id").get<std::string>(),
          .code = json.at("code").get<std::string>(),
          .buffer = json.at("buffer").get<std::string>(),
          .thinking = json.at("thinking").get<bool>(),
          .matched = json.at("matched").get<std::size_t>()};
}

}  // namespace

Result<std::unique_ptr<Session::Impl>> CmlSession::make(const Vocabulary& vocabulary,
                                                        const std::vector<ToolSpec>& specs,
                                                        const SessionConfig& config,
                                                        std::shared_ptr<CallGrammar> grammar) {
  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  std::unique_ptr<CmlSession> session(new CmlSession(vocabulary, *markers, config));
  auto ready = session->add_tools(specs);
  if (ready) {
    ready = session->constrain(std::move(grammar), {.canonical_order = config.jump_forward,
                                                    .async_plus = config.mode == Mode::async_plus});
  }
  if (!ready) return std::unexpected(ready.error());
  return session;
}

Result<void> CmlSession::write_prompt(std::vector<Message> messages) {
  std::vector<TypedMessage> typed = {
      {"system", {TextSpan{tools_document(config.mode, specs), Origin::system}}}};
  bool has_system_text = false;
  for (Message& message : messages) {
    if (config.drafts) source.add(message.content);
    if (message.role == "system") {
      if (std::exchange(has_system_text, true)) {
        typed.front().content.emplace_back(TextSpan{"\n", Origin::system});
      }
      typed.front().content.emplace_back(TextSpan{std::move(message.content), Origin::system});
    } else if (message.role == "user" || message.role == "assistant") {
      const Origin origin = message.role == "user" ? Origin::user : Origin::assistant;
      typed.push_back({std::move(message.role), {TextSpan{std::move(message.content), origin}}});
    } else {
      return fail(
          ErrorCode::invalid_argument,
          std::format("unknown message role '{}': use system, user or assistant", message.role));
    }
  }
  if (typed.back().role != "user") {
    return fail(ErrorCode::invalid_argument, "the last message must be of role user");
  }
  const auto spans = render_chat(vocabulary, typed);
  if (!spans) return std::unexpected(spans.error());
  return append_spans(vocabulary, *spans, context);
}

// A token that the model has written, or could only have written.
void CmlSession::take(Token token, Time now) {
  const bool was_in_block = parser_.in_block();
  const Parser::Event event = parser_.read(token);
  if (monitor) {
    if (parser_.in_block() && (!was_in_block || event == Parser::Event::malformed)) {
      const Marker marker = *markers_.marker(token);
      monitor->open(marker, nameable(marker));
    } else if (event == Parser::Event::malformed) {
      monitor->close();
    } else if (was_in_block) {
      monitor->advance(token);
    }
  }
  // What breaks a rule, or ends the turn, does not enter the context.
  if (event != Parser::Event::malformed && event != Parser::Event::end_of_turn) {
    context.push_back(token);
  }
  if (event != Parser::Event::text) line_bytes = word_bytes = 0;
  switch (event) {
    case Parser::Event::none:
      break;
    case Parser::Event::text:
      return on_text(parser_.text(), now);
    case Parser::Event::call:
      return on_block(now);
    case Parser::Event::trap:
      return on_trap(now);
    case Parser::Event::end_of_turn:
      return on_stop(token, now);
    case Parser::Event::malformed:
      return on_malformed(was_in_block, now);
  }
}

// The calls that a block may name, in async+. A trap that waits for what the model has would not
// wait.
std::vector<CallName> CmlSession::nameable(Marker marker) const {
  std::vector<CallName> names;
  if (!async_plus()) return names;
  for (const CallRecord& call : calls) {
    if (call.id.empty() || (marker == Marker::trap && call.delivered)) continue;
    names.push_back({call.id, !call.outcome});
  }
  return names;
}

// A block closed.
void CmlSession::on_block(Time now) {
  const auto key = static_cast<CallKey>(calls.size());
  calls.emplace_back();
  calls[key].emitted = now;
  calls[key].code = parser_.code();
  // "id", or in async+ "id after id id"
  std::vector<std::string> after;
  std::string id(parser_.id());
  if (async_plus()) {
    after = words(id);
    if (!after.empty()) id = after.front();
  }
  emit(now, CallEmitted{key});
  idle_traps = 0;
  if (!id.empty()) {
    if (std::string problem = id_problem(id); !problem.empty()) {
      return reject_anonymous(key, std::move(problem), now);
    }
    calls[key].id = id;
    used_ids.insert(id);
  }
  const auto refuse = [&](std::string reason) { reject_by_id(key, std::move(reason), now); };
  if (static_cast<std::int32_t>(calls.size()) > config.max_calls) {
    return refuse(std::format("no more than {} calls are allowed", config.max_calls));
  }
  if (after.size() > 1 && (after[1] != "after" || after.size() == 2)) {
    return refuse("malformed call: only 'after' and call ids may follow the id");
  }
  auto syntax = parse_call(calls[key].code, async_plus());
  if (!syntax) return refuse("malformed call: " + syntax.error().message);
  std::vector<std::string> needed(after.begin() + std::min<std::ptrdiff_t>(2, std::ssize(after)),
                                  after.end());
  for (const Json& value : syntax->positional) {
    for (std::string& other : futures_in(value)) needed.push_back(std::move(other));
  }
  for (std::string& other : futures_in(syntax->named)) needed.push_back(std::move(other));
  on_call(key, *syntax, needed, now);
}

// The context stays one that a model could have written: the token that broke a rule is left out of
// it, and a broken block is closed.
void CmlSession::on_malformed(bool was_in_block, Time now) {
  const bool opens_block = parser_.in_block();
  if (!has_room(opens_block ? 2 : 1)) return finish(FinishReason::context_full, now);
  if (was_in_block) append_marker(Marker::end);
  if (opens_block) {
    append_marker(Marker::call);
    --counts.injected;  // the token that the model wrote
  }
  const auto key = static_cast<CallKey>(calls.size());
  CallRecord& call = calls.emplace_back();
  call.emitted = now;
  call.code = parser_.code();
  emit(now, CallEmitted{key});
  reject_anonymous(key, std::format("malformed block: {}", parser_.problem()), now);
}

void CmlSession::on_trap(Time now) {
  if (!async_plus()) {
    if (!has_room(1)) return finish(FinishReason::context_full, now);
    append_marker(Marker::end);
  }
  emit(now, Trapped{});
  if (async_plus() && !parser_.id().empty())
    return wait_for_named(words(parser_.id()), parser_.code(), now);
  wait_for_calls(now);
}

void CmlSession::append_marker(Marker marker) {
  context.push_back(markers_.token(marker));
  ++counts.injected;
}

// The model stops without a trap: its calls' results are delivered all the same, and it may go on.
// The end token does not enter the context; a trap stands in its place, so that the context stays
// one that the model was trained on.
void CmlSession::on_stop(Token token, Time now) {
  if (open_named > 0 || queue_wakes()) {
    if (!has_room(2)) return finish(FinishReason::context_full, now);
    append_marker(Marker::trap);
    append_marker(Marker::end);
    emit(now, Trapped{.by_stop = open_named > 0});
    return wait_for_calls(now);
  }
  context.push_back(token);
  end_turn(now);
}

Result<void> CmlSession::tell(std::vector<PendingInterrupt> interrupts, Time now) {
  std::vector<Token> tokens;
  for (PendingInterrupt& interrupt : interrupts) {
    tokens.clear();
    const auto spans = interrupt_spans(markers_, interrupt.id, interrupt.text, interrupt.origin);
    auto done = append_spans(vocabulary, spans, tokens);
    if (done) done = append_told(tokens, std::span(&interrupt, 1), now);
    if (!done) return done;
  }
  return {};
}

Result<Session::Impl::NewTurn> CmlSession::new_turn() const {
  std::vector<Span> content;
  bool after_text = false;
  for (const PendingInterrupt& interrupt : queue) {
    if (interrupt.id == "user") {
      const std::string_view between = std::exchange(after_text, true) ? "\n" : "";
      content.emplace_back(TextSpan{std::string(between) + interrupt.text, Origin::user});
    } else {
      content.append_range(
          interrupt_spans(markers_, interrupt.id, interrupt.text, interrupt.origin));
    }
  }
  NewTurn turn;
  // A turn that the model did not end may have been left in a block.
  if (parser_.in_block()) turn.tokens.push_back(markers_.token(Marker::end));
  const bool ended = state == State::draining || finish_reason == FinishReason::stop;
  const auto spans = render_next_turn(vocabulary, content, ended);
  if (!spans) return std::unexpected(spans.error());
  if (auto ok = append_spans(vocabulary, *spans, turn.tokens); !ok) {
    return std::unexpected(ok.error());
  }
  for (std::size_t i = 0; i < turn.tokens.size(); ++i) {  // only interrupts have the marker
    if (turn.tokens[i] == markers_.token(Marker::intr)) turn.begins.push_back(i);
  }
  return turn;
}

void CmlSession::save_dialect(Json& out) const { out["parser"] = parser_json(parser_.save()); }

void CmlSession::load_dialect(const Json& saved) {
  require(parser_.load(parser_from(saved.at("parser"))), "its parser's state is none");
}

}  // namespace asynclm
