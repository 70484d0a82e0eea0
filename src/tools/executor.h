// SPDX-License-Identifier: Apache-2.0
// Runs calls of tools: programs as processes, C++ functions on a pool of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include <asynclm/tool.h>

#include "tools/call_runner.h"

namespace asynclm {

struct ExecutorOptions {
  std::int32_t max_running = 16;             // calls at once; at least 1
  std::size_t max_output_bytes = 64 * 1024;  // of a result; a longer one fails the call
};

// Each call in a worker of its own, at most max_running at once, the others wait in the order of
// start. A call that has timed out or was cancelled has its outcome at once, but keeps its place
// until it has really ended: a program is gone after at most 600 ms, a function when it returns.
//
// Thread-safe. Callbacks run on one thread of the executor; they must not block or throw.
class Executor final : public CallRunner {
 public:
  // `tools` must outlive the executor. May throw std::system_error if no thread can be started.
  Executor(const Toolbox& tools, const ExecutorOptions& options);

  // Cancels all calls and waits until the last has ended: every callback has been called or will
  // never be. A function that never returns keeps the destructor waiting.
  ~Executor() override;

  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  Handle start(const std::string& tool, Json arguments, std::function<void()> on_started,
               std::function<void(CallResult)> on_done) override;
  void cancel(Handle handle) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
