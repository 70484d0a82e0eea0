// SPDX-License-Identifier: Apache-2.0
// The runtime: many sessions on one engine. One thread owns the engine and all sessions, one owns
// I/O (programs, timers); they meet in the inbox.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/session.h>
#include <asynclm/tool.h>
#include <asynclm/types.h>

namespace asynclm {

struct RuntimeOptions {
  std::int32_t max_running_calls = 16;       // over all sessions; further calls queue
  std::size_t max_output_bytes = 64 * 1024;  // of one tool call; more is an error
};

// Everything about a session that has ended.
struct RunReport {
  FinishReason finish = FinishReason::stop;
  std::string answer;
  std::vector<CallRecord> calls;
  TokenCounts tokens;
  Time wall{};                 // from start to the end
  Time generating{};           // engine calls that served this session, prompt included
  Time waiting{};              // paused, or queued, with nothing to decode
  Time overlap{};              // generating while at least one of its calls ran
  std::optional<Error> error;  // finish == error
};

struct RunRequest {
  std::vector<Message> messages;  // usually one of role "user"; the tool list is added
  // context_tokens is cut to the engine's.
  SessionConfig config = {.constrained = true, .fast_forward = true, .drafts = true};
  SamplingParams sampling;
  // Called on the decode thread for each event, with the session to look up calls. Must be quick
  // and must not call the runtime. Times count from this session's start.
  std::function<void(const Session&, const Event&)> on_event;
};

using RunId = std::uint64_t;

class Runtime {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Runtime>> create(std::unique_ptr<Engine> engine,
                                                               Toolbox tools,
                                                               const RuntimeOptions& options);
  ~Runtime();  // cancels what runs and waits for it

  // Thread-safe, all of them.
  [[nodiscard]] Result<RunId> start(RunRequest request);
  [[nodiscard]] Result<RunReport> wait(RunId run);  // blocks until the session ended; once per run
  void cancel(RunId run);                           // ends it soon, also in mid-decode

  [[nodiscard]] const EngineInfo& engine_info() const;
  [[nodiscard]] std::vector<ToolSpec> tools() const;

 private:
  struct Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
