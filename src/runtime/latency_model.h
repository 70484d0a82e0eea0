// SPDX-License-Identifier: Apache-2.0
// How long calls of each tool take: learned from those that ended, with the declared estimate as
// what is believed before. Says what the trap handler asks (how much longer, given that it has
// taken so long already?) and what the prompt tells the model. Pure: no clock, no I/O but load and
// save.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/tool.h>
#include <asynclm/types.h>

namespace asynclm {

class LatencyModel {
 public:
  explicit LatencyModel(const std::vector<ToolSpec>& tools);

  // A call that returned, failed or ran into its time-out took so long. Of a cancelled one nothing
  // is known. Unknown tools are ignored.
  void observe(std::string_view tool, Time took);

  // The time that a share of `q` of the calls does not exceed. Zero for unknown tools.
  [[nodiscard]] Time quantile(std::string_view tool, double q) const;

  // Expected time from now on for a call that has been running for `elapsed`. Where nothing that
  // was seen took so long, as much again; never beyond the tool's time-out.
  [[nodiscard]] Time remaining(std::string_view tool, Time elapsed) const;

  // The tools with the estimates for prompts: the learned medians. They change only after a few
  // calls and when the median has moved by a third, so that sessions that start meanwhile have
  // equal prompts. True if the last call of observe() changed one.
  [[nodiscard]] const std::vector<ToolSpec>& specs() const { return specs_; }
  [[nodiscard]] bool specs_changed() const { return specs_changed_; }

  // As JSON: {"format": 1, "tools": {"name": {"buckets": [[index, weight], …], "calls": n}}}. load
  // keeps what it finds of tools that are not there (another program's), and leaves the model as it
  // was on error. save replaces the file in one step.
  [[nodiscard]] Result<void> load(const std::string& path);
  [[nodiscard]] Result<void> save(const std::string& path) const;

 private:
  // Bucket i holds durations up to 0.1 ms * 2^(i / 4): each is exact to 9 %, the last is 4.5 hours.
  static constexpr std::size_t kBuckets = 110;

  struct Tool {
    std::array<double, kBuckets> weights{};  // of those that were seen, decaying
    double calls = 0;                        // their sum, not decaying
    Time declared{}, timeout{};
    std::size_t spec = 0;  // index in specs_
    bool known = false;    // not only of the file
  };
  [[nodiscard]] static Json to_json(const Tool& tool);
  [[nodiscard]] static Result<Tool> from_json(const Json& json);
  // With the prior.
  [[nodiscard]] static std::array<double, kBuckets> belief(const Tool& tool);
  [[nodiscard]] const Tool* find(std::string_view tool) const;
  void update_estimate(Tool& tool);

  std::map<std::string, Tool, std::less<>> tools_;
  std::vector<ToolSpec> specs_;
  bool specs_changed_ = false;
};

}  // namespace asynclm
