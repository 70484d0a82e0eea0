// SPDX-License-Identifier: Apache-2.0
// The oracle: what an ideal model would write (paper section 4). It watches a session and gives the
// next token; it knows the task's solution, but uses a result only after it was delivered.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/session.h>

#include "cml/markers.h"
#include "oracle/schedule.h"
#include "oracle/simulator.h"
#include "oracle/task.h"

namespace asynclm {

// Which of the calls that can be made now comes first.
enum class Policy : std::uint8_t {
  lpt,            // the longest estimated one (the paper's policy)
  critical_path,  // the one with the longest remaining path, writing included (oracle/schedule.h)
  optimal,        // the first in the best order that is known for the estimates (best_order)
  as_written,     // the first in the user's text
};
struct NamedPolicy {
  std::string_view name;
  Policy policy;
};
inline constexpr std::array<NamedPolicy, 4> kPolicies = {{{"lpt", Policy::lpt},
                                                          {"critical-path", Policy::critical_path},
                                                          {"optimal", Policy::optimal},
                                                          {"as-written", Policy::as_written}}};

// A call's tokens take this long where nothing else is said.
inline constexpr Time kTimePerToken = from_ms(10);

// What the ideal model does, besides making its calls.
struct OracleHabits {
  bool reports = true;  // writes a line for each result; else it only calls
  // In async+: futures as arguments, calls that come after others, and traps that name what they
  // wait for.
  bool futures = true, order = true, waits = true;
};

// What is known of the task's calls before they run: the time to write each (an argument that is
// still to come counts as nothing), and its tool's estimate.
[[nodiscard]] std::vector<PlannedCall> plan(const Task& task, const std::vector<ToolSpec>& tools,
                                            const Vocabulary& vocabulary, Time per_token);
// One rank a call, the smallest first. `is_cut`, if not null: whether the search of Policy::optimal
// was cut, so that there may be a better order.
[[nodiscard]] std::vector<double> ranks(Policy policy, const Task& task,
                                        const std::vector<ToolSpec>& tools,
                                        std::span<const PlannedCall> calls, bool* is_cut = nullptr);

// a … z, aa, ab, …
[[nodiscard]] std::string numbered_id(std::uint32_t number);

// What stands between [CALL] and [HEAD]: "b", or "b after a c".
[[nodiscard]] std::string call_header(std::string_view id, const std::vector<std::string>& after);

// The task's calls that have to return before this one is written, or in async+ before it runs, in
// their order.
[[nodiscard]] std::vector<std::size_t> needs_of(const TaskCall& call);

// Whether, in async+, the call can be written before its predecessor `need` has returned: with its
// id in place of the result.
[[nodiscard]] bool can_name(const TaskCall& call, std::size_t need, const OracleHabits& habits);

// Whether another call of the task is to be made if the call `index` fails.
[[nodiscard]] bool is_tried_again(const Task& task, std::size_t index);

// A result is text; for a parameter that is a number it is the number it spells.
[[nodiscard]] Json result_as_argument(const std::string& text, const ToolSpec& tool,
                                      const std::string& parameter);

// The line by which the answer reports a call: its id and its result, as in the interrupt that
// brought it. A small model copies that without fail; it does not name the call in other words.
[[nodiscard]] std::string report_line(const CallRecord& call);
// The id in the beginning of such a line that ends where the result begins; of other text none.
[[nodiscard]] std::optional<std::string_view> reported_id(std::string_view beginning);
// … and a call that could not be made because a call before it failed.
[[nodiscard]] std::string not_run_line(const TaskCall& call);
// … and what no tool can do.
[[nodiscard]] std::string not_possible_line(const TaskCall& call);

// How the call's tool will behave.
[[nodiscard]] SimulatedReturn return_of(const TaskCall& call);
// The task's interruptions as simulate() takes them; valid as long as the task.
[[nodiscard]] std::vector<SimulatedInterrupt> said_by_user(const Task& task);

// At each decision, in this order: the cancellation of a call that the user no longer wants
// (async+); a callable call; text that is left to say; what is not possible; the report of a
// delivered result; a trap while calls are open; the end of the turn. A failed call that is to be
// tried again, and one that the user has withdrawn, are not reported.
class Oracle {
 public:
  // All must outlive the oracle. The session's tools are `tools`.
  Oracle(const Vocabulary& vocabulary, const Markers& markers, const std::vector<ToolSpec>& tools,
         Policy policy, Time per_token = kTimePerToken, const OracleHabits& habits = {});

  // The next task; the session's next call will be its first. `ranks`: one a call, in place of the
  // policy's.
  void begin(const Task& task, const Session& session,
             std::optional<std::vector<double>> ranks = std::nullopt);
  // The task's next interruption stands in the context.
  void hear() { ++heard_; }

  [[nodiscard]] Token next(const Session& session);
  // Whether the last token belongs to a mistake (TaskCall::mistake): no example to learn from.
  [[nodiscard]] bool mistaken() const { return mistaken_; }

  // Tasks so far whose best order was searched for, but not to the end.
  [[nodiscard]] std::int32_t cut_searches() const { return cut_searches_; }

  // The task's call that the session's call is, if the oracle made it.
  [[nodiscard]] const TaskCall* call(CallKey key) const;

 private:
  struct Progress {
    std::optional<CallKey> key;  // emitted
    bool mistake_made = false;
    bool cancelled = false;
    bool reported = false;
  };
  void decide(const Session& session);
  [[nodiscard]] std::optional<std::size_t> next_call(const Session& session) const;
  [[nodiscard]] bool is_callable(const Session& session, std::size_t index) const;
  [[nodiscard]] bool is_asked(std::size_t index) const;
  [[nodiscard]] bool is_withdrawn(std::size_t index) const;
  [[nodiscard]] bool cancel_withdrawn(const Session& session);
  [[nodiscard]] bool write_not_possible();
  // The task's call `index` if its result was delivered, else null.
  [[nodiscard]] const CallRecord* delivered(const Session& session, std::size_t index) const;
  [[nodiscard]] bool succeeded(const Session& session, std::size_t index) const;
  void write_call(const Session& session, std::size_t index);
  [[nodiscard]] std::string new_id(const Session& session, const TaskCall& call) const;
  void write_block(std::string_view id, const std::vector<std::string>& after,
                   std::string_view code);
  void write_trap(const Session& session);
  [[nodiscard]] static bool futures(const Session& session);
  [[nodiscard]] bool promised(const Session& session, std::size_t index) const;
  [[nodiscard]] bool write_report(const Session& session);
  [[nodiscard]] bool may_report(const Session& session) const;
  [[nodiscard]] bool is_open(const Session& session, std::size_t index) const;
  void write(std::string_view text);
  void write(Marker marker);

  const Vocabulary* vocabulary_;
  Markers markers_;
  const std::vector<ToolSpec>* tools_;
  Policy policy_;
  Time per_token_;
  OracleHabits habits_;
  Token end_of_turn_ = kNoToken;
  const Task* task_ = nullptr;
  CallKey first_key_ = 0;
  std::int32_t cut_searches_ = 0;
  std::uint32_t emitted_ = 0;  // calls of this task
  std::size_t heard_ = 0;      // interruptions of it
  std::vector<Progress> progress_;
  std::vector<std::vector<std::size_t>> needs_;  // of the task's calls
  std::vector<double> ranks_;                    // of them
  std::int32_t forced_ = 0;  // of the session's forced tokens, those that are not pending any more
  bool said_ = false;
  bool mistaken_ = false;
  std::deque<Token> pending_;  // decided, not yet asked for
};

}  // namespace asynclm
