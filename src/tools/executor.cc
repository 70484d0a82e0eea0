// SPDX-License-Identifier: Apache-2.0
//
// All state belongs to the I/O thread; start, cancel and the pool's threads post to it.
#include "tools/executor.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <map>
#include <stop_token>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "tools/process.h"
#include "tools/toolbox.h"

namespace asynclm {
namespace {

namespace asio = boost::asio;
using WorkGuard = asio::executor_work_guard<asio::io_context::executor_type>;

CallResult run_function(const ToolFunction& function, const Json& arguments, std::stop_token stop,
                        std::size_t max_output_bytes) {
  try {
    auto result = function(arguments, std::move(stop));
    if (!result) return {Outcome::failed, valid_utf8(result.error().message)};
    if (result->size() > max_output_bytes) {
      return {Outcome::failed, "output exceeds " + std::to_string(max_output_bytes) + " bytes"};
    }
    return {Outcome::returned, valid_utf8(*result)};
  } catch (const std::exception& e) {
    return {Outcome::failed, valid_utf8(e.what())};
  } catch (...) {
    return {Outcome::failed, "an unknown exception"};
  }
}

}  // namespace

struct Executor::Impl {
  struct Call {
    Call(Handle h, asio::io_context& context) : handle(h), timer(context) {}
    Handle handle;
    const Toolbox::Impl::Entry* entry = nullptr;
    Json arguments;
    std::function<void()> on_started;
    std::function<void(CallResult)> on_done;
    asio::steady_timer timer;
    std::shared_ptr<Process> process;  // of a running program
    std::stop_source stop;             // of a running function
    bool done = false;                 // on_done has been called
  };
  using CallPtr = std::shared_ptr<Call>;

  Impl(const Toolbox& t, const ExecutorOptions& o)
      : tools(t), options(o), io_guard(io.get_executor()), pool_guard(pool.get_executor()) {}

  void add(CallPtr call, const std::string& tool);
  void cancel(Handle handle);
  void cancel_all();
  void run_queued();
  void run(const CallPtr& call);
  void run_program(const CallPtr& call, const Toolbox::Impl::Program& program);
  void run_on_pool(const CallPtr& call, const ToolFunction& function);
  void finish(const CallPtr& call, CallResult result);
  void stop(const CallPtr& call);
  void place_is_free();

  const Toolbox& tools;
  const ExecutorOptions options;
  std::atomic<Handle> next_handle = 1;

  asio::io_context io;
  asio::io_context pool;
  WorkGuard io_guard;
  WorkGuard pool_guard;

  // Of the I/O thread.
  std::map<Handle, CallPtr> open;  // queued or running, without an outcome
  std::deque<CallPtr> queue;       // may hold cancelled ones
  std::int32_t running = 0;
  std::size_t functions = 0;  // of those, functions
  bool stopping = false;
  std::vector<std::jthread> pool_threads;

