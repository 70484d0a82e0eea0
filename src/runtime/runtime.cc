// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <filesystem>
#include <format>
#include <future>
#include <map>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <asynclm/runtime.h>

#include "base/clock.h"
#include "runtime/cost_model.h"
#include "runtime/decode_loop.h"
#include "runtime/inbox.h"
#include "runtime/inputs.h"
#include "runtime/latency_model.h"
#include "runtime/measure_costs.h"
#include "runtime/published.h"
#include "runtime/run.h"
#include "session/monitor.h"
#include "tools/executor.h"

namespace asynclm {

// The order of the members is the order of life: the thread ends first, then the executor's
// workers, which write to the inbox, then the engine.
struct Runtime::Impl {
  Impl(std::unique_ptr<Engine> the_engine, Toolbox the_tools, const RuntimeOptions& options)
      : engine(std::move(the_engine)),
        tools(std::move(the_tools)),
        specs(tools.specs()),
        costs(static_cast<std::size_t>(engine->info().max_batch_tokens)),
        latency(specs),
        published(specs),
        executor(tools, {.max_running = options.max_running_calls,
                         .max_output_bytes = options.max_output_bytes}),
        loop({.engine = *engine,
              .calls = executor,
              .clock = clock,
              .inbox = inbox,
              .costs = costs,
              .latency = latency,
              .published = published},
             options),
        max_queued(options.max_queued),
        latency_file(options.latency_file) {}

  ~Impl() {
    if (!thread.joinable()) return;
    inbox.put(Shutdown{});
    engine->request_abort();
    thread.join();
    // Nobody is left to be told of an error: what was learned is lost then, nothing else.
    if (!latency_file.empty()) (void)latency.save(latency_file);
  }

  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::unique_ptr<Engine> engine;
  Toolbox tools;
  std::vector<ToolSpec> specs;
  SteadyClock clock;
  Inbox<Input> inbox;
  CostModel costs;
  LatencyModel latency;
  Published published;
  Executor executor;
  DecodeLoop loop;
  std::int32_t max_queued;
  std::string latency_file;

  std::atomic<RunId> last_id = 0;
  // What constrained sessions share, made for the first of them. The mutex guards the map; the
  // grammars themselves are used by the decode thread alone.
  [[nodiscard]] Result<std::shared_ptr<CallGrammar>> grammar(const SessionConfig& config);
  std::mutex grammars_mutex;
  std::shared_ptr<const TokenTrie> trie;
  std::map<std::pair<bool, bool>, std::shared_ptr<CallGrammar>> grammars;

  // Between start() and wait() only; the decode thread holds the other end, not this lock.
  std::mutex reports_mutex;
  std::map<RunId, std::future<RunReport>> reports;

