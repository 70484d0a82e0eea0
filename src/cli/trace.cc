// SPDX-License-Identifier: Apache-2.0
#include "cli/trace.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <numeric>
#include <utility>

#include "cli/json_report.h"

namespace asynclm {
namespace {

// Threads of a process: the order in which the viewers list them.
constexpr int kModelTrack = 1;
constexpr int kInterruptTrack = 2;
constexpr int kFirstLane = 10;

double microseconds(Time time) { return std::chrono::duration<double, std::micro>(time).count(); }

Json metadata(const char* what, int process, int thread, const std::string& name) {
  return Json{{"ph", "M"},
              {"name", what},
              {"pid", process},
              {"tid", thread},
              {"args", Json{{"name", name}}}};
}

Json slice(const std::string& name, const char* category, int process, int thread, Time begin,
           Time end, Json args) {
  return Json{{"ph", "X"},
              {"name", name},
              {"cat", category},
              {"pid", process},
              {"tid", thread},
              {"ts", microseconds(begin)},
              {"dur", microseconds(std::max(end - begin, Time{}))},
              {"args", std::move(args)}};
}

}  // namespace

std::vector<int> call_lanes(const std::vector<TimelineCall>& calls, Time end) {
  std::vector<std::size_t> order(calls.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return calls[i].emitted; });
  std::vector<int> lanes(calls.size());
  std::vector<Time> free_from;  // of each lane
  for (const std::size_t i : order) {
    const auto lane =
        std::ranges::find_if(free_from, [&](Time free) { return free <= calls[i].emitted; });
    lanes[i] = static_cast<int>(lane - free_from.begin());
    if (lane == free_from.end()) free_from.emplace_back();
    free_from[static_cast<std::size_t>(lanes[i])] = calls[i].returned.value_or(end);
  }
  return lanes;
}

Json trace_events(const Timeline& timeline, int process) {
  const Time end = timeline.latest;
  Json events = Json::array();
  events.push_back(metadata(
      "process_name", process, 0,
      "asynclm " + std::string(to_string(timeline.header.mode)) + ", " + timeline.header.model));
  events.push_back(metadata("thread_name", process, kModelTrack, "model"));
  events.push_back(metadata("thread_name", process, kInterruptTrack, "interrupts"));

  Time generating_from{};
  const auto generated_until = [&](Time time) {
    if (time > generating_from) {
      events.push_back(slice("generating", "model", process, kModelTrack, generating_from, time,
                             Json::object()));
    }
  };
  for (const TimelineWait& wait : timeline.waits) {
    generated_until(wait.begin);
    generating_from = wait.end.value_or(end);
    if (generating_from > wait.begin) {
      events.push_back(slice("waiting", "model", process, kModelTrack, wait.begin, generating_from,
                             Json::object()));
    }
  }
  generated_until(end);

  for (const TimelineMark& mark : timeline.marks) {
    events.push_back(Json{{"ph", "i"},
                          {"s", "t"},
                          {"name", "interrupt " + mark.id},
                          {"cat", "interrupt"},
                          {"pid", process},
                          {"tid", kInterruptTrack},
                          {"ts", microseconds(mark.time)},
                          {"args", Json{{"id", mark.id}, {"text", mark.text}}}});
  }

  const std::vector<int> lanes = call_lanes(timeline.calls, end);
  const int lane_count = lanes.empty() ? 0 : *std::ranges::max_element(lanes) + 1;
  for (int lane = 0; lane < lane_count; ++lane) {
    events.push_back(
        metadata("thread_name", process, kFirstLane + lane, "calls " + std::to_string(lane + 1)));
  }
  for (std::size_t i = 0; i < timeline.calls.size(); ++i) {
    const TimelineCall& call = timeline.calls[i];
    const int thread = kFirstLane + lanes[i];
    const Time returned = call.returned.value_or(end);
    const Time started = call.dispatched.value_or(returned);
    if (started > call.emitted) {
      events.push_back(
          slice("queued", "call", process, thread, call.emitted, started, Json{{"id", call.id}}));
    }
    const std::string name = call.id.empty() ? call.label : call.id + " " + call.label;
    events.push_back(slice(name, "call", process, thread, started, returned,
                           Json{{"id", call.id},
                                {"function", call.name},
                                {"arguments", call.arguments},
                                {"outcome", outcome_text(call.outcome, call.rejected)},
                                {"result", call.result},
                                {"delivered_ms", json_ms(call.delivered)}}));
  }
  return events;
}

Json message_arrows(const std::vector<Timeline>& group) {
  Json arrows = Json::array();
  int id = 0;
  for (std::size_t from = 0; from < group.size(); ++from) {
    for (std::size_t to = 0; to < group.size(); ++to) {
      // Between two members messages arrive in the order in which they were sent.
      auto mark = group[to].marks.begin();
      for (const TimelineCall& call : group[from].calls) {
        if (call.name != "send" || !call.ok() ||
            call.arguments.value("to", "") != group[to].header.model) {
          continue;
        }
        mark = std::find_if(mark, group[to].marks.end(), [&](const TimelineMark& m) {
          return !m.call && m.id == "agent:" + group[from].header.model;
        });
        if (mark == group[to].marks.end()) break;
        ++id;
        const auto end = [&](const char* phase, std::size_t member, int track, Time time) {
          return Json{{"ph", phase},      {"name", "message"},
                      {"cat", "message"}, {"id", id},
                      {"bp", "e"},        {"pid", static_cast<int>(member) + 1},
                      {"tid", track},     {"ts", microseconds(time)}};
        };
        arrows.push_back(end("s", from, kModelTrack, call.emitted));
        arrows.push_back(end("f", to, kInterruptTrack, mark->time));
        ++mark;
      }
    }
  }
  return arrows;
}

Result<std::unique_ptr<TraceWriter>> TraceWriter::open(const std::string& path) {
  std::unique_ptr<TraceWriter> writer(new TraceWriter(path));
  if (auto written = writer->write(); !written) return std::unexpected(std::move(written.error()));
  return writer;
}

void TraceWriter::begin(const RunHeader& header) {
  timeline_ = Timeline{};
  timeline_.header = header;
}

void TraceWriter::end(const RunReport& report) {
  timeline_.latest = std::max(timeline_.latest, report.wall);
  for (Json& event : trace_events(timeline_, ++runs_)) events_.push_back(std::move(event));
}

Result<void> TraceWriter::write() const {
  errno = 0;
  std::ofstream file(path_);
  file << dump_json(Json{{"displayTimeUnit", "ms"}, {"traceEvents", events_}}) << '\n';
  file.close();
  if (file) return {};
  return fail(ErrorCode::io, "cannot write the trace " + path_ + ": " + std::strerror(errno));
}

}  // namespace asynclm
