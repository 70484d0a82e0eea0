// SPDX-License-Identifier: Apache-2.0
// asynclm replay: shows an event log as if the run were going on.
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/drive.h"
#include "cli/event_log.h"
#include "cli/presenter.h"
#include "cli/stop_signals.h"
#include "cli/summary.h"
#include "cli/terminal.h"

namespace asynclm {
namespace {

class Replay {
 public:
  Replay(std::string path, double speed) : path_(std::move(path)), speed_(speed) {}

  int run();

 private:
  void wait_until(Time time);
  int show(EventLogReader& reader);

  std::string path_;
  double speed_;
  bool paced_ = stdout_is_live_terminal();
  std::unique_ptr<RunSink> presenter_ = make_presenter();
  StopSignals signals_;
  std::chrono::steady_clock::time_point began_;
};

// Draws on, until the time has come at which the run was.
void Replay::wait_until(Time time) {
  while (paced_ && !signals_.stop_wanted()) {
    const std::chrono::duration<double, std::nano> since =
        std::chrono::steady_clock::now() - began_;
    const Time now(static_cast<Time::rep>(since.count() * speed_));
    if (now >= time) return;
    const std::chrono::duration<double, std::nano> left(static_cast<double>((time - now).count()) /
                                                        speed_);
    if (left < kTick) {
      std::this_thread::sleep_for(left);
      return;
    }
    presenter_->tick(now);
    std::this_thread::sleep_for(kTick);
  }
}

int Replay::show(EventLogReader& reader) {
  Mode mode = Mode::async;
  while (!signals_.stop_wanted()) {
    Result<std::optional<LogLine>> line = reader.next();
    if (!line) {
      std::cout << std::flush;
      std::cerr << "asynclm replay: " << line.error().message << '\n';
      return kExitFailed;
    }
    if (!*line) return kExitOk;
    if (const auto* header = std::get_if<RunHeader>(&**line)) {
      mode = header->mode;
      began_ = std::chrono::steady_clock::now();
      presenter_->begin(*header);
    } else if (const auto* event = std::get_if<RunEvent>(&**line)) {
      wait_until(event->time);
      presenter_->event(*event);
    } else if (const auto* report = std::get_if<RunReport>(&**line)) {
      wait_until(report->wall);
      presenter_->end(*report);
      std::cout << '\n';
      print_answer(std::cout, *report, output_columns());
      std::cout << '\n';
      print_summary(std::cout, mode, *report, output_columns());
    }
  }
  std::cerr << "asynclm replay: stopped by a signal\n";
  return kExitFailed;
}

int Replay::run() {
  errno = 0;
  std::ifstream file(path_);
  if (!file || file.peek() == std::ifstream::traits_type::eof()) {
    const std::string why = errno != 0 ? std::strerror(errno) : "it is empty";
    std::cerr << "asynclm replay: cannot read " << path_ << ": " << why << '\n';
    return kExitUsage;
  }
  EventLogReader reader(file, path_);
  return show(reader);
}

}  // namespace

void add_replay_command(CLI::App& app, int& exit_code) {
  struct Options {
    std::string path;
    double speed = 1;
  };
  CLI::App* replay = app.add_subcommand("replay", "Show the event log of a run again");
  const auto options = std::make_shared<Options>();
  replay->add_option("log", options->path, "File written by asynclm run --log")
      ->required()
      ->option_text("LOG");
  replay->add_option("--speed", options->speed, "On a terminal: 2 is twice as fast as it was")
      ->check(CLI::PositiveNumber)
      ->option_text("X");
  replay->callback(
      [options, &exit_code] { exit_code = Replay(options->path, options->speed).run(); });
}

}  // namespace asynclm
