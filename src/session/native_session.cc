// SPDX-License-Identifier: Apache-2.0
#include "session/native_session.h"

#include <algorithm>
#include <chrono>
#include <format>
#include <utility>

#include "base/ascii.h"
#include "cml/span.h"
#include "dialect/template_normalise.h"
#include "session/saved_json.h"

namespace asynclm {
namespace {

// What makes a difference for small models: they call for everything, or once for several things.
constexpr std::string_view kCallAdvice =
    "You are a helpful assistant. Call a function only if the request needs one, and call it once "
    "for each thing asked.";

// Behind the results, for models that were not taught what follows them: they repeat the call.
constexpr std::string_view kResultAdvice =
    "\nTell me what the results say, in plain words. Make a call only for what is still missing.";

bool is_blank(std::string_view text) { return std::ranges::all_of(text, ascii::is_space); }

std::optional<ChatRole> role_of(std::string_view name) {
  for (const ChatRole role : {ChatRole::system, ChatRole::developer, ChatRole::user,
                              ChatRole::assistant, ChatRole::tool}) {
    if (to_string(role) == name) return role;
  }
  return std::nullopt;
}

// `name(arguments)`: which call a result is of, where its place does not say.
std::string call_label(const CallRecord& call) {
  return std::format("{}({})", call.name,
                     call.arguments.dump(-1, ' ', false, Json::error_handler_t::replace));
}

// As append_spans, with neighbouring texts tokenised as one: so the model was trained. No text
// becomes a control token, whatever stands beside it.
Result<void> append_joined(const Vocabulary& vocabulary, std::vector<Span> spans,
                           std::vector<Token>& out) {
  std::vector<Span> joined;
  for (Span& span : spans) {
    auto* text = std::get_if<TextSpan>(&span);
    auto* last = joined.empty() ? nullptr : std::get_if<TextSpan>(&joined.back());
    if (text != nullptr && last != nullptr) {
      last->bytes += text->bytes;
    } else {
      joined.push_back(std::move(span));
    }
  }
  return append_spans(vocabulary, joined, out);
}

// Puts the advice in front of what ends the results' turn.
void advise(TemplateDialect& form, const ControlSpellings& controls, const Vocabulary& vocabulary) {
  for (TemplatePiece& piece : form.result.last) {
    if (piece.kind != TemplatePiece::Kind::literal) continue;
    for (const auto& control : controls.all_in(piece.text)) {
      if (!vocabulary.is_end_of_generation(control.token)) continue;
      piece.text.insert(control.begin, kResultAdvice);
      return;
    }
  }
}

ChatMessage message_of(const std::string& source, const std::string& text) {
  constexpr std::string_view kAgent = "agent:";
  if (!source.starts_with(kAgent)) return {.role = ChatRole::user, .content = text};
  return {.role = ChatRole::user,
          .content = std::format("Message from {}: {}", source.substr(kAgent.size()), text)};
}

}  // namespace

bool uses_cml(const Vocabulary& vocabulary, DialectChoice choice) {
  if (choice == DialectChoice::automatic) return Markers::find(vocabulary).has_value();
  return choice == DialectChoice::cml;
}

std::optional<GrammarOptions> native_grammar(const ModelDialect& dialect,
                                             const SessionConfig& config) {
  if (!dialect.block()) return std::nullopt;
  return GrammarOptions{.canonical_order = config.jump_forward, .json = dialect.block()->form};
}

Result<std::unique_ptr<Session::Impl>> NativeSession::make(
    const Vocabulary& vocabulary, const std::vector<ToolSpec>& specs, const SessionConfig& config,
    std::shared_ptr<CallGrammar> grammar, std::shared_ptr<const ModelDialect> dialect) {
  if (config.mode == Mode::async_plus) {
    return fail(ErrorCode::unsupported,
                "mode async+ is CML's; the model's own dialect has sync, sync-parallel and async");
  }
  if (!dialect) {
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    auto found = ModelDialect::find(vocabulary, config.dialect == DialectChoice::generic, now);
    if (!found) return std::unexpected(found.error());
    dialect = std::move(*found);
  }
  std::unique_ptr<NativeSession> session(new NativeSession(vocabulary, config, std::move(dialect)));
  auto ready = session->add_tools(specs);
  const auto options = native_grammar(*session->dialect_, config);
  if (ready && options) ready = session->constrain(std::move(grammar), *options);
  if (!ready) return std::unexpected(ready.error());
  return session;
}

Result<void> NativeSession::write_prompt(std::vector<Message> messages) {
  const TemplateDialect& form = dialect_->form();
  std::vector<ChatMessage> chat;
  if (!specs.empty()) {
    chat.push_back({.role = ChatRole::system, .content = std::string(kCallAdvice)});
  }
  for (Message& message : messages) {
    if (config.drafts) source.add(message.content);
    const auto role = role_of(message.role);
    if (!role || *role == ChatRole::tool) {
      return fail(ErrorCode::invalid_argument,
                  std::format("unknown message role '{}': use system, developer, user or assistant",
                              message.role));
    }
    // One system text where they come first: not every template takes two.
    if (*role == ChatRole::system && chat.size() == 1 && chat[0].role == ChatRole::system) {
      chat[0].content += "\n" + message.content;
    } else {
      chat.push_back({.role = *role, .content = std::move(message.content)});
    }
  }
  if (chat.empty() || chat.back().role != ChatRole::user) {
    return fail(ErrorCode::invalid_argument, "the last message must be of role user");
  }
  const auto tool_list = specs.empty() ? nlohmann::ordered_json() : template_tools(specs);
  RenderOptions options = dialect_->render_options();
  const bool tells = form.tools.place != ToolsForm::Place::nowhere;
  if (tells) options.tools = tool_list;
  chat = normalise(std::move(chat), form, tool_list);
  const auto spans = dialect_->chat().render_spans(dialect_->controls(), chat, options);
  if (!spans) return std::unexpected(spans.error());
  if (auto ok = append_joined(vocabulary, *spans, context); !ok) return ok;
  const Token bos = vocabulary.begin_of_text();
  if (bos != kNoToken && (context.empty() || context.front() != bos)) {
    context.insert(context.begin(), bos);
  }
  begin_turn();
  return {};
}

void NativeSession::begin_segment(bool reasoning_open) {
  dialect::ReaderOptions options = dialect_->reader_options(config.strict_calls);
  options.reasoning_open = reasoning_open;
  options.max_call_bytes = static_cast<std::size_t>(config.max_call_tokens) * 16;
  reader_.emplace(
      specs,
      [this](std::size_t tool, const Json& arguments) {
        return tools.find(specs[tool].name)->second.validator.check({}, arguments).has_value();
      },
      options);
  segment_.clear();
  acted_ = 0;
  written_.clear();
  segment_position_ = context.size();
  held_ = false;
}

// A further call may stand in a section, or a list, that the first one has opened: then the turn is
// read again. Elsewhere an answer begins anew behind a call, in any form.
void NativeSession::begin_segment_after_call() {
  calls_end_ = context.size();
  if (dialect_->form().call.section_close.empty()) return begin_segment(false);
  begin_segment(turn_reasons_);
  segment_position_ = turn_position_;
  for (std::size_t i = turn_position_; i < context.size(); ++i) append_written(context[i], i);
  reader_->feed(segment_);
  (void)reader_->take();
  acted_ = segment_.size();
}

void NativeSession::append_written(Token token, std::size_t position) {
  written_.push_back({segment_.size(), position});
  if (vocabulary.is_control(token)) {
    segment_ += vocabulary.spelling(token);
  } else {
    vocabulary.append_piece(token, segment_);
  }
}

void NativeSession::begin_turn() {
  phase_ = Phase::text;
  turn_ = {};
  told_.clear();
  begun_ = false;
  turn_position_ = context.size();
  turn_reasons_ = dialect_->form().reasoning.prompt_opens;
  begin_segment(turn_reasons_);
}

void NativeSession::take(Token token, Time now) {
  if (vocabulary.is_end_of_generation(token)) return on_end(token, now);
  switch (phase_) {
    case Phase::choice:
      return on_choice(token);
    case Phase::block:
      context.push_back(token);
      monitor->advance(token);
      if (!monitor->is_open()) return on_block_closed(now);
      if (++block_tokens_ >= config.max_call_tokens) drop_block(now);
      return;
    case Phase::text:
      context.push_back(token);
      return read(token, now);
  }
}

void NativeSession::read(Token token, Time now) {
  const std::size_t begin = segment_.size();
  append_written(token, context.size() - 1);
  reader_->feed(std::string_view(segment_).substr(begin));
  on_events(now);
}

void NativeSession::on_events(Time now) {
  for (dialect::ReaderEvent& event : reader_->take()) {
    if (auto* text = std::get_if<dialect::TextRead>(&event)) {
      on_native_text(text->bytes, now);
    } else if (auto* reasoning = std::get_if<dialect::ReasoningRead>(&event)) {
      if (!is_blank(reasoning->bytes)) turn_.after_calls = false;
      emit(now, ReasoningEvent{std::move(reasoning->bytes)});
    } else if (std::holds_alternative<dialect::CallBegan>(event)) {
      held_ = true;
    } else if (std::holds_alternative<dialect::CallDropped>(event)) {
      held_ = false;
    } else if (const auto* name = std::get_if<dialect::CallNamed>(&event)) {
      if (name->in_reasoning || !monitor || name->offset < acted_) continue;
      return enter_block(name->offset, specs[name->tool], now);
    } else if (auto* read = std::get_if<dialect::CallRead>(&event)) {
      held_ = false;
      if (read->begin < acted_) continue;
      const std::string code = segment_.substr(read->begin, read->end - read->begin);
      if (!call(read->name, std::move(read->arguments), code, now)) continue;
      turn_.after_calls = true;
      begun_ = false;
    } else if (std::holds_alternative<dialect::CallRefused>(event)) {
      held_ = false;
    }
  }
}

// White space that an answer begins with, or that stands behind a call, is no text. What follows
// other text stands in a line of its own.
void NativeSession::on_native_text(std::string_view bytes, Time now) {
  held_ = false;
  if (begun_) return on_text(bytes, now);
  while (!bytes.empty() && ascii::is_space(bytes.front())) bytes.remove_prefix(1);
  if (bytes.empty()) return;
  begun_ = true;
  turn_.after_calls = false;
  if (!answer.empty() && answer.back() != '\n') on_text("\n", now);
  on_text(bytes, now);
}

// --- calls ------------------------------------------------------------------------------------

// The name of a tool was written where only a call can be: the call goes on in the template's form,
// and what it began with is replaced where it was in another.
void NativeSession::enter_block(std::size_t offset, const ToolSpec& tool, Time now) {
  const CallBlock& block = *dialect_->block();
  std::string_view before = std::string_view(segment_).substr(0, offset);
  // The mark that opens a section of calls is a part of the first one.
  const std::string& section = dialect_->form().call.section_open;
  if (!section.empty() && before.ends_with(section)) {
    before.remove_suffix(section.size());
    offset = before.size();
  }
  const std::vector<Token> opening =
      template_tokens(turn_.after_calls ? block.open_next : block.open_first);
  std::size_t keep = turn_.after_calls ? calls_end_ : segment_position_;
  std::vector<Token> next;
  const auto at = std::ranges::lower_bound(written_, offset, {}, &Written::begin);
  const bool is_own = at != written_.end() && at->begin == offset && !opening.empty() &&
                      context[at->position] == opening.front();
  if (!turn_.after_calls && is_own) {
    keep = at->position;
  } else if (!turn_.after_calls && !is_blank(before)) {
    // The text stays, up to its last word; the template says what stands between it and a call.
    while (ascii::is_space(before.back())) before.remove_suffix(1);
    auto token = std::ranges::upper_bound(written_, before.size() - 1, {}, &Written::begin);
    --token;
    keep = token->position;
    const std::size_t end =
        std::next(token) == written_.end() ? segment_.size() : std::next(token)->begin;
    if (end == before.size()) {
      ++keep;
    } else {
      next = vocabulary.encode(before.substr(token->begin));
    }
    next.append_range(template_tokens(dialect_->form().call.after_text));
  }
  next.append_range(opening);
  const std::size_t opened = next.size();
  monitor->open(Marker::call);
  next.append_range(
      monitor->beginning(block.form.before_name + tool.name + block.form.before_arguments));
  if (!has_room(next.size() + 1)) return finish(FinishReason::context_full, now);
  // What stands there already is kept.
  std::size_t same = 0;
  while (same < next.size() && keep + same < context.size() && context[keep + same] == next[same]) {
    ++same;
  }
  for (std::size_t i = opened; i < next.size(); ++i) monitor->advance(next[i]);
  // So is what the model has written of the arguments, in the template's form already.
  while (same == next.size() && keep + same < context.size() && monitor->is_open() &&
         monitor->allows(context[keep + same])) {
    next.push_back(context[keep + same++]);
    monitor->advance(next.back());
  }
  cut_context(keep + same, now);
  counts.forced += static_cast<std::int32_t>(next.size() - same);
  context.insert(context.end(), next.begin() + static_cast<std::ptrdiff_t>(same), next.end());
  phase_ = Phase::block;
  block_position_ = keep;
  block_tokens_ = static_cast<std::int32_t>(next.size() - opened);
  held_ = false;
  begun_ = false;
  if (!monitor->is_open()) return on_block_closed(now);
  // A decode call appends one token at least: where all of them were fed, the last one is again.
  if (context.size() == fed) {
    const Token last = context.back();
    cut_context(context.size() - 1, now);
    context.push_back(last);
  }
}

// Another call in the next line.
void NativeSession::open_line() {
  block_position_ = context.size();
  block_tokens_ = 0;
  phase_ = Phase::block;
  monitor->open(Marker::call);
  for (const Token token : vocabulary.encode("\n")) monitor->advance(token);  // it stands there
}

void NativeSession::on_block_closed(Time now) {
  const CallBlock& block = *dialect_->block();
  phase_ = Phase::text;
  const std::string code(monitor->written());
  const std::string_view text = std::string_view(code).substr(block.form.before_name.size());
  const std::size_t name_end = text.find(block.form.before_arguments);
  const std::string name(text.substr(0, name_end));
  std::string_view written = text.substr(name_end + block.form.before_arguments.size());
  written.remove_suffix(block.form.after_arguments.size());
  Json arguments = Json::parse(written, nullptr, /*allow_exceptions=*/false);
  if (is_open(name, arguments)) {
    // The model repeats itself: it has nothing else to say.
    cut_context(block_position_, now);
    append_close();
    begin_segment_after_call();
    return on_end(dialect_->end_of_turn(), now);
  }
  turn_.after_calls = true;
  close_ = filled(block.close, {.name = name,
                                .id = next_id(name),
                                .index = dialect_->form().call.first_index + turn_.calls.size()});
  if (block.lines) {
    phase_ = Phase::choice;
  } else {
    append_close();
  }
  begin_segment_after_call();
  call(name, std::move(arguments), code, now);
}

// A call that grows too long is taken back, and the model is told.
void NativeSession::drop_block(Time now) {
  const auto key = static_cast<CallKey>(calls.size());
  CallRecord& record = calls.emplace_back();
  record.emitted = now;
  record.code = monitor->written();
  monitor->close();
  phase_ = Phase::text;
  cut_context(block_position_, now);
  begin_segment(false);
  emit(now, CallEmitted{key});
  reject_anonymous(
      key, std::format("malformed call: longer than {} tokens", config.max_call_tokens), now);
  on_end(dialect_->end_of_turn(), now);
}

bool NativeSession::is_open(std::string_view name, const Json& arguments) const {
  return std::ranges::any_of(calls, [&](const CallRecord& call) {
    return !call.outcome && call.name == name && call.arguments == arguments;
  });
}

std::string NativeSession::next_id(std::string_view name) const {
  switch (dialect_->form().ids) {
    case IdForm::nine:
      return std::format("call{:05}", calls.size() + 1);
    case IdForm::functions:
      return std::format("functions.{}:{}", name, calls.size());
    case IdForm::any:
      break;
  }
  return std::format("call_{}", calls.size() + 1);
}

bool NativeSession::call(std::string_view name, Json arguments, std::string code, Time now) {
  if (is_open(name, arguments)) return false;
  const auto key = static_cast<CallKey>(calls.size());
  std::string id = next_id(name);
  CallRecord& record = calls.emplace_back();
  record.emitted = now;
  record.code = std::move(code);
  record.id = id;
  used_ids.insert(std::move(id));
  turn_.calls.push_back(key);
  emit(now, CallEmitted{key});
  idle_traps = 0;
  if (static_cast<std::int32_t>(calls.size()) > config.max_calls) {
    calls[key].name = name;
    reject(key, std::format("no more than {} calls are allowed", config.max_calls), now);
    return true;
  }
  on_call(key, {.name = std::string(name), .positional = {}, .named = std::move(arguments)}, {},
          now);
  return true;
}

// The model's token says whether a call stands in the next line (CallBlock::lines). It is not
// taken: the call goes on from the line's beginning, or the block is closed.
void NativeSession::on_choice(Token token) {
  std::string piece;
  vocabulary.append_piece(token, piece);
  std::string_view text = piece;
  while (!text.empty() && ascii::is_space(text.front())) text.remove_prefix(1);
  if (text.starts_with('{')) {
    open_line();
    std::vector<Token> begun(monitor->forced().begin(), monitor->forced().end());
    if (monitor->allows(token)) begun = {token};
    if (!begun.empty() && has_room(begun.size())) {
      for (const Token next : begun) monitor->advance(next);
      context.insert(context.end(), begun.begin(), begun.end());
      return;
    }
    monitor->close();
  }
  append_close();
  phase_ = Phase::text;
  begin_segment_after_call();
}

// --- the turn ---------------------------------------------------------------------------------

// The model ends its turn. With calls open that is the trap.
void NativeSession::on_end(Token token, Time now) {
  if (phase_ == Phase::block) {  // of an engine that does not keep to the grammar
    monitor->close();
    cut_context(block_position_, now);
    begin_segment(false);
  }
  if (phase_ == Phase::choice) append_close();
  phase_ = Phase::text;
  reader_->finish(dialect::Ending::stopped);
  on_events(now);
  if (state == State::done) return;
  if (token != kNoToken) {
    context.push_back(token);
    turn_.ended = true;
  }
  if (state != State::generating) return;  // sync: a call that the end made certain
  if (open_named == 0 && !queue_wakes()) return end_turn(now);
  emit(now, Trapped{});
  wait_for_calls(now);
}

std::vector<Token> NativeSession::template_tokens(std::string_view text) const {
  std::vector<Token> out;
  // A template's own text has no control token in its text spans.
  (void)append_joined(vocabulary, template_spans(dialect_->controls(), text), out);
  return out;
}

void NativeSession::append_template(std::string_view text) {
  const std::vector<Token> tokens = template_tokens(text);
  context.insert(context.end(), tokens.begin(), tokens.end());
  counts.forced += static_cast<std::int32_t>(tokens.size());
}

void NativeSession::append_close() { append_template(std::exchange(close_, {})); }

// Calls of which the model is not told yet, when it is told of others.
std::string NativeSession::still_running(std::span<const CallKey> told) const {
  std::string out;
  for (CallKey key = 0; key < calls.size(); ++key) {
    if (calls[key].outcome || std::ranges::contains(told, key)) continue;
    out += (out.empty() ? "\n(still running: " : ", ") + call_label(calls[key]);
  }
  return out.empty() ? out : out + ")";
}

Result<std::vector<Token>> NativeSession::result_tokens(std::span<const PendingInterrupt> results,
                                                        bool opens_answer) const {
  TemplateDialect form = dialect_->form();
  if (!opens_answer) form.result.prompt.clear();
  if (opens_answer && dialect_->needs_advice()) advise(form, dialect_->controls(), vocabulary);
  std::vector<CallKey> keys;
  for (const PendingInterrupt& result : results) keys.push_back(*result.call);
  // Results that stand in the calls' order need no word that says which is which, for models that
  // were taught so.
  const bool by_order = keys == turn_.calls && (keys.size() == 1 || !dialect_->needs_advice());
  const bool says_which = form.result.by_position && !by_order;
  std::vector<TemplateResult> told;
  for (const PendingInterrupt& result : results) {
    const CallRecord& call = calls[*result.call];
    std::string content = result.text;
    if (says_which) content = std::format("{}: {}", call_label(call), content);
    const auto place = std::ranges::find(turn_.calls, *result.call);
    if (&result == &results.back()) content += still_running(keys);
    told.push_back({.call = {.id = call.id, .name = call.name, .arguments = call.arguments},
                    .index = static_cast<std::size_t>(place - turn_.calls.begin()),
                    .content = std::move(content),
                    .failed = call.outcome != Outcome::returned});
  }
  std::vector<Token> out;
  const bool after_calls = turn_.after_calls && !turn_.calls.empty();
  if (after_calls && !turn_.ended) out = template_tokens(form.call.section_close);
  const auto spans = result_turn(form, vocabulary, dialect_->controls(), told,
                                 after_calls ? ResultPlace::after_calls : ResultPlace::after_text,
                                 turn_.ended ? TurnState::ended : TurnState::open);
  if (auto ok = append_joined(vocabulary, spans, out); !ok) return std::unexpected(ok.error());
  return out;
}

Result<std::vector<Token>> NativeSession::message_tokens(std::span<const PendingInterrupt> messages,
                                                         TurnState turn) const {
  std::vector<ChatMessage> chat;
  for (const PendingInterrupt& message : messages) {
    ChatMessage next = message_of(message.id, message.text);
    if (chat.empty()) {
      chat.push_back(std::move(next));
    } else {
      chat.back().content += "\n" + next.content;
    }
  }
  const auto spans = next_turn(dialect_->chat(), dialect_->form(), vocabulary, dialect_->controls(),
                               chat, dialect_->render_options(), turn);
  if (!spans) return std::unexpected(spans.error());
  std::vector<Token> out;
  if (auto ok = append_joined(vocabulary, *spans, out); !ok) return std::unexpected(ok.error());
  return out;
}

// Neighbours that are results, or that are messages, stand in one turn.
Result<void> NativeSession::tell(std::vector<PendingInterrupt> interrupts, Time now) {
  for (auto first = interrupts.begin(); first != interrupts.end();) {
    const bool results = first->call.has_value();
    const auto last = std::find_if(first, interrupts.end(), [&](const PendingInterrupt& other) {
      return other.call.has_value() != results;
    });
    const std::span<PendingInterrupt> group(first, last);
    first = last;
    std::vector<PendingInterrupt> told;
    if (results && !told_.empty() && context.size() == turn_position_) {
      cut_context(told_position_, now);
      turn_ = told_turn_;
      told = std::move(told_);
    }
    const std::size_t position = context.size();
    const Turn before = turn_;
    if (results) told.insert(told.end(), group.begin(), group.end());
    auto tokens = results ? result_tokens(told, /*opens_answer=*/true)
                          : message_tokens(group, turn_.ended ? TurnState::ended : TurnState::open);
    if (!tokens) return std::unexpected(tokens.error());
    if (auto done = append_told(*tokens, group, now); !done) return done;
    begin_turn();
    told_ = std::move(told);
    told_turn_ = before;
    told_position_ = position;
  }
  return {};
}

Result<Session::Impl::NewTurn> NativeSession::new_turn() const {
  std::vector<PendingInterrupt> results, messages;
  for (const PendingInterrupt& interrupt : queue) {
    (interrupt.call ? results : messages).push_back(interrupt);
  }
  NewTurn turn;
  // A turn that the model did not end may have been left in a call.
  if (phase_ != Phase::text) turn.tokens = template_tokens(close_);
  if (!results.empty()) {
    const auto tokens = result_tokens(results, /*opens_answer=*/false);
    if (!tokens) return std::unexpected(tokens.error());
    turn.tokens.append_range(*tokens);
  }
  const bool ended = turn_.ended || !results.empty();
  const auto tokens = message_tokens(messages, ended ? TurnState::ended : TurnState::open);
  if (!tokens) return std::unexpected(tokens.error());
  // Results stand before messages, whatever came first.
  for (const PendingInterrupt& interrupt : queue) {
    if (interrupt.id == "user") continue;
    turn.begins.push_back(interrupt.call ? 0 : turn.tokens.size());
  }
  turn.tokens.append_range(*tokens);
  return turn;
}

// --- saved sessions ---------------------------------------------------------------------------

void NativeSession::save_dialect(Json& out) const {
  Json written = Json::array();
  for (const Written& token : written_) written.push_back({token.begin, token.position});
  out["native"] = {{"phase", enum_json(phase_)},
                   {"segment", segment_},
                   {"acted", acted_},
                   {"written", std::move(written)},
                   {"segment_position", segment_position_},
                   {"turn_position", turn_position_},
                   {"turn_reasons", turn_reasons_},
                   {"calls_end", calls_end_},
                   {"block_position", block_position_},
                   {"block_tokens", block_tokens_},
                   {"close", close_},
                   {"turn_calls", turn_.calls},
                   {"after_calls", turn_.after_calls},
                   {"begun", begun_},
                   {"turn_ended", turn_.ended}};
}

void NativeSession::load_dialect(const Json& saved) {
  const Json& native = saved.at("native");
  phase_ = enumerator(native.at("phase"), Phase::choice);
  require(phase_ == Phase::text || dialect_->block(), "its dialect has no such calls");
  native.at("turn_reasons").get_to(turn_reasons_);
  native.at("turn_position").get_to(turn_position_);
  native.at("segment_position").get_to(segment_position_);
  const std::size_t position = segment_position_;
  begin_segment(turn_reasons_ && position == turn_position_);
  segment_position_ = position;
  native.at("segment").get_to(segment_);
  native.at("acted").get_to(acted_);
  for (const Json& token : native.at("written")) {
    written_.push_back({token.at(0).get<std::size_t>(), token.at(1).get<std::size_t>()});
    require(written_.back().begin <= segment_.size() && written_.back().position < context.size(),
            "a token that it has read is none");
  }
  require(segment_.empty() == written_.empty(), "what it has read is of no token");
  native.at("block_position").get_to(block_position_);
  native.at("calls_end").get_to(calls_end_);
  require(
      std::max({segment_position_, block_position_, turn_position_, calls_end_}) <= context.size(),
      "a call begins behind its end");
  native.at("block_tokens").get_to(block_tokens_);
  native.at("close").get_to(close_);
  native.at("turn_calls").get_to(turn_.calls);
  for (const CallKey key : turn_.calls) require(key < calls.size(), "a call of its turn is none");
  native.at("after_calls").get_to(turn_.after_calls);
  native.at("begun").get_to(begun_);
  native.at("turn_ended").get_to(turn_.ended);
  // What is certain of it was acted on before it was saved.
  reader_->feed(segment_);
  for (const dialect::ReaderEvent& event : reader_->take()) {
    if (std::holds_alternative<dialect::CallBegan>(event)) held_ = true;
    if (std::holds_alternative<dialect::TextRead>(event)) held_ = false;
  }
}

}  // namespace asynclm
