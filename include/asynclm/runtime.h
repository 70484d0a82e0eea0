// SPDX-License-Identifier: Apache-2.0
// The runtime: many sessions on one engine. One thread owns the engine and all sessions, one owns
// I/O (programs, timers); they meet in the inbox.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/metrics.h>
#include <asynclm/session.h>
#include <asynclm/tool.h>
#include <asynclm/types.h>

namespace asynclm {

// What becomes of the KV cache of a session that waits for results (paper section 5.4).
enum class ResidencyPolicy : std::uint8_t {
  keep,       // it stays: who has a sequence holds it to the end
  at_trap,    // each session by itself, when it pauses: keep, swap or recompute (the paper)
  on_demand,  // it stays while nobody needs its place; then those go whose going costs least for
              // what it frees, and come back before their result is expected
};
// "keep", "at-trap", "on-demand"
[[nodiscard]] std::string_view to_string(ResidencyPolicy policy);
[[nodiscard]] Result<ResidencyPolicy> parse_residency_policy(std::string_view text);

struct RuntimeOptions {
  std::int32_t max_running_calls = 16;       // over all sessions; further calls queue
  std::size_t max_output_bytes = 64 * 1024;  // of one tool call; more is an error

  // Runs that wait for their first place in the engine. Further ones are refused (`overloaded`).
  std::int32_t max_queued = 1024;

  // Long prompts are cut so that a decode call with sessions that write takes no longer than this:
  // the bound on the gap between two of their tokens. At least 16 tokens of prompts go into a call,
  // else they would never end. A person sees no gap of 50 ms.
  Time max_gap = std::chrono::milliseconds(50);

  ResidencyPolicy residency = ResidencyPolicy::on_demand;
  // The budget of the KV cache: sequences held at once, and tokens in them. 0: what the engine has.
  // Tokens are counted when a session gets its sequence; those that write may grow beyond.
  std::int32_t kv_sequences = 0;
  std::int64_t kv_tokens = 0;
  // Room for saved sequences: in memory, then in files of a folder (empty: none are written), then
  // they are computed again.
  std::int64_t host_kv_bytes = std::int64_t{1} << 30;
  std::string kv_folder = {};
  std::int64_t disk_kv_bytes = std::int64_t{8} << 30;
  // Measure at start what decoding, saving and restoring cost: up to 0.3 s. Else the first
  // operations tell.
  bool measure_costs = false;

  // Where the run times of tools are kept between runtimes; empty: nowhere. A file that is not
  // there is made when the runtime ends; one that cannot be read is an error of create().
  std::string latency_file = {};
  // The estimates in the prompt follow the run times that were seen (latency_model.h says how);
  // else they are the declared ones.
  bool learn_estimates = true;
};

// Everything about a session that has ended, or at the end of a turn: answer and finish are the
// last turn's, the rest is of all turns so far.
struct RunReport {
  bool ended = true;  // false: the turn goes on, as report() may find it
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
  SessionConfig config = {.constrained = true, .jump_forward = true, .drafts = true};
  SamplingParams sampling;
  // Higher is served first: with a sequence, and with its prompt. Equal ones are served alike.
  std::int32_t priority = 0;
  // Called on the decode thread for each event, with the session to look up calls. Must be quick
  // and must not call the runtime. Times count from this session's start.
  std::function<void(const Session&, const Event&)> on_event;
  // The tools that it may call; all of the runtime's if none are named here.
  std::optional<std::vector<std::string>> tools;
  // A conversation: it stays when a turn has ended, for further messages, until close() or
  // cancel(). It ends by itself where it cannot go on: context_full, error.
  bool open = false;
  // Called at each turn's end, as on_event.
  std::function<void(const RunReport&)> on_turn;
};

using RunId = std::uint64_t;

// Sessions that write to each other: each gets the tool send(to, text), and its messages arrive as
// `[INTR] agent:NAME` (paper section 6.6).
struct GroupMember {
  std::string name;  // an identifier
  RunRequest request;
};
struct GroupOptions {
  std::int32_t mailbox = 16;        // messages that a member has not been told yet; then send fails
  std::int32_t max_messages = 256;  // of the whole group, so that loops end; then send fails
};

class Runtime {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Runtime>> create(std::unique_ptr<Engine> engine,
                                                               Toolbox tools,
                                                               const RuntimeOptions& options);
  ~Runtime();  // cancels what runs and waits for it

  // Thread-safe, all of them.
  // start: `overloaded` with Error::retry_after if max_queued runs wait.
  [[nodiscard]] Result<RunId> start(RunRequest request);
  [[nodiscard]] Result<RunReport> wait(RunId run);  // blocks until the session ended; once per run
  void cancel(RunId run);                           // ends it soon, also in mid-decode

  // Conversations. All wait until the decode thread has answered, a decode call at most, where they
  // return something. not_found: there is no such run (any more).
  // Session::interrupt, in any state of the run; after the end of a turn of an open run it wakes
  // it.
  [[nodiscard]] Result<void> interrupt(RunId run, std::string source, std::string text,
                                       Delivery delivery = Delivery::interrupt);
  void cancel_call(RunId run, CallKey call);
  void cancel_turn(RunId run);  // as cancel, but an open run stays
  void close(RunId run);        // an open run ends with its turn, at once if that has ended

  // How the run stands.
  [[nodiscard]] Result<RunReport> report(RunId run);

  // The run as it is now, into a file (which is replaced as a whole), for any process with the same
  // model and tools. It goes on. Not of a group's member (unsupported).
  [[nodiscard]] Result<void> save(RunId run, const std::string& path);
  // A saved run goes on: with the same tokens where the engine computes a prompt as it computes
  // token after token. Of `request` counts what is not in the file: open, priority, tools and the
  // observers. Calls that ran when it was saved run again if their tool is idempotent; else they
  // have failed, `lost: the process that ran it ended`. Errors name the file: not_found, io,
  // invalid_argument (damaged; another model, other tools), limit_exceeded (a smaller context).
  [[nodiscard]] Result<RunId> load(const std::string& path, RunRequest request);

  // Starts all of them, or none. The group ends when all are idle: turns ended or waiting for
  // messages, no call open, no message on its way. People may interrupt a member. invalid_argument:
  // names (also of a tool: send), limits. Otherwise as start().
  [[nodiscard]] Result<std::vector<RunId>> start_group(std::vector<GroupMember> members,
                                                       const GroupOptions& options = {});

  [[nodiscard]] const EngineInfo& engine_info() const;
  [[nodiscard]] Metrics metrics() const;  // as of the last turn of the decode loop
  [[nodiscard]] std::vector<ToolSpec> tools() const;

 private:
  struct Impl;
  explicit Runtime(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