  std::jthread io_thread;
};

Executor::Executor(const Toolbox& tools, const ExecutorOptions& options)
    : impl_(std::make_unique<Impl>(tools, options)) {
  impl_->io_thread = std::jthread([impl = impl_.get()] {
    // A program that does not read its input makes a write fail, and must not make us die.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    impl->io.run();
  });
}

Executor::~Executor() {
  asio::post(impl_->io, [impl = impl_.get()] {
    impl->cancel_all();
    impl->io_guard.reset();  // run() returns when the last process is gone
  });
  impl_->io_thread.join();
  impl_->pool_guard.reset();
  impl_->pool_threads
      .clear();  // joins: functions may still run, but nobody waits for their results
}

Executor::Handle Executor::start(const std::string& tool, Json arguments,
                                 std::function<void()> on_started,
                                 std::function<void(CallResult)> on_done) {
  const Handle handle = impl_->next_handle++;
  auto call = std::make_shared<Impl::Call>(handle, impl_->io);
  call->arguments = std::move(arguments);
  call->on_started = std::move(on_started);
  call->on_done = std::move(on_done);
  asio::post(impl_->io, [impl = impl_.get(), call = std::move(call), tool]() mutable {
    impl->add(std::move(call), tool);
  });
  return handle;
}

void Executor::cancel(Handle handle) {
  asio::post(impl_->io, [impl = impl_.get(), handle] { impl->cancel(handle); });
}

void Executor::Impl::add(CallPtr call, const std::string& tool) {
  if (stopping) return;
  open.emplace(call->handle, call);
  call->entry = tools.impl().find(tool);
  if (call->entry == nullptr) {
    finish(call, {Outcome::failed, valid_utf8("unknown tool '" + tool + "'")});
    return;
  }
  queue.push_back(std::move(call));
  run_queued();
}

void Executor::Impl::cancel(Handle handle) {
  const auto found = open.find(handle);
  if (found == open.end()) return;
  const CallPtr call = found->second;
  stop(call);
  finish(call, {Outcome::cancelled, "cancelled"});
}

void Executor::Impl::cancel_all() {
  stopping = true;
  while (!open.empty()) cancel(open.begin()->first);
  queue.clear();
}

void Executor::Impl::run_queued() {
  while (!queue.empty() && running < std::max(options.max_running, 1)) {
    const CallPtr call = std::move(queue.front());
    queue.pop_front();
    if (!call->done) run(call);
  }
}

void Executor::Impl::run(const CallPtr& call) {
  ++running;
  if (call->on_started) call->on_started();
  const std::chrono::milliseconds timeout = call->entry->spec.timeout;
  call->timer.expires_after(timeout);
  call->timer.async_wait([this, call, timeout](boost::system::error_code error) {
    if (error || call->done) return;
    stop(call);
    finish(call,
           {Outcome::timed_out, "no result after " + std::to_string(timeout.count()) + " ms"});
  });
  if (const auto* program = std::get_if<Toolbox::Impl::Program>(&call->entry->run)) {
    run_program(call, *program);
  } else {
    run_on_pool(call, std::get<ToolFunction>(call->entry->run));
  }
}

void Executor::Impl::run_program(const CallPtr& call, const Toolbox::Impl::Program& program) {
  Process::Options process;
  process.command = program.command;
  process.shown = program.shown;
  process.input = call->arguments.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  process.max_output_bytes = options.max_output_bytes;
  process.on_result = [this, call](CallResult result) { finish(call, std::move(result)); };
  process.on_gone = [this] { place_is_free(); };
  auto started = Process::start(io, std::move(process));
  if (started) {
    call->process = std::move(*started);
    return;
  }
  finish(call, {Outcome::failed, valid_utf8(started.error().message)});
  --running;  // run_queued goes on by itself
}

void Executor::Impl::run_on_pool(const CallPtr& call, const ToolFunction& function) {
  if (functions == pool_threads.size()) {
    try {
      pool_threads.emplace_back([this] { pool.run(); });
    } catch (const std::system_error& e) {
      finish(call, {Outcome::failed, std::string("cannot start a thread: ") + e.what()});
      --running;
      return;
    }
  }
  ++functions;
  asio::post(pool, [this, call, &function] {
    CallResult result =
        run_function(function, call->arguments, call->stop.get_token(), options.max_output_bytes);
    asio::post(io, [this, call, result = std::move(result)]() mutable {
      --functions;
      finish(call, std::move(result));
      place_is_free();
    });
  });
}

void Executor::Impl::stop(const CallPtr& call) {
  if (call->process) call->process->stop();
  call->stop.request_stop();
}

void Executor::Impl::finish(const CallPtr& call, CallResult result) {
  if (call->done) return;
  call->done = true;
  call->timer.cancel();
  open.erase(call->handle);
  call->process.reset();
  if (call->on_done) call->on_done(std::move(result));
}

void Executor::Impl::place_is_free() {
  --running;
  run_queued();
}

}  // namespace asynclm
