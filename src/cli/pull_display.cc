// SPDX-License-Identifier: Apache-2.0
#include "cli/pull_display.h"

#include <algorithm>
#include <cmath>
#include <format>
#include <iostream>
#include <utility>
#include <vector>

#include "cli/terminal.h"
#include "models/partial_file.h"

namespace asynclm {
namespace {

std::string percent_text(const PullProgress& progress) {
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  // 100 % is for what is complete.
  const auto percent = static_cast<int>(std::min(std::floor(share * 100), 100.0));
  return std::format("{:3} %", percent);
}

std::string time_left(const PullProgress& progress) {
  if (progress.bytes_per_second < 1 || progress.done > progress.total) return {};
  const double seconds =
      static_cast<double>(progress.total - progress.done) / progress.bytes_per_second;
  constexpr double kMinute = 60, kHour = 3600, kLongest = 100 * kHour;
  if (seconds >= kLongest) return {};
  if (seconds >= kHour) return std::format("{:.1f} h left", seconds / kHour);
  if (seconds >= kMinute) return std::format("{:.0f} min left", std::ceil(seconds / kMinute));
  return std::format("{:.0f} s left", std::ceil(seconds));
}

std::string stage_text(PullStage stage) {
  switch (stage) {
    case PullStage::asking:
      return "asking the server";
    case PullStage::waiting:
      return "waiting for another process";
    case PullStage::pausing:
      return "waiting for the next try";
    case PullStage::checking:
      return "checking what is here";
    case PullStage::downloading:
      break;
  }
  return "downloading";
}

// The most important first.
std::vector<std::string> pull_facts(const PullProgress& progress) {
  std::vector<std::string> facts;
  const bool total_known = progress.total > 0;
  if (total_known) facts.push_back(percent_text(progress));
  if (progress.stage != PullStage::downloading) {
    facts.push_back(stage_text(progress.stage));
    return facts;
  }
  facts.push_back(
      total_known ? std::format("{} of {}", bytes_text(progress.done), bytes_text(progress.total))
                  : bytes_text(progress.done));
  if (progress.bytes_per_second > 0) {
    facts.push_back(bytes_text(static_cast<std::uint64_t>(progress.bytes_per_second)) + "/s");
    if (total_known) facts.push_back(time_left(progress));
  }
  std::erase(facts, "");
  return facts;
}

std::string bar(const PullProgress& progress, int columns) {
  const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
  const auto width = static_cast<std::size_t>(columns - 2);
  const auto full = std::min(width, static_cast<std::size_t>(share * static_cast<double>(width)));
  return "[" + std::string(full, '#') + std::string(width - full, '.') + "]";
}

}  // namespace

std::string pull_line(const PullProgress& progress, const std::string& name, int columns) {
  const auto room = static_cast<std::size_t>(std::max(columns, 0));
  std::string facts;
  for (const std::string& fact : pull_facts(progress)) {
    const std::string more = facts + (facts.empty() ? "" : "  ") + fact;
    if (more.size() > room && !facts.empty()) break;
    facts = more;
  }
  std::string line = facts;
  if (name.size() + 2 + facts.size() <= room) line = name + "  " + facts;
  constexpr std::size_t kSmallestBar = 10, kLargestBar = 40;
  if (progress.total > 0 && line.size() > facts.size() && line.size() + 2 + kSmallestBar <= room) {
    const std::size_t width = std::min(room - line.size() - 2, kLargestBar);
    line = name + "  " + bar(progress, static_cast<int>(width)) + "  " + facts;
  }
  return cut_to_columns(line, columns);
}

PullDisplay::PullDisplay(const std::string& name, std::function<bool()> stop_wanted)
    : name_(printable(name, LineBreaks::escape)),
      stop_wanted_(std::move(stop_wanted)),
      live_(stderr_is_live_terminal()) {
  events_.stop = stop_.get_token();
  events_.progress = [this](const PullProgress& progress) { show(progress); };
  events_.note = [this](const std::string& line) {
    clear();
    std::cerr << name_ << ": " << printable(line, LineBreaks::escape) << '\n';
  };
}

void PullDisplay::clear() {
  if (std::exchange(drawn_, false)) std::cerr << "\r\x1b[K" << std::flush;
}

void PullDisplay::show(const PullProgress& progress) {
  if (stop_wanted_ && stop_wanted_()) stop_.request_stop();
  if (!live_) return say_now_and_then(progress);
  // The last column stays empty: some terminals begin a new line behind it.
  const int columns = stderr_columns() - 1;
  std::string line = pull_line(progress, name_, columns);
  if (drawn_ && line == line_) return;
  line_ = std::move(line);
  std::cerr << '\r' << line_ << "\x1b[K" << std::flush;
  drawn_ = true;
}

void PullDisplay::say_now_and_then(const PullProgress& progress) {
  constexpr std::chrono::seconds kPause{10};
  if (progress.stage != PullStage::downloading) return;
  const auto now = std::chrono::steady_clock::now();
  if (begun_ && now - said_ < kPause) return;
  said_ = now;
  constexpr int kWide = 200;
  if (begun_) {
    std::string facts;
    for (const std::string& fact : pull_facts(progress)) {
      facts += (facts.empty() ? "" : ", ") + fact.substr(fact.find_first_not_of(' '));
    }
    std::cerr << cut_to_columns(name_ + ": " + facts, kWide) << '\n';
    return;
  }
  begun_ = true;
  std::cerr << name_ << ": downloading"
            << (progress.total > 0 ? " " + bytes_text(progress.total) : "")
            << (progress.done > 0 ? ", " + bytes_text(progress.done) + " are here" : "") << '\n';
}

}  // namespace asynclm
