// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <chrono>
#include <compare>
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
#include "base/file.h"
#include "cml/call_syntax.h"
#include "runtime/cost_model.h"
#include "runtime/decode_loop.h"
#include "runtime/inbox.h"
#include "runtime/inputs.h"
#include "runtime/latency_model.h"
#include "runtime/measure_costs.h"
#include "runtime/published.h"
#include "runtime/run.h"
#include "session/monitor.h"
#include "session/native_session.h"
#include "session/saved_session.h"
#include "session/session_json.h"
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
  [[nodiscard]] Result<std::shared_ptr<CallGrammar>> grammar(const SessionConfig& config,
                                                             const std::vector<ToolSpec>& tools,
                                                             const ModelDialect* dialect);
  [[nodiscard]] Result<std::vector<ToolSpec>> tools_of(const RunRequest& request) const;
  [[nodiscard]] Result<std::unique_ptr<Run>> make_run(RunRequest request,
                                                      const std::vector<ToolSpec>& tools);
  [[nodiscard]] std::unique_ptr<Run> make_run(RunRequest request, Session session,
                                              const SamplingParams& sampling, Instant began);
  [[nodiscard]] Result<void> join_queue(std::size_t runs);
  void expect_report(Run& run);
  // Answers of the decode thread; `ask` puts the promise into the inbox.
  template <class T, class Ask>
  [[nodiscard]] static Result<T> answer(Ask ask);

  // Null for sessions in CML.
  [[nodiscard]] Result<std::shared_ptr<const ModelDialect>> dialect(const SessionConfig& config);

  std::mutex grammars_mutex;  // also of the dialects
  std::shared_ptr<const TokenTrie> trie;
  struct GrammarKey {
    bool async_plus, canonical_order;
    std::optional<JsonCallForm> json;
    std::string tools;  // what the grammar is made of
    auto operator<=>(const GrammarKey&) const = default;
  };
  std::map<GrammarKey, std::shared_ptr<CallGrammar>> grammars;
  std::map<bool, std::shared_ptr<const ModelDialect>> dialects;  // by whether it is the generic one

  // Between start() and wait() only; the decode thread holds the other end, not this lock.
  std::mutex reports_mutex;
  std::map<RunId, std::future<RunReport>> reports;

  std::thread thread;
};

