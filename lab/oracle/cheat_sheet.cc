// SPDX-License-Identifier: Apache-2.0
#include "oracle/cheat_sheet.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "cml/call_syntax.h"
#include "oracle/oracle.h"
#include "oracle/recordings.h"

namespace asynclm {
namespace {

constexpr std::string_view kLead = "\nMake these calls and say nothing else:\n";

// The calls' indices, none before one that it needs, nor before what the user asks for sooner.
std::vector<std::size_t> order_of(const Task& task, const std::vector<double>& ranks) {
  const auto rank = [&](std::size_t i) { return std::pair(task.calls[i].asked_by, ranks[i]); };
  std::vector<std::size_t> order;
  std::vector<bool> listed(task.calls.size(), false);
  while (order.size() < task.calls.size()) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < task.calls.size(); ++i) {
      const auto is_listed = [&](std::size_t need) { return listed[need]; };
      if (listed[i] || !std::ranges::all_of(needs_of(task.calls[i]), is_listed)) continue;
      if (!best || rank(i) < rank(*best)) best = i;
    }
    listed[*best] = true;
    order.push_back(*best);
  }
  return order;
}

void put_in_order(Task& task, const std::vector<std::size_t>& order) {
  std::vector<std::size_t> place(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) place[order[i]] = i;
  std::vector<TaskCall> calls;
  for (const std::size_t index : order) {
    TaskCall& call = calls.emplace_back(std::move(task.calls[index]));
    std::vector<std::size_t> needs = needs_of(call);
    for (std::size_t& need : needs) need = place[need];
    std::ranges::sort(needs);
    call.after = std::move(needs);
    call.reads.clear();
    for (TaskArgument& argument : call.arguments) {
      argument.from = std::nullopt;
      argument.path.clear();
    }
  }
  task.calls = std::move(calls);
}

}  // namespace

void write_cheat_sheet(TaskSequence& sequence,
                       const std::function<std::vector<double>(const Task&)>& ranks_of) {
  std::uint32_t number = 0;
  for (Task& task : sequence.tasks) {
    put_in_order(task, order_of(task, ranks_of(task)));
    task.reports = false;
    for (TaskCall& call : task.calls) call.label = numbered_id(number++);
    const auto sheet_of = [&](std::optional<std::size_t> asked_by) {
      std::string text;
      for (const TaskCall& call : task.calls) {
        if (call.asked_by != asked_by) continue;
        std::vector<std::string> after;
        for (const std::size_t need : call.after) after.push_back(task.calls[need].label);
        text += call_header(call.label, after) + ": " + format_call(call.tool, arguments_of(call)) +
                "\n";
      }
      return text.empty() ? text : std::string(kLead) + text;
    };
    task.user += sheet_of(std::nullopt);
    for (std::size_t i = 0; i < task.interruptions.size(); ++i) {
      task.interruptions[i].text += sheet_of(i);
    }
  }
}

}  // namespace asynclm
