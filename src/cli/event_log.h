// SPDX-License-Identifier: Apache-2.0
// The event log: JSON lines. For each run a header, its events, and the report that closes it; a
// log may hold several runs, one after the other.
#pragma once

#include <cstddef>
#include <fstream>
#include <istream>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "cli/run_event.h"

namespace asynclm {

class EventLogWriter : public RunSink {
 public:
  // Creates the file, or empties it.
  [[nodiscard]] static Result<std::unique_ptr<EventLogWriter>> open(const std::string& path);

  void begin(const RunHeader& header) override;
  void event(const RunEvent& event) override;
  void tick(Time now) override;
  void end(const RunReport& report) override;

  // The first error of writing; what came before it is in the file.
  [[nodiscard]] Result<void> status() const;

 private:
  explicit EventLogWriter(std::string path) : path_(std::move(path)), file_(path_) {}
  void write(const Json& line);

  std::string path_;
  std::ofstream file_;
  Mode mode_ = Mode::async;
};

using LogLine = std::variant<RunHeader, RunEvent, RunReport>;

class EventLogReader {
 public:
  // `name` is for error messages.
  EventLogReader(std::istream& in, std::string name) : in_(in), name_(std::move(name)) {}

  // The next line, nothing at a proper end. Errors begin with name and line number: not JSON, not a
  // line of a log, out of order, or an end without the report.
  [[nodiscard]] Result<std::optional<LogLine>> next();

 private:
  [[nodiscard]] Result<LogLine> parse(const std::string& line);
  [[nodiscard]] std::string where() const;

  std::istream& in_;
  std::string name_;
  std::size_t line_ = 0;
  bool in_run_ = false;
};

}  // namespace asynclm
