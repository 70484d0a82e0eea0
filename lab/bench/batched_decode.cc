// SPDX-License-Identifier: Apache-2.0
#include "bench/batched_decode.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <format>
#include <string>
#include <utility>
#include <vector>

#include <asynclm/runtime.h>

#include "fixtures/forwarding_engine.h"

namespace asynclm::bench {
namespace {

// A call that gave each session one token.
struct FullStep {
  std::size_t call;  // the how manyth of all calls
  std::chrono::steady_clock::time_point from, to;
};

// Notes when the engine's calls begin and end, and bans what would end a text.
class TextEngine final : public ForwardingEngine {
 public:
  TextEngine(std::unique_ptr<Engine> engine, const BatchedDecodeTask& task,
             std::vector<FullStep>& steps)
      : ForwardingEngine(std::move(engine)),
        sessions_(static_cast<std::size_t>(task.sessions)),
        steps_(steps) {
    steps_.reserve(static_cast<std::size_t>(task.generated_tokens));
    items_.reserve(sessions_);
    for (Token token = 0; token < vocabulary().size(); ++token) {
      if (vocabulary().is_control(token) || vocabulary().is_end_of_generation(token)) {
        controls_.push_back(token);
      }
    }
  }

  [[nodiscard]] Result<void> decode(std::span<const DecodeItem> items,
                                    std::span<Token> sampled) override {
    items_.assign(items.begin(), items.end());
    bool full = items.size() == sessions_;
    for (DecodeItem& item : items_) {
      item.banned = controls_;
      full = full && item.sample && item.append.size() == 1 && item.draft.empty();
    }
    const std::chrono::steady_clock::time_point from = std::chrono::steady_clock::now();
    Result<void> done = inner().decode(items_, sampled);
    if (full) steps_.push_back({calls_, from, std::chrono::steady_clock::now()});
    ++calls_;
    return done;
  }

 private:
  std::size_t sessions_;
  std::vector<FullStep>& steps_;
  std::vector<Token> controls_;
  std::vector<DecodeItem> items_;
  std::size_t calls_ = 0;
};

// A message whose prompt has at least `tokens` tokens, and few more.
Result<std::pair<std::string, std::int32_t>> long_message(const Vocabulary& vocabulary,
                                                          const SessionConfig& config,
                                                          std::int32_t tokens) {
  std::string text = "Write.";
  for (;;) {
    const auto session = Session::create(vocabulary, {}, {{"user", text}}, config);
    if (!session) return std::unexpected(session.error());
    const auto size = static_cast<std::int32_t>(session->context().size());
    if (size >= tokens) return std::pair(text, size);
    // A word is one to four tokens, in whatever vocabulary.
    for (std::int32_t i = 0; i <= (tokens - size) / 4; ++i) text += " it";
  }
}

}  // namespace

Result<BatchedDecode> measure_batched_decode(std::unique_ptr<Engine> engine,
                                             const BatchedDecodeTask& task) {
  SessionConfig config;
  config.max_generated = task.generated_tokens;
  auto message = long_message(engine->vocabulary(), config, task.prompt_tokens);
  if (!message) return std::unexpected(message.error());
  auto& [text, prompt] = *message;
  if (engine->info().max_sequences < task.sessions ||
      engine->info().context_tokens < prompt + task.generated_tokens) {
    return fail(ErrorCode::limit_exceeded,
                std::format("the engine has {} sequences of {} tokens; this needs {} of {}",
                            engine->info().max_sequences, engine->info().context_tokens,
                            task.sessions, prompt + task.generated_tokens));
  }
  std::vector<FullStep> steps;
  auto runtime =
      Runtime::create(std::make_unique<TextEngine>(std::move(engine), task, steps), {}, {});
  if (!runtime) return std::unexpected(runtime.error());
  std::vector<RunId> runs;
  for (std::int32_t i = 0; i < task.sessions; ++i) {
    RunRequest request;
    request.messages = {{"user", text}};
    request.config = config;
    const auto run = (*runtime)->start(std::move(request));
    if (!run) return std::unexpected(run.error());
    runs.push_back(*run);
  }
  for (const RunId run : runs) {
    const auto report = (*runtime)->wait(run);
    if (!report) return std::unexpected(report.error());
    if (report->error) return std::unexpected(*report->error);
  }
  runtime->reset();  // its thread writes no more steps

  BatchedDecode out{.prompt_tokens = prompt};
  std::chrono::steady_clock::duration whole{}, own{};
  for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
    if (steps[i + 1].call != steps[i].call + 1) continue;  // another session's prompt between them
    ++out.steps;
    whole += steps[i + 1].from - steps[i].from;
    own += steps[i + 1].from - steps[i].to;
  }
  if (out.steps == 0) {
    return fail(ErrorCode::invalid_argument,
                "too few tokens: no two decode calls in a row had all sessions");
  }
  const auto tokens = static_cast<double>(out.steps * task.sessions);
  out.tokens_per_second = tokens / std::chrono::duration<double>(whole).count();
  out.own_us_per_token = std::chrono::duration<double, std::micro>(own).count() / tokens;
  return out;
}

}  // namespace asynclm::bench
