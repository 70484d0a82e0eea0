// SPDX-License-Identifier: Apache-2.0
#include "oracle/oracle.h"

#include <algorithm>
#include <format>
#include <ranges>
#include <tuple>
#include <utility>

#include "cml/call_syntax.h"
#include "cml/chat_template.h"
#include "cml/future.h"
#include "cml/writer.h"

namespace asynclm {
namespace {

// "swept", and where the call takes one of a result's values: "swept_city".
std::string name_of(const TaskCall& call) {
  constexpr std::size_t kRoom = kMaxIdentifier - 4;  // for a number behind it
  std::string name = call.label;
  for (const TaskArgument& argument : call.arguments) {
    const std::string part = argument.path.substr(argument.path.rfind('.') + 1);
    if (!argument.from || argument.path.empty() || !is_identifier(part)) continue;
    if (name.size() + 1 + part.size() <= kRoom) name += "_" + part;
  }
  return name;
}

}  // namespace

std::string numbered_id(std::uint32_t number) {
  std::string id;
  for (++number; number > 0; number /= 26) {
    --number;
    id.insert(id.begin(), static_cast<char>('a' + number % 26));
  }
  return id;
}

std::string call_header(std::string_view id, const std::vector<std::string>& after) {
  std::string header(id);
  for (const std::string& before : after) {
    header += (header.size() == id.size() ? " after " : " ") + before;
  }
  return header;
}

bool is_tried_again(const Task& task, std::size_t index) {
  return std::ranges::contains(task.calls, std::optional(index), &TaskCall::retry_of);
}

std::vector<std::size_t> needs_of(const TaskCall& call) {
  std::vector<std::size_t> needs = call.after;
  needs.append_range(call.reads);
  for (const TaskArgument& argument : call.arguments) {
    if (argument.from) needs.push_back(*argument.from);
  }
  std::ranges::sort(needs);
  const auto [begin, end] = std::ranges::unique(needs);
  needs.erase(begin, end);
  return needs;
}

bool can_name(const TaskCall& call, std::size_t need, const OracleHabits& habits) {
  if (std::ranges::contains(call.reads, need)) return false;
  const bool is_argument =
      std::ranges::contains(call.arguments, std::optional(need), &TaskArgument::from);
  return is_argument ? habits.futures : habits.order;
}

Json result_as_argument(const std::string& text, const ToolSpec& tool,
                        const std::string& parameter) {
  const Json& schema = tool.parameters["properties"][parameter];
  const auto type = schema.value("type", "string");
  if (type != "integer" && type != "number") return text;
  Json number = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return number.is_number() ? number : Json(text);
}

std::string report_line(const CallRecord& call) {
  return "- " + call.id + (call.outcome == Outcome::returned ? ": " : " failed: ") + call.result +
         "\n";
}

std::optional<std::string_view> reported_id(std::string_view beginning) {
  constexpr std::string_view kBullet = "- ", kColon = ": ", kFailed = " failed";
  std::string_view id = beginning;
  if (!id.starts_with(kBullet) || !id.ends_with(kColon)) return std::nullopt;
  id = id.substr(kBullet.size(), id.size() - kBullet.size() - kColon.size());
  if (id.ends_with(kFailed)) id.remove_suffix(kFailed.size());
  if (id.contains(' ')) return std::nullopt;  // a colon of the result
  return id;
}

std::string not_run_line(const TaskCall& call) {
  return "- " + (call.label.empty() ? call.tool : call.label) + " not run\n";
}

std::string not_possible_line(const TaskCall& call) {
  return "- " + call.label + " not possible\n";
}

SimulatedReturn return_of(const TaskCall& call) {
  return {.duration = call.duration, .result = call.result, .parts = call.parts};
}

std::vector<SimulatedInterrupt> said_by_user(const Task& task) {
  std::vector<SimulatedInterrupt> interrupts;
  for (const Interruption& one : task.interruptions) {
    interrupts.push_back({.at = one.at, .source = kUserSource, .text = one.text});
  }
  return interrupts;
}

std::vector<PlannedCall> plan(const Task& task, const std::vector<ToolSpec>& tools,
                              const Vocabulary& vocabulary, Time per_token) {
  constexpr std::size_t kMarkers = 3;
  std::vector<PlannedCall> calls;
  for (const TaskCall& call : task.calls) {
    PlannedCall& planned = calls.emplace_back();
    Json arguments = Json::object();
    for (const TaskArgument& argument : call.arguments) {
      arguments[argument.name] = argument.value.is_null() ? Json("") : argument.value;
    }
    planned.needs = needs_of(call);
    const auto tokens = vocabulary.encode(name_of(call)).size() +
                        vocabulary.encode(format_call(call.tool, arguments)).size() + kMarkers;
    planned.write = per_token * static_cast<std::int64_t>(tokens);
    const auto tool = std::ranges::find(tools, call.tool, &ToolSpec::name);
    if (tool != tools.end()) planned.run = tool->estimate;
  }
  return calls;
}

std::vector<double> ranks(Policy policy, const Task& task, const std::vector<ToolSpec>& tools,
                          std::span<const PlannedCall> calls, bool* is_cut) {
  if (is_cut != nullptr) *is_cut = false;
  std::vector<double> out(calls.size());
  switch (policy) {
    case Policy::lpt: {
      const auto order = by_priority(tools);
      for (std::size_t i = 0; i < calls.size(); ++i) {
        const auto place = std::ranges::find(order, task.calls[i].tool, &ToolSpec::name);
        out[i] = static_cast<double>(place - order.begin());
      }
      break;
    }
    case Policy::critical_path:
      return longest_path_ranks(calls);
    case Policy::optimal: {
      const BestOrder best = best_order(calls);
      if (is_cut != nullptr) *is_cut = !best.is_proven;
      for (std::size_t i = 0; i < calls.size(); ++i) out[best.order[i]] = static_cast<double>(i);
      break;
    }
    case Policy::as_written:
      break;
  }
  return out;
}

Oracle::Oracle(const Vocabulary& vocabulary, const Markers& markers,
               const std::vector<ToolSpec>& tools, Policy policy, Time per_token,
               const OracleHabits& habits)
    : vocabulary_(&vocabulary),
      markers_(markers),
      tools_(&tools),
      policy_(policy),
      per_token_(per_token),
      habits_(habits),
      end_of_turn_(end_of_turn(vocabulary)) {}

// A result that is still to come can be used under its name.
bool Oracle::futures(const Session& session) { return session.mode() == Mode::async_plus; }

bool Oracle::promised(const Session& session, std::size_t index) const {
  const auto key = progress_[index].key;
  return key && *key < session.calls().size() && !delivered(session, index);
}

void Oracle::begin(const Task& task, const Session& session,
                   std::optional<std::vector<double>> ranks) {
  task_ = &task;
  first_key_ = static_cast<CallKey>(session.calls().size());
  emitted_ = 0;
  heard_ = 0;
  progress_.assign(task.calls.size(), {});
  const auto planned = plan(task, *tools_, *vocabulary_, per_token_);
  bool is_cut = false;
  ranks_ = ranks ? std::move(*ranks) : asynclm::ranks(policy_, task, *tools_, planned, &is_cut);
  cut_searches_ += is_cut ? 1 : 0;
  needs_.clear();
  for (const PlannedCall& call : planned) needs_.push_back(call.needs);
  said_ = task.say.empty();
  pending_.clear();
  forced_ = session.token_counts().forced;
}

Token Oracle::next(const Session& session) {
  // What the session has forced is what was decided.
  for (const auto forced = session.token_counts().forced; forced_ < forced; ++forced_) {
    if (!pending_.empty()) pending_.pop_front();
  }
  if (pending_.empty()) {
    mistaken_ = false;
    decide(session);
  }
  const Token token = pending_.front();
  pending_.pop_front();
  return token;
}

const TaskCall* Oracle::call(CallKey key) const {
  for (std::size_t i = 0; i < progress_.size(); ++i) {
    if (progress_[i].key == key) return &task_->calls[i];
  }
  return nullptr;
}

const CallRecord* Oracle::delivered(const Session& session, std::size_t index) const {
  const auto key = progress_[index].key;
  if (!key || *key >= session.calls().size()) return nullptr;
  const CallRecord& call = session.calls()[*key];
  return call.delivered ? &call : nullptr;
}

bool Oracle::succeeded(const Session& session, std::size_t index) const {
  const CallRecord* const call = delivered(session, index);
  return call != nullptr && call->outcome == Outcome::returned;
}

std::optional<std::size_t> Oracle::next_call(const Session& session) const {
  std::optional<std::size_t> best;
  for (std::size_t i = 0; i < task_->calls.size(); ++i) {
    if (!is_callable(session, i)) continue;
    if (!best || ranks_[i] < ranks_[*best]) best = i;
  }
  return best;
}

bool Oracle::is_callable(const Session& session, std::size_t index) const {
  const TaskCall& call = task_->calls[index];
  if (progress_[index].key || call.tool.empty() || !is_asked(index) || is_withdrawn(index)) {
    return false;
  }
  if (call.retry_of && (delivered(session, *call.retry_of) == nullptr ||
                        succeeded(session, *call.retry_of) || is_withdrawn(*call.retry_of))) {
    return false;
  }
  return std::ranges::all_of(needs_[index], [&](std::size_t need) {
    return succeeded(session, need) ||
           (futures(session) && can_name(call, need, habits_) && promised(session, need));
  });
}

bool Oracle::is_asked(std::size_t index) const {
  const auto by = task_->calls[index].asked_by;
  return !by || *by < heard_;
}

bool Oracle::is_withdrawn(std::size_t index) const {
  const auto by = task_->calls[index].withdrawn_by;
  return by && *by < heard_;
}

bool Oracle::cancel_withdrawn(const Session& session) {
  if (session.mode() != Mode::async_plus) return false;
  // A tool of that name stands before it.
  if (std::ranges::contains(*tools_, kCancelFunction, &ToolSpec::name)) return false;
  for (std::size_t i = 0; i < progress_.size(); ++i) {
    Progress& call = progress_[i];
    if (!call.key || call.cancelled || !is_withdrawn(i)) continue;
    if (session.calls()[*call.key].outcome) continue;
    call.cancelled = true;
    ++emitted_;
    write(Marker::call);
    write("cancel(" + session.calls()[*call.key].id + ")");
    write(Marker::end);
    return true;
  }
  return false;
}

bool Oracle::write_not_possible() {
  std::string text;
  for (std::size_t i = 0; i < progress_.size(); ++i) {
    const TaskCall& call = task_->calls[i];
    if (!call.tool.empty() || progress_[i].reported || !is_asked(i)) continue;
    progress_[i].reported = true;
    text += not_possible_line(call);
  }
  if (text.empty()) return false;
  write(text);
  return true;
}

void Oracle::decide(const Session& session) {
  if (cancel_withdrawn(session)) return;
  if (const auto index = next_call(session)) return write_call(session, *index);
  if (!said_) {
    said_ = true;
    return write(task_->say + "\n");
  }
  if (write_not_possible()) return;
  const bool reports = habits_.reports && task_->reports && may_report(session);
  if (reports && write_report(session)) return;
  for (std::size_t i = 0; i < progress_.size(); ++i) {
    if (is_open(session, i)) return write_trap(session);
  }
  pending_.push_back(end_of_turn_);
}

void Oracle::write_call(const Session& session, std::size_t index) {
  const TaskCall& call = task_->calls[index];
  const CallKey key = first_key_ + emitted_++;
  const std::string id = new_id(session, call);
  if (!call.mistake.empty() && !std::exchange(progress_[index].mistake_made, true)) {
    mistaken_ = true;
    return write_block(id, {}, call.mistake);
  }
  progress_[index].key = key;
  const ToolSpec& tool = *std::ranges::find(*tools_, call.tool, &ToolSpec::name);
  Json arguments = Json::object();
  const auto id_of = [&](std::size_t i) { return session.calls()[*progress_[i].key].id; };
  std::vector<std::size_t> after = call.after;
  for (const TaskArgument& argument : call.arguments) {
    Json& value = arguments[argument.name];
    if (argument.from && !succeeded(session, *argument.from)) {
      value = future_as_json("$" + id_of(*argument.from) + argument.path);
      std::erase(after, *argument.from);  // the future says it
    } else {
      value =
          argument.value.is_null()
              ? result_as_argument(delivered(session, *argument.from)->result, tool, argument.name)
              : argument.value;
    }
  }
  std::erase_if(after, [&](std::size_t i) { return succeeded(session, i); });
  std::vector<std::string> ids;
  for (const std::size_t i : after) ids.push_back(id_of(i));
  write_block(id, ids, format_call(call.tool, arguments));
}

// The id names what is asked for: a small model first finds the next thing to do, and writes it
// down, and then the tool that does it; both at once it does not learn. Nor does it learn to find
// which of a result's values is meant and where it stands at once. Names that are taken get a
// number.
std::string Oracle::new_id(const Session& session, const TaskCall& call) const {
  if (call.label.empty()) return numbered_id(static_cast<CallKey>(session.calls().size()));
  const auto is_taken = [&](const std::string& id) {
    return is_reserved_id(id) || std::ranges::contains(session.calls(), id, &CallRecord::id);
  };
  const std::string name = name_of(call);
  std::string id = name;
  for (int number = 2; is_taken(id); ++number) id = name + std::to_string(number);
  return id;
}

void Oracle::write_block(std::string_view id, const std::vector<std::string>& after,
                         std::string_view code) {
  write(Marker::call);
  write(call_header(id, after));
  write(Marker::head);
  write(code);
  write(Marker::end);
}

bool Oracle::is_open(const Session& session, std::size_t index) const {
  return progress_[index].key && !delivered(session, index);
}

// Whether the user wants to hear of results that are there by now.
bool Oracle::may_report(const Session& session) const {
  const auto is_open_one = [&](std::size_t i) { return is_open(session, i); };
  if (task_->together) {
    return std::ranges::none_of(std::views::iota(std::size_t{0}, progress_.size()), is_open_one);
  }
  const auto is_wanted = [&](std::size_t i) { return !is_withdrawn(i); };
  auto first = task_->first | std::views::filter(is_wanted);
  return std::ranges::none_of(first, is_open_one) || std::ranges::any_of(first, [&](std::size_t i) {
           return delivered(session, i) != nullptr;
         });
}

// In async+ a trap says what it waits for where that is one call, or what the user wants to hear
// of: all that is open, or one of the calls that are to be told first.
void Oracle::write_trap(const Session& session) {
  write(Marker::trap);
  if (session.mode() != Mode::async_plus) return;  // the session closes it
  const bool is_first = !task_->first.empty() && !may_report(session);
  std::vector<CallKey> open;
  for (std::size_t i = 0; i < progress_.size(); ++i) {
    if (!is_open(session, i)) continue;
    if (is_first && (!std::ranges::contains(task_->first, i) || is_withdrawn(i))) continue;
    open.push_back(*progress_[i].key);
  }
  std::ranges::sort(open);
  if (habits_.waits && (open.size() == 1 || task_->together || is_first)) {
    std::string names;
    for (const CallKey key : open) names += (names.empty() ? "" : " ") + session.calls()[key].id;
    write(names);
    write(Marker::head);
    write(is_first && open.size() > 1 ? "any" : "all");
  }
  write(Marker::end);
}

// Of the delivered results that are not reported, the one that stands first in the context: what
// comes next then follows from the line before it.
bool Oracle::write_report(const Session& session) {
  // What is delivered together stands in the order in which it came, at the barrier of
  // sync-parallel in that of the calls.
  const auto place = [&](const CallRecord& call, std::size_t index) {
    const bool is_sorted = session.mode() == Mode::sync_parallel;
    return std::tuple(*call.delivered, is_sorted ? Time{} : call.returned.value_or(Time{}),
                      *progress_[index].key);
  };
  std::size_t best = 0;
  const CallRecord* first = nullptr;
  for (std::size_t i = 0; i < progress_.size(); ++i) {
    const CallRecord* const call = delivered(session, i);
    if (progress_[i].reported || call == nullptr || is_withdrawn(i)) continue;
    if (call->outcome != Outcome::returned && is_tried_again(*task_, i)) continue;
    if (first == nullptr || place(*call, i) < place(*first, best)) {
      best = i;
      first = call;
    }
  }
  if (first == nullptr) return false;
  progress_[best].reported = true;
  // The session itself has kept a call of async+ from running.
  std::string text = first->rejected ? not_run_line(task_->calls[best]) : report_line(*first);
  if (!succeeded(session, best)) {
    // Whatever needs the failed call, directly or through others, cannot be run. A predecessor
    // stands before its successors in the task.
    std::vector<bool> lost(progress_.size(), false);
    lost[best] = true;
    for (std::size_t i = best + 1; i < progress_.size(); ++i) {
      for (const std::size_t need : needs_[i]) {
        if (lost[need]) lost[i] = true;
      }
      if (!lost[i] || progress_[i].key || std::exchange(progress_[i].reported, true)) continue;
      text += not_run_line(task_->calls[i]);
    }
  }
  write(text);
  return true;
}

void Oracle::write(Marker marker) { pending_.push_back(markers_.token(marker)); }

void Oracle::write(std::string_view text) { pending_.append_range(vocabulary_->encode(text)); }

}  // namespace asynclm