  std::thread thread;
};

Result<std::shared_ptr<CallGrammar>> Runtime::Impl::grammar(const SessionConfig& config) {
  if (!config.constrained) return std::shared_ptr<CallGrammar>();
  const bool async_plus = config.mode == Mode::async_plus;
  const std::lock_guard lock(grammars_mutex);
  std::shared_ptr<CallGrammar>& known = grammars[{async_plus, config.fast_forward}];
  if (known) return known;
  if (!trie) trie = std::make_shared<const TokenTrie>(engine->vocabulary());
  auto made =
      CallGrammar::create(engine->vocabulary(), trie, specs,
                          {.canonical_order = config.fast_forward, .async_plus = async_plus});
  if (made) known = *made;
  return made;
}

namespace {

// Of the measurement at start.
constexpr Time kMeasureTime = std::chrono::milliseconds(250);

Result<void> check(const RuntimeOptions& options) {
  struct Field {
    const char* name;
    std::int64_t value, low;
  };
  for (const Field& field : {Field{"max_running_calls", options.max_running_calls, 1},
                             Field{"max_queued", options.max_queued, 1},
                             Field{"max_gap", options.max_gap.count(), 1},
                             Field{"kv_sequences", options.kv_sequences, 0},
                             Field{"kv_tokens", options.kv_tokens, 0},
                             Field{"host_kv_bytes", options.host_kv_bytes, 0},
                             Field{"disk_kv_bytes", options.disk_kv_bytes, 0}}) {
    if (field.value >= field.low) continue;
    return fail(ErrorCode::invalid_argument,
                std::format("Runtime: {} is {}; it must be at least {}", field.name, field.value,
                            field.low));
  }
  if (options.kv_folder.empty()) return {};
  std::error_code error;
  std::filesystem::create_directories(options.kv_folder, error);
  if (error) {
    return fail(ErrorCode::io, std::format("Runtime: the folder {} for saved sequences cannot be "
                                           "made: {}",
                                           options.kv_folder, error.message()));
  }
  return {};
}

}  // namespace

Runtime::Runtime(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Runtime::~Runtime() = default;

Result<std::unique_ptr<Runtime>> Runtime::create(std::unique_ptr<Engine> engine, Toolbox tools,
                                                 const RuntimeOptions& options) {
  if (engine == nullptr) return fail(ErrorCode::invalid_argument, "Runtime: there is no engine");
  if (Result<void> valid = check(options); !valid) return std::unexpected(valid.error());
  try {
    auto impl = std::make_unique<Impl>(std::move(engine), std::move(tools), options);
    if (!options.latency_file.empty() && std::filesystem::exists(options.latency_file)) {
      if (auto loaded = impl->latency.load(options.latency_file); !loaded) {
        return std::unexpected(std::move(loaded.error()));
      }
      if (options.learn_estimates) impl->published.set_specs(impl->latency.specs());
    }
    if (options.measure_costs) {
      if (auto done = measure_costs(*impl->engine, impl->clock, kMeasureTime, impl->costs); !done) {
        return std::unexpected(std::move(done.error()));
      }
    }
    impl->thread = std::thread([loop = &impl->loop] { loop->run(); });
    return std::unique_ptr<Runtime>(new Runtime(std::move(impl)));
  } catch (const std::exception& error) {
    return fail(ErrorCode::io,
                std::string("Runtime: its threads could not be started: ") + error.what());
  }
}

Result<RunId> Runtime::start(RunRequest request) {
  const Instant began = impl_->clock.now();
  if (Result<void> valid = validate(request.sampling); !valid) {
    return std::unexpected(std::move(valid.error()));
  }
  request.config.context_tokens =
      std::min(request.config.context_tokens, impl_->engine->info().context_tokens);
  // The prompt is built here, on the caller's thread: the vocabulary may be shared, and sessions
  // that run already are not held up.
  auto grammar = impl_->grammar(request.config);
  if (!grammar) return std::unexpected(std::move(grammar.error()));
  Result<Session> session =
      Session::create(impl_->engine->vocabulary(), *impl_->published.specs(),
                      std::move(request.messages), request.config, std::move(*grammar));
  if (!session) return std::unexpected(std::move(session.error()));
  if (!impl_->published.join_queue(impl_->max_queued)) {
    const std::chrono::milliseconds retry = impl_->published.retry_after();
    return std::unexpected(
        Error{.code = ErrorCode::overloaded,
              .message = std::format("{} runs wait already; try again in {} ms, or raise max_queued",
                                     impl_->max_queued, retry.count()),
              .retry_after = retry});
  }

  const RunId id = ++impl_->last_id;
  auto run = std::unique_ptr<Run>(new Run{.id = id,
                                          .session = std::move(*session),
                                          .sampling = request.sampling,
                                          .priority = request.priority,
                                          .on_event = std::move(request.on_event),
                                          .began = began});
  {
    const std::lock_guard lock(impl_->reports_mutex);
    impl_->reports.emplace(id, run->report.get_future());
  }
  impl_->inbox.put(StartRun{std::move(run)});
  return id;
}

Result<RunReport> Runtime::wait(RunId run) {
  std::future<RunReport> report;
  {
    const std::lock_guard lock(impl_->reports_mutex);
    const auto found = impl_->reports.find(run);
    if (found == impl_->reports.end()) {
      return fail(ErrorCode::not_found, "run " + std::to_string(run) +
                                            " is unknown or was already waited for; each run can "
                                            "be waited for once");
    }
    report = std::move(found->second);
    impl_->reports.erase(found);
  }
  try {
    return report.get();
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal,
                "run " + std::to_string(run) + " ended without a report: " + error.what());
  }
}

void Runtime::cancel(RunId run) {
  impl_->inbox.put(CancelRun{run});
  impl_->engine->request_abort();
}

const EngineInfo& Runtime::engine_info() const { return impl_->engine->info(); }

Metrics Runtime::metrics() const { return impl_->published.metrics(); }

std::vector<ToolSpec> Runtime::tools() const { return impl_->specs; }

}  // namespace asynclm
