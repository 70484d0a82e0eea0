// SPDX-License-Identifier: Apache-2.0
#include "cli/event_log.h"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_folder.h"
#include "cli/json_report.h"
#include "cli/test_run.h"

namespace asynclm {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string test_log() {
  const TemporaryFolder folder;
  const std::string path = folder.file("run.jsonl");
  auto log = EventLogWriter::open(path);
  EXPECT_TRUE(log) << log.error().message;
  (*log)->begin(test_header());
  for (const RunEvent& event : test_events()) (*log)->event(event);
  (*log)->end(test_report());
  EXPECT_TRUE((*log)->status());
  log->reset();
  return read(path);
}

struct ReadBack {
  std::size_t lines = 0;
  std::string error;  // of the line after them
};

ReadBack read_back(const std::string& text) {
  std::istringstream in(text);
  EventLogReader reader(in, "x.log");
  ReadBack out;
  while (true) {
    const auto line = reader.next();
    if (!line) {
      out.error = line.error().message;
      return out;
    }
    if (!*line) return out;
    ++out.lines;
  }
}

TEST(EventLog, CanBeReadAgain) {
  const std::string text = test_log();
  std::istringstream in(text);
  EventLogReader reader(in, "x.log");
  const auto header = reader.next();
  ASSERT_TRUE(header && *header);
  EXPECT_EQ(std::get<RunHeader>(**header).task, "count the lines");
  for (const RunEvent& event : test_events()) {
    const auto line = reader.next();
    ASSERT_TRUE(line && *line);
    EXPECT_EQ(to_json(std::get<RunEvent>(**line)), to_json(event));
  }
  const auto report = reader.next();
  ASSERT_TRUE(report && *report);
  EXPECT_EQ(report_to_json(Mode::async, std::get<RunReport>(**report)),
            report_to_json(Mode::async, test_report()));
  const auto end = reader.next();
  ASSERT_TRUE(end);
  EXPECT_FALSE(*end);
}

TEST(EventLog, HoldsSeveralRuns) {
  const std::string text = test_log();
  const ReadBack once = read_back(text);
  const ReadBack twice = read_back(text + text);
  EXPECT_EQ(twice.error, "");
  EXPECT_EQ(twice.lines, 2 * once.lines);
}

TEST(EventLog, WhereverItIsCutOffTheLineIsNamed) {
  const std::string text = test_log();
  for (std::size_t length = 1; length + 1 < text.size(); length += 7) {
    const std::string part = text.substr(0, length);
    const auto whole_lines = static_cast<std::size_t>(std::ranges::count(part, '\n'));
    const ReadBack got = read_back(part);
    EXPECT_THAT(got.error, StartsWith("x.log:" + std::to_string(got.lines + 1) + ": ")) << length;
    EXPECT_GE(got.lines, whole_lines);
  }
}

TEST(EventLog, WhatIsNoLogIsRefused) {
  EXPECT_THAT(read_back("").error, HasSubstr("empty"));
  EXPECT_THAT(read_back("hello\n").error, StartsWith("x.log:1: this is not JSON"));
  EXPECT_THAT(read_back("[1]\n").error, HasSubstr("not a JSON object"));
  EXPECT_THAT(read_back("{\"event\":\"text\"}\n").error, HasSubstr("header"));
  const std::string text = test_log();
  const std::string header = text.substr(0, text.find('\n') + 1);
  EXPECT_THAT(read_back(header + header).error, StartsWith("x.log:2: a new run begins"));
  EXPECT_THAT(read_back(header + "{\"event\":\"party\",\"t_ms\":1}\n").error, HasSubstr("party"));
  EXPECT_THAT(read_back(text + "{}\n").error, HasSubstr("header"));
}

TEST(EventLog, FilesThatCannotBeWrittenAreFoundAtOnce) {
  const auto missing = EventLogWriter::open("/nonexistent/folder/x.log");
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("/nonexistent/folder/x.log"));
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_FALSE(EventLogWriter::open("/dev/full"));
  }
}

}  // namespace
}  // namespace asynclm
