// SPDX-License-Identifier: Apache-2.0
// Asynchronous calls by the means that a server of completions has (the paper's Async-Naive): a
// real llama-server writes, a parser reads its stream and starts calls, and each result ends the
// stream and begins a new one, whose prompt is the whole context. On the machine's clock, with real
// timers.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/session.h>

#include "oracle/simulator.h"

namespace asynclm::bench {

struct LlamaServerOptions {
  std::string program = "llama-server";
  std::string model_path;
  std::int32_t context_tokens = 4096;
  std::int32_t threads = 1;
};

// Asks a server at a port of this machine. Not thread-safe.
class CompletionClient {
 public:
  // A server says nothing while it computes a prompt, however long: the limit is for one that
  // hangs.
  static constexpr std::chrono::milliseconds kLongestSilence = std::chrono::hours{1};
  // The vocabulary is that of the server's model; it must outlive the client.
  CompletionClient(std::uint16_t port, const Vocabulary& vocabulary,
                   std::chrono::milliseconds longest_silence = kLongestSilence);
  ~CompletionClient();
  CompletionClient(const CompletionClient&) = delete;
  CompletionClient& operator=(const CompletionClient&) = delete;

  // The prompt is in the server's cache afterwards.
  [[nodiscard]] Result<void> compute(std::span<const Token> prompt);
  // As simulate(), from `start` on: with the server's tokens (greedy), and real time. `uses_cache`:
  // requests but the first may use what is in the server's cache; the first one does. Errors:
  // io, what the server or the connection says, or that it says nothing; limit_exceeded, the
  // server's context is full.
  [[nodiscard]] Result<SimulationReport> run(Session& session, Time start, bool uses_cache,
                                             const SimulatedTool& tool,
                                             const EventObserver& observer,
                                             std::span<const SimulatedInterrupt> interrupts);

 private:
  struct Impl;
  friend class LlamaServer;
  std::unique_ptr<Impl> impl_;
};

// A server process of its own on a free port of this machine. It ends with the object.
class LlamaServer {
 public:
  // Returns when the model is loaded. Errors: not_found (no such program), io (it ended, with its
  // last words; or does not answer).
  [[nodiscard]] static Result<std::unique_ptr<LlamaServer>> start(const LlamaServerOptions& options,
                                                                  const Vocabulary& vocabulary);
  ~LlamaServer();
  LlamaServer(const LlamaServer&) = delete;
  LlamaServer& operator=(const LlamaServer&) = delete;

  [[nodiscard]] CompletionClient& client();
  // POST /v1/chat/completions, and its answer. io: what the server or the connection says.
  [[nodiscard]] Result<Json> chat(const Json& request);
  [[nodiscard]] pid_t pid() const;

 private:
  struct Impl;
  explicit LlamaServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm::bench
