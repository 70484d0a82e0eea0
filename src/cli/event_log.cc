// SPDX-License-Identifier: Apache-2.0
#include "cli/event_log.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "cli/json_report.h"

namespace asynclm {

Result<std::unique_ptr<EventLogWriter>> EventLogWriter::open(const std::string& path) {
  errno = 0;
  std::ofstream probe(path);  // a full disk shows at the first byte
  probe << '\n';
  probe.close();
  std::unique_ptr<EventLogWriter> log(new EventLogWriter(path));
  if (!probe || !log->file_) {
    return fail(ErrorCode::io, "cannot write the log " + path + ": " + std::strerror(errno));
  }
  return log;
}

void EventLogWriter::write(const Json& line) { file_ << dump_json(line) << '\n'; }

void EventLogWriter::begin(const RunHeader& header) {
  mode_ = header.mode;
  write(to_json(header));
  file_.flush();
}

void EventLogWriter::event(const RunEvent& event) { write(to_json(event)); }

// Not after each event: but a run that is killed leaves a log up to its last moments.
void EventLogWriter::tick(Time /*now*/) { file_.flush(); }

void EventLogWriter::end(const RunReport& report) {
  Json line{{"event", "report"}};
  line.update(report_to_json(mode_, report));
  if (report.error) line["error"] = report.error->message;
  write(line);
  file_.flush();
}

Result<void> EventLogWriter::status() const {
  if (file_) return {};
  return fail(ErrorCode::io, "writing the log " + path_ + " failed: is the disk full?");
}

std::string EventLogReader::where() const { return name_ + ":" + std::to_string(line_) + ": "; }

Result<LogLine> EventLogReader::parse(const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  if (json.is_discarded()) return fail(ErrorCode::invalid_argument, "this is not JSON (cut off?)");
  if (!json.is_object()) {
    return fail(ErrorCode::invalid_argument, "this is not a JSON object, so no line of a log");
  }
  if (json.contains("asynclm_log")) return run_header_from_json(json);
  if (!in_run_) {
    return fail(ErrorCode::invalid_argument,
                "a run begins with a header line (with 'asynclm_log'), this is none");
  }
  const auto event = json.find("event");
  if (event != json.end() && *event == "report") {
    Result<RunReport> report = report_from_json(json);
    if (report && json.contains("error") && json["error"].is_string()) {
      report->error = Error{ErrorCode::engine, json["error"].get<std::string>()};
    }
    return report;
  }
  return run_event_from_json(json);
}

Result<std::optional<LogLine>> EventLogReader::next() {
  std::string line;
  ++line_;
  if (!std::getline(in_, line)) {
    if (in_.bad()) return fail(ErrorCode::io, where() + "reading failed");
    if (in_run_ || line_ == 1) {
      return fail(ErrorCode::invalid_argument,
                  where() + (line_ == 1 ? "the log is empty"
                                        : "the log ends here without the run's report; was "
                                          "asynclm stopped while it wrote?"));
    }
    return std::nullopt;
  }
  Result<LogLine> parsed = parse(line);
  if (!parsed) return fail(parsed.error().code, where() + parsed.error().message);
  if (in_run_ && std::holds_alternative<RunHeader>(*parsed)) {
    return fail(ErrorCode::invalid_argument,
                where() + "a new run begins, but the one before has no report");
  }
  in_run_ = !std::holds_alternative<RunReport>(*parsed);
  return std::move(*parsed);
}

}  // namespace asynclm
