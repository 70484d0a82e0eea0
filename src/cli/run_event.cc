// SPDX-License-Identifier: Apache-2.0
#include "cli/run_event.h"

#include <array>
#include <utility>

#include "cli/json_report.h"

namespace asynclm {
namespace {

constexpr std::array<std::string_view, 12> kKindNames = {
    "text",    "emitted", "dispatched", "cancelled", "completed", "interrupt",
    "trapped", "resumed", "turn",       "finished",  "reasoning", "cut"};

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

Result<RunEventKind> parse_kind(const std::string& name) {
  for (std::size_t i = 0; i < kKindNames.size(); ++i) {
    if (kKindNames[i] == name) return static_cast<RunEventKind>(i);
  }
  return fail(ErrorCode::invalid_argument, "unknown event '" + name + "'");
}

}  // namespace

RunEvent make_run_event(const Session& session, const Event& event) {
  RunEvent out;
  out.time = event.time;
  const auto about = [&](RunEventKind kind, CallKey key) -> const CallRecord& {
    out.kind = kind;
    out.call = key;
    return session.calls()[key];
  };
  std::visit(Overloaded{
                 [&](const TextEvent& text) { out.text = text.text; },
                 [&](const ReasoningEvent& reasoning) {
                   out.kind = RunEventKind::reasoning;
                   out.text = reasoning.text;
                 },
                 [&](const ContextCut& cut) {
                   out.kind = RunEventKind::cut;
                   out.position = cut.position;
                 },
                 [&](const CallEmitted& emitted) {
                   const CallRecord& call = about(RunEventKind::emitted, emitted.call);
                   out.id = call.id;
                   out.name = call.name;
                   out.arguments = call.arguments;
                   out.text = call.code;
                 },
                 [&](const CallDispatched& e) { about(RunEventKind::dispatched, e.call); },
                 [&](const CallCancelled& e) { about(RunEventKind::cancelled, e.call); },
                 [&](const CallCompleted& completed) {
                   const CallRecord& call = about(RunEventKind::completed, completed.call);
                   out.outcome = call.outcome;
                   out.rejected = call.rejected;
                   out.text = call.result;
                   out.dispatched = call.dispatched;
                 },
                 [&](const InterruptDelivered& interrupt) {
                   out.kind = RunEventKind::interrupt;
                   out.call = interrupt.call;
                   out.id = interrupt.id;
                   out.text = interrupt.text;
                   out.position = interrupt.position;
                 },
                 [&](const Trapped&) { out.kind = RunEventKind::trapped; },
                 [&](const Resumed&) { out.kind = RunEventKind::resumed; },
                 [&](const TurnStarted&) { out.kind = RunEventKind::turn; },
                 [&](const Finished& finished) {
                   out.kind = RunEventKind::finished;
                   out.reason = finished.reason;
                 },
             },
             event.what);
  return out;
}

Json to_json(const RunEvent& event) {
  Json json;
  json["event"] = kKindNames[static_cast<std::size_t>(event.kind)];
  json["t_ms"] = to_ms(event.time);
  if (event.call) json["call"] = *event.call;
  switch (event.kind) {
    case RunEventKind::cut:
      json["position"] = event.position;
      break;
    case RunEventKind::text:
    case RunEventKind::reasoning:
      json["text"] = event.text;
      break;
    case RunEventKind::emitted:
      json["id"] = event.id;
      json["name"] = event.name;
      json["arguments"] = event.arguments;
      json["code"] = event.text;
      break;
    case RunEventKind::completed:
      json["outcome"] = event.outcome ? Json(to_string(*event.outcome)) : Json();
      json["result"] = event.text;
      json["rejected"] = event.rejected;
      json["dispatched_ms"] = json_ms(event.dispatched);
      break;
    case RunEventKind::interrupt:
      json["id"] = event.id;
      json["text"] = event.text;
      json["position"] = event.position;
      break;
    case RunEventKind::finished:
      json["reason"] = to_string(event.reason);
      break;
    case RunEventKind::dispatched:
    case RunEventKind::cancelled:
    case RunEventKind::trapped:
    case RunEventKind::resumed:
    case RunEventKind::turn:
      break;
  }
  return json;
}

Result<RunEvent> run_event_from_json(const Json& json) {
  try {
    RunEvent event;
    auto kind = parse_kind(json.at("event").get<std::string>());
    if (!kind) return std::unexpected(std::move(kind.error()));
    event.kind = *kind;
    event.time = from_ms(json.at("t_ms").get<double>());
    const bool of_call =
        event.kind == RunEventKind::emitted || event.kind == RunEventKind::dispatched ||
        event.kind == RunEventKind::cancelled || event.kind == RunEventKind::completed;
    if (of_call || json.contains("call")) event.call = json.at("call").get<CallKey>();
    switch (event.kind) {
      case RunEventKind::cut:
        json.at("position").get_to(event.position);
        break;
      case RunEventKind::text:
      case RunEventKind::reasoning:
        json.at("text").get_to(event.text);
        break;
      case RunEventKind::emitted:
        json.at("id").get_to(event.id);
        json.at("name").get_to(event.name);
        event.arguments = json.at("arguments");
        json.at("code").get_to(event.text);
        break;
      case RunEventKind::completed: {
        auto outcome = outcome_from_json(json.at("outcome"));
        if (!outcome) return std::unexpected(std::move(outcome.error()));
        event.outcome = *outcome;
        json.at("result").get_to(event.text);
        json.at("rejected").get_to(event.rejected);
        event.dispatched = time_from_json(json.at("dispatched_ms"));
        break;
      }
      case RunEventKind::interrupt:
        json.at("id").get_to(event.id);
        json.at("text").get_to(event.text);
        json.at("position").get_to(event.position);
        break;
      case RunEventKind::finished: {
        auto reason = parse_finish_reason(json.at("reason").get<std::string>());
        if (!reason) return std::unexpected(std::move(reason.error()));
        event.reason = *reason;
        break;
      }
      case RunEventKind::dispatched:
      case RunEventKind::cancelled:
      case RunEventKind::trapped:
      case RunEventKind::resumed:
      case RunEventKind::turn:
        break;
    }
    return event;
  } catch (const Json::exception& error) {
    return fail(ErrorCode::invalid_argument, std::string("not an event: ") + error.what());
  }
}

Json to_json(const RunHeader& header) {
  return Json{{"asynclm_log", kLogFormat},      {"version", header.version},
              {"library", header.library},      {"model", header.model},
              {"mode", to_string(header.mode)}, {"task", header.task},
              {"tools", header.tools}};
}

Result<RunHeader> run_header_from_json(const Json& json) {
  try {
    if (const int format = json.at("asynclm_log").get<int>(); format != kLogFormat) {
      return fail(ErrorCode::unsupported, "the log has format " + std::to_string(format) +
                                              "; this asynclm reads format " +
                                              std::to_string(kLogFormat));
    }
    RunHeader header;
    json.at("version").get_to(header.version);
    json.at("library").get_to(header.library);
    json.at("model").get_to(header.model);
    json.at("task").get_to(header.task);
    json.at("tools").get_to(header.tools);
    auto mode = parse_mode(json.at("mode").get<std::string>());
    if (!mode) return std::unexpected(std::move(mode.error()));
    header.mode = *mode;
    return header;
  } catch (const Json::exception& error) {
    return fail(ErrorCode::invalid_argument, std::string("not a log header: ") + error.what());
  }
}

}  // namespace asynclm
