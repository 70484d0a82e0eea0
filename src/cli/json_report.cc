// SPDX-License-Identifier: Apache-2.0
#include "cli/json_report.h"

#include <utility>

namespace asynclm {
namespace {

Json string_or_null(const std::string& text) { return text.empty() ? Json() : Json(text); }

std::string string_from(const Json& json) {
  return json.is_null() ? std::string() : json.get<std::string>();
}

Json call_to_json(const CallRecord& call) {
  return Json{{"id", string_or_null(call.id)},
              {"name", string_or_null(call.name)},
              {"arguments", call.arguments},
              {"outcome", call.outcome ? Json(to_string(*call.outcome)) : Json()},
              {"result", call.outcome ? Json(call.result) : Json()},
              {"emitted_ms", json_ms(call.emitted)},
              {"dispatched_ms", json_ms(call.dispatched)},
              {"returned_ms", json_ms(call.returned)},
              {"delivered_ms", json_ms(call.delivered)}};
}

}  // namespace

Json json_ms(std::optional<Time> time) {
  if (!time) return {};
  return to_ms(*time);
}

std::optional<Time> time_from_json(const Json& json) {
  if (json.is_null()) return std::nullopt;
  return from_ms(json.get<double>());
}

Json report_to_json(Mode mode, const RunReport& report) {
  Json calls = Json::array();
  for (const CallRecord& call : report.calls) calls.push_back(call_to_json(call));
  return Json{{"mode", to_string(mode)},
              {"answer", report.answer},
              {"finish_reason", to_string(report.finish)},
              {"calls", std::move(calls)},
              {"tokens",
               {{"prompt", report.tokens.prompt},
                {"generated", report.tokens.generated},
                {"forced", report.tokens.forced},
                {"accepted", report.tokens.accepted},
                {"injected", report.tokens.injected}}},
              {"time",
               {{"wall_ms", json_ms(report.wall)},
                {"generating_ms", json_ms(report.generating)},
                {"waiting_ms", json_ms(report.waiting)},
                {"overlap_ms", json_ms(report.overlap)}}}};
}

Result<RunReport> report_from_json(const Json& json) {
  try {
    RunReport report;
    json.at("answer").get_to(report.answer);
    auto reason = parse_finish_reason(json.at("finish_reason").get<std::string>());
    if (!reason) return std::unexpected(std::move(reason.error()));
    report.finish = *reason;
    for (const Json& item : json.at("calls")) {
      CallRecord& call = report.calls.emplace_back();
      call.id = string_from(item.at("id"));
      call.name = string_from(item.at("name"));
      call.arguments = item.at("arguments");
      auto outcome = outcome_from_json(item.at("outcome"));
      if (!outcome) return std::unexpected(std::move(outcome.error()));
      call.outcome = *outcome;
      call.result = string_from(item.at("result"));
      call.emitted = time_from_json(item.at("emitted_ms"));
      call.dispatched = time_from_json(item.at("dispatched_ms"));
      call.returned = time_from_json(item.at("returned_ms"));
      call.delivered = time_from_json(item.at("delivered_ms"));
    }
    const Json& tokens = json.at("tokens");
    tokens.at("prompt").get_to(report.tokens.prompt);
    tokens.at("generated").get_to(report.tokens.generated);
    tokens.at("forced").get_to(report.tokens.forced);
    tokens.at("accepted").get_to(report.tokens.accepted);
    tokens.at("injected").get_to(report.tokens.injected);
    const Json& time = json.at("time");
    report.wall = from_ms(time.at("wall_ms").get<double>());
    report.generating = from_ms(time.at("generating_ms").get<double>());
    report.waiting = from_ms(time.at("waiting_ms").get<double>());
    report.overlap = from_ms(time.at("overlap_ms").get<double>());
    return report;
  } catch (const Json::exception& error) {
    return fail(ErrorCode::invalid_argument, std::string("not a report: ") + error.what());
  }
}

std::string dump_json(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Result<FinishReason> parse_finish_reason(std::string_view text) {
  for (const FinishReason reason :
       {FinishReason::stop, FinishReason::length, FinishReason::context_full, FinishReason::stalled,
        FinishReason::cancelled, FinishReason::error}) {
    if (to_string(reason) == text) return reason;
  }
  return fail(ErrorCode::invalid_argument, "unknown finish reason '" + std::string(text) + "'");
}

Result<std::optional<Outcome>> outcome_from_json(const Json& json) {
  if (json.is_null()) return std::nullopt;
  const auto text = json.get<std::string>();
  for (const Outcome outcome :
       {Outcome::returned, Outcome::failed, Outcome::timed_out, Outcome::cancelled}) {
    if (to_string(outcome) == text) return outcome;
  }
  return fail(ErrorCode::invalid_argument, "unknown outcome '" + text + "'");
}

}  // namespace asynclm
