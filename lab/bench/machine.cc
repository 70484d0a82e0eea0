// SPDX-License-Identifier: Apache-2.0
#include "bench/machine.h"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <thread>
#include <vector>

#include "base/random.h"
#include "bench/statistics.h"

namespace asynclm::bench {
namespace {

// Keeps the work from being optimised away.
volatile std::uint64_t sum_of_work;

double time_of_work() {
  constexpr int kRounds = 1'000'000;  // some milliseconds, longer than a scheduler's slice
  const auto begin = std::chrono::steady_clock::now();
  Random random(1);
  std::uint64_t sum = 0;
  for (int i = 0; i < kRounds; ++i) sum += random.next();
  sum_of_work = sum;
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("model name")) continue;
    const auto at = line.find(": ");
    return at == std::string::npos ? "" : line.substr(at + 2);
  }
  return "";
}

}  // namespace

MachineState look_at_machine() {
  MachineState state;
  state.processor = processor_name();
  state.cores = std::thread::hardware_concurrency();
  double load = 0;
  if (getloadavg(&load, 1) == 1) state.load_average = load;
  std::vector<double> times;
  for (int i = 0; i < 100; ++i) times.push_back(time_of_work());
  const Spread s = spread(times);
  state.calibration_spread = s.p90 / s.p10;
  state.is_loaded = state.calibration_spread > 1.1 || state.load_average > 0.25;
  return state;
}

}  // namespace asynclm::bench