Result<std::shared_ptr<CallGrammar>> Runtime::Impl::grammar(const SessionConfig& config,
                                                            const std::vector<ToolSpec>& tool_list,
                                                            const ModelDialect* dialect) {
  if (!config.constrained) return std::shared_ptr<CallGrammar>();
  const auto options =
      dialect != nullptr
          ? native_grammar(*dialect, config)
          : std::optional(GrammarOptions{.canonical_order = config.jump_forward,
                                         .async_plus = config.mode == Mode::async_plus});
  if (!options) return std::shared_ptr<CallGrammar>();
  GrammarKey key{options->async_plus, options->canonical_order, options->json, {}};
  for (const ToolSpec& tool : tool_list) {
    key.tools += tool.name + tool.parameters.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  const std::lock_guard lock(grammars_mutex);
  if (const auto known = grammars.find(key); known != grammars.end()) return known->second;
  if (!trie) trie = std::make_shared<const TokenTrie>(engine->vocabulary());
  auto made = CallGrammar::create(engine->vocabulary(), trie, tool_list, *options);
  if (made) grammars.emplace(std::move(key), *made);
  return made;
}

Result<std::shared_ptr<const ModelDialect>> Runtime::Impl::dialect(const SessionConfig& config) {
  if (uses_cml(engine->vocabulary(), config.dialect)) return std::shared_ptr<const ModelDialect>();
  const bool generic = config.dialect == DialectChoice::generic;
  const std::lock_guard lock(grammars_mutex);
  if (const auto known = dialects.find(generic); known != dialects.end()) return known->second;
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  auto found = ModelDialect::find(engine->vocabulary(), generic, now);
  if (found) dialects.emplace(generic, *found);
  return found;
}

Result<std::vector<ToolSpec>> Runtime::Impl::tools_of(const RunRequest& request) const {
  const Published::Specs all = published.specs();
  if (!request.tools) return *all;
  std::vector<ToolSpec> out;
  for (const std::string& name : *request.tools) {
    const auto found = std::ranges::find(*all, name, &ToolSpec::name);
    if (found == all->end()) {
      return fail(ErrorCode::invalid_argument, std::format("there is no tool '{}'", name));
    }
    out.push_back(*found);
  }
  return out;
}

// The prompt is built here, on the caller's thread: the vocabulary may be shared, and sessions that
// run already are not held up.
Result<std::unique_ptr<Run>> Runtime::Impl::make_run(RunRequest request,
                                                     const std::vector<ToolSpec>& tool_list) {
  const Instant began = clock.now();
  if (Result<void> valid = validate(request.sampling); !valid) {
    return std::unexpected(std::move(valid.error()));
  }
  request.config.context_tokens =
      std::min(request.config.context_tokens, engine->info().context_tokens);
  auto spoken = dialect(request.config);
  if (!spoken) return std::unexpected(std::move(spoken.error()));
  auto shared = grammar(request.config, tool_list, spoken->get());
  if (!shared) return std::unexpected(std::move(shared.error()));
  Result<Session> session =
      Session::create(engine->vocabulary(), tool_list, std::move(request.messages), request.config,
                      std::move(*shared), std::move(*spoken));
  if (!session) return std::unexpected(std::move(session.error()));
  const SamplingParams sampling = request.sampling;
  return make_run(std::move(request), std::move(*session), sampling, began);
}

std::unique_ptr<Run> Runtime::Impl::make_run(RunRequest request, Session session,
                                             const SamplingParams& sampling, Instant began) {
  return std::unique_ptr<Run>(new Run{.id = ++last_id,
                                      .session = std::move(session),
                                      .sampling = sampling,
                                      .priority = request.priority,
                                      .on_event = std::move(request.on_event),
                                      .on_turn = std::move(request.on_turn),
                                      .open = request.open,
                                      .began = began});
}

Result<void> Runtime::Impl::join_queue(std::size_t runs) {
  for (std::size_t joined = 0; joined < runs; ++joined) {
    if (published.join_queue(max_queued)) continue;
    while (joined-- > 0) published.leave_queue();
    const std::chrono::milliseconds retry = published.retry_after();
    return std::unexpected(Error{
        .code = ErrorCode::overloaded,
        .message = std::format("{} runs wait already; try again in {} ms, or raise max_queued",
                               max_queued, retry.count()),
        .retry_after = retry});
  }
  return {};
}

void Runtime::Impl::expect_report(Run& run) {
  const std::lock_guard lock(reports_mutex);
  reports.emplace(run.id, run.report.get_future());
}

template <class T, class Ask>
Result<T> Runtime::Impl::answer(Ask ask) {
  std::promise<Result<T>> promise;
  std::future<Result<T>> future = promise.get_future();
  ask(std::move(promise));
  try {
    return future.get();
  } catch (const std::exception& error) {
    return fail(ErrorCode::internal,
                std::string("the decode thread did not answer: ") + error.what());
  }
}

namespace {

// Of the measurement at start.
constexpr Time kMeasureTime = std::chrono::milliseconds(250);

Result<void> check(const RuntimeOptions& options) {
  struct Field {
    const char* name;
    std::int64_t value, low;
  };
  for (const Field& field :
       {Field{"max_running_calls", options.max_running_calls, 1},
        Field{"max_queued", options.max_queued, 1}, Field{"max_gap", options.max_gap.count(), 1},
        Field{"kv_sequences", options.kv_sequences, 0}, Field{"kv_tokens", options.kv_tokens, 0},
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
  const auto tool_list = impl_->tools_of(request);
  if (!tool_list) return std::unexpected(tool_list.error());
  auto run = impl_->make_run(std::move(request), *tool_list);
  if (!run) return std::unexpected(std::move(run.error()));
  if (auto joined = impl_->join_queue(1); !joined) return std::unexpected(joined.error());
  const RunId id = (*run)->id;
  impl_->expect_report(**run);
  impl_->inbox.put(StartRun{std::move(*run)});
  return id;
}

Result<std::vector<RunId>> Runtime::start_group(std::vector<GroupMember> members,
                                                const GroupOptions& options) {
  constexpr auto kCode = ErrorCode::invalid_argument;
  if (members.size() < 2) return fail(kCode, "a group has at least two members");
  if (options.mailbox < 1 || options.max_messages < 0) {
    return fail(kCode, "a group's mailbox must be at least 1 and max_messages at least 0");
  }
  if (impl_->tools.find(kSendTool) != nullptr) {
    return fail(kCode,
                "a tool is named 'send', as the one by which members of a group write to "
                "each other: rename it");
  }
  // All names first: each member's tool lists the others.
  const auto group = std::make_shared<Group>(options);
  for (const GroupMember& member : members) {
    if (!is_identifier(member.name) ||
        std::ranges::count(members, member.name, &GroupMember::name) > 1) {
      return fail(kCode, std::format("a member's name is an identifier of its own: '{}' is not",
                                     member.name));
    }
  }
  Group names(options);
  for (const GroupMember& member : members) names.add(member.name, 0);
  std::vector<std::unique_ptr<Run>> runs;
  std::vector<RunId> ids;
  for (GroupMember& member : members) {
    auto tool_list = impl_->tools_of(member.request);
    if (!tool_list) return std::unexpected(tool_list.error());
    tool_list->push_back(names.send_tool(member.name));
    member.request.open = true;
    member.request.config.awaits_messages = true;
    auto run = impl_->make_run(std::move(member.request), *tool_list);
    if (!run) {
      return fail(run.error().code, std::format("{}: {}", member.name, run.error().message));
    }
    (*run)->group = group;
    group->add(member.name, (*run)->id);
    ids.push_back((*run)->id);
    runs.push_back(std::move(*run));
  }
  if (auto joined = impl_->join_queue(runs.size()); !joined) {
    return std::unexpected(joined.error());
  }
  const Instant began = impl_->clock.now();  // one for all: their times can be compared
  for (const auto& run : runs) {
    run->began = began;
    impl_->expect_report(*run);
  }
  impl_->inbox.put(StartGroup{std::move(runs)});
  return ids;
}

Result<void> Runtime::save(RunId run, const std::string& path) {
  const Result<Json> saved = Impl::answer<Json>([&](std::promise<Result<Json>> promise) {
    impl_->inbox.put(SaveRun{run, std::move(promise)});
  });
  if (!saved) return std::unexpected(saved.error());
  return replace_file(path, seal_session(*saved));
}

Result<RunId> Runtime::load(const std::string& path, RunRequest request) {
  const auto refuse = [&](const Error& error) {
    return fail(error.code, std::format("{}: {}", path, error.message));
  };
  const auto bytes = read_whole_file(path, kMaxSavedSession);
  if (!bytes) return std::unexpected(bytes.error());
  auto saved = open_session(*bytes);
  if (!saved) return refuse(saved.error());
  const EngineInfo& engine = impl_->engine->info();
  SamplingParams sampling;
  Time time{};
  try {
    if (saved->at("fingerprint").get<std::uint64_t>() != engine.fingerprint) {
      return refuse({ErrorCode::invalid_argument,
                     std::format("was saved with the model {}; this is another: {}",
                                 saved->at("model").get<std::string>(), engine.model)});
    }
    const Json& sampler = saved->at("sampling");
    sampling = {.temperature = sampler.at("temperature").get<float>(),
                .top_k = sampler.at("top_k").get<std::int32_t>(),
                .top_p = sampler.at("top_p").get<float>(),
                .min_p = sampler.at("min_p").get<float>(),
                .seed = sampler.at("seed").get<std::uint64_t>()};
    time = Time(saved->at("time").get<Time::rep>());
    Json& context = saved->at("session").at("config").at("context_tokens");
    if (context.get<std::int32_t>() > engine.context_tokens) {
      if (saved->at("session").at("context").size() >=
          static_cast<std::size_t>(engine.context_tokens)) {
        return refuse(
            {ErrorCode::limit_exceeded,
             std::format("has {} tokens, the engine's context {}: raise its size",
                         saved->at("session").at("context").size(), engine.context_tokens)});
      }
      context = engine.context_tokens;
    }
  } catch (const Json::exception& error) {
    return refuse({ErrorCode::invalid_argument, std::string("not a saved run: ") + error.what()});
  }
  if (auto valid = validate(sampling); !valid) return refuse(valid.error());
  const Json& state = saved->at("session");
  const auto config = saved_config(state);
  if (!config) return refuse(config.error());
  const auto tool_list = impl_->tools_of(request);
  if (!tool_list) return std::unexpected(tool_list.error());
  auto dialect = impl_->dialect(*config);
  if (!dialect) return std::unexpected(std::move(dialect.error()));
  auto grammar = impl_->grammar(*config, *tool_list, dialect->get());
  if (!grammar) return refuse(grammar.error());
  auto session = Session::load(impl_->engine->vocabulary(), *tool_list, state, std::move(*grammar),
                               std::move(*dialect));
  if (!session) return refuse(session.error());
  for (CallKey call = 0; call < session->calls().size(); ++call) {
    const CallRecord& record = session->calls()[call];
    if (!record.dispatched || record.outcome) continue;
    const auto tool = std::ranges::find(*tool_list, record.name, &ToolSpec::name);
    if (tool != tool_list->end() && tool->idempotent) continue;  // the decode thread starts it
    session->completed(call, {Outcome::failed, "lost: the process that ran it ended"}, time);
  }
  if (auto joined = impl_->join_queue(1); !joined) return std::unexpected(joined.error());
  auto run =
      impl_->make_run(std::move(request), std::move(*session), sampling, impl_->clock.now() - time);
  const RunId id = run->id;
  impl_->expect_report(*run);
  impl_->inbox.put(StartRun{std::move(run)});
  return id;
}

Result<void> Runtime::interrupt(RunId run, std::string source, std::string text,
                                Delivery delivery) {
  return Impl::answer<void>([&](std::promise<Result<void>> promise) {
    impl_->inbox.put(
        InterruptRun{run, std::move(source), std::move(text), delivery, std::move(promise)});
  });
}

Result<RunReport> Runtime::report(RunId run) {
  return Impl::answer<RunReport>([&](std::promise<Result<RunReport>> promise) {
    impl_->inbox.put(ReportRun{run, std::move(promise)});
  });
}

void Runtime::cancel_call(RunId run, CallKey call) { impl_->inbox.put(CancelCall{run, call}); }

void Runtime::cancel_turn(RunId run) {
  impl_->inbox.put(CancelTurn{run});
  impl_->engine->request_abort();
}

void Runtime::close(RunId run) { impl_->inbox.put(CloseRun{run}); }

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
