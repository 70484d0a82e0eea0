// SPDX-License-Identifier: Apache-2.0
// asynclm-lab bench batch: decoding for many sessions against libllama's own benchmark.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <format>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include "bench/batched_decode.h"
#include "bench/statistics.h"
#include "cli/assets.h"
#include "commands/bench_commands.h"
#include "tools/process.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

struct BenchBatchCommand {
  std::optional<std::string> model;
  std::string reference = "llama-batched-bench";
  std::vector<std::int32_t> sessions = {1, 2, 4, 8, 16};
  std::int32_t prompt = 64, generated = 64;
  std::int32_t threads = 1;
  int repetitions = 3;
  bool json = false;

  [[nodiscard]] int run() const;
  [[nodiscard]] Result<bench::BatchedDecode> ours(const std::string& path,
                                                  std::int32_t count) const;
  [[nodiscard]] Result<double> theirs(const std::string& program, const std::string& path,
                                      std::int32_t count, std::int32_t prompt_tokens) const;
};

// As a shell finds it; empty if there is none.
std::string find_program(const std::string& name) {
  const auto runs = [](const std::string& path) { return access(path.c_str(), X_OK) == 0; };
  if (name.find('/') != std::string::npos) return runs(name) ? name : "";
  const char* const variable = std::getenv("PATH");
  std::string_view folders = variable == nullptr ? "" : variable;
  while (!folders.empty()) {
    const std::size_t end = folders.find(':');
    const std::string path = std::string(folders.substr(0, end)) + "/" + name;
    if (runs(path)) return path;
    if (end == std::string_view::npos) break;
    folders.remove_prefix(end + 1);
  }
  return "";
}

Result<bench::BatchedDecode> BenchBatchCommand::ours(const std::string& path,
                                                     std::int32_t count) const {
  constexpr std::int32_t kTemplateTokens = 192;  // more than any template takes
  auto engine = make_llama_engine({.model_path = path,
                                   .context_tokens = prompt + generated + kTemplateTokens,
                                   .max_sequences = count,
                                   .threads = threads});
  if (!engine) return std::unexpected(engine.error());
  return bench::measure_batched_decode(
      std::move(*engine),
      {.sessions = count, .prompt_tokens = prompt, .generated_tokens = generated});
}

Result<double> BenchBatchCommand::theirs(const std::string& program, const std::string& path,
                                         std::int32_t count, std::int32_t prompt_tokens) const {
  // It warms up with one sequence of so many tokens, and prints nothing where there is no room.
  constexpr std::int32_t kWarmUp = 512;
  const std::int32_t room = std::max(kWarmUp, prompt_tokens + generated);
  boost::asio::io_context context;
  CallResult result;
  // As our engine decodes: without flash attention on a CPU, and a part of the cache for each
  // sequence.
  auto process =
      Process::start(context, {.command = {.argv = {program,
                                                    "-m",
                                                    path,
                                                    "-npp",
                                                    std::to_string(prompt_tokens),
                                                    "-ntg",
                                                    std::to_string(generated),
                                                    "-npl",
                                                    std::to_string(count),
                                                    "-c",
                                                    std::to_string(count * room),
                                                    "-t",
                                                    std::to_string(threads),
                                                    "-tb",
                                                    std::to_string(threads),
                                                    "-fa",
                                                    "off",
                                                    "-no-kvu",
                                                    "--output-format",
                                                    "jsonl"},
                                           .directory = ""},
                               .shown = program,
                               .input = "",
                               .max_output_bytes = std::size_t{1} << 20U,
                               .on_result = [&result](CallResult r) { result = std::move(r); },
                               .on_gone = [] {}});
  if (!process) return std::unexpected(process.error());
  context.run();
  if (result.outcome != Outcome::returned) {
    return fail(ErrorCode::engine, program + " failed: " + result.text);
  }
  for (std::size_t at = 0; at < result.text.size();) {
    const std::size_t end = std::min(result.text.find('\n', at), result.text.size());
    const auto line = nlohmann::json::parse(result.text.substr(at, end - at), nullptr, false);
    if (line.is_object() && line.contains("speed_tg") && line["speed_tg"].is_number()) {
      return line["speed_tg"].get<double>();
    }
    at = end + 1;
  }
  return fail(ErrorCode::engine, program + " printed no speed (speed_tg): another version?");
}

int BenchBatchCommand::run() const {
  const auto path = find_model(model);
  if (!path) return complain_bench("batch", path.error());
  const std::string program = find_program(reference);
  if (program.empty()) {
    std::cerr << "asynclm-lab bench batch: there is no program '" << reference
              << "' (Debian: llama.cpp-tools-extra), so nothing is compared; --reference names "
                 "another\n";
  }
  nlohmann::ordered_json report = {{"figure", "batch"},
                                   {"model", *path},
                                   {"threads", threads},
                                   {"prompt_tokens", prompt},
                                   {"generated", generated},
                                   {"repetitions", repetitions},
                                   {"sizes", nlohmann::ordered_json::array()}};
  if (!json) {
    std::cout << std::format("{:>8}{:>16}{:>16}{:>8}{:>16}\n", "sessions", "asynclm tok/s",
                             "libllama tok/s", "ratio", "own us/token");
  }
  for (const std::int32_t count : sessions) {
    std::vector<double> our_speed, their_speed, ratio, own;
    for (int i = 0; i < repetitions; ++i) {
      const auto mine = ours(*path, count);
      if (!mine) return complain_bench("batch", mine.error());
      our_speed.push_back(mine->tokens_per_second);
      own.push_back(mine->own_us_per_token);
      if (program.empty()) continue;
      const auto other = theirs(program, *path, count, mine->prompt_tokens);
      if (!other) return complain_bench("batch", other.error());
      their_speed.push_back(*other);
      ratio.push_back(mine->tokens_per_second / *other);
    }
    nlohmann::ordered_json size = {{"sessions", count},
                                   {"asynclm_tokens_per_s", bench::quantile(our_speed, 0.5)},
                                   {"own_us_per_token", bench::quantile(own, 0.5)}};
    std::string compared = std::format("{:>16}{:>8}", "", "");
    if (!program.empty()) {
      size["libllama_tokens_per_s"] = bench::quantile(their_speed, 0.5);
      size["ratio"] = bench::quantile(ratio, 0.5);
      size["ratios"] = ratio;
      compared = std::format("{:>16.1f}{:>8.3f}", bench::quantile(their_speed, 0.5),
                             bench::quantile(ratio, 0.5));
    }
    report["sizes"].push_back(std::move(size));
    if (json) continue;
    std::cout << std::format("{:>8}{:>16.1f}{}{:>16.2f}\n", count, bench::quantile(our_speed, 0.5),
                             compared, bench::quantile(own, 0.5))
              << std::flush;
  }
  if (json) std::cout << report.dump(2) << '\n';
  return kExitOk;
}

}  // namespace

void add_bench_batch(CLI::App& bench, int& exit_code) {
  CLI::App* sub = bench.add_subcommand(
      "batch", "Decoding for many sessions at once, against libllama's own benchmark");
  const auto command = std::make_shared<BenchBatchCommand>();
  sub->add_option("--model", command->model, "GGUF file (default: the model that asynclm ships)");
  sub->add_option("--reference", command->reference, "libllama's benchmark: a name or a path")
      ->capture_default_str();
  sub->add_option("--sessions", command->sessions, "Numbers of sessions")
      ->delimiter(',')
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  sub->add_option("--prompt", command->prompt, "Tokens of each session before it writes")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  sub->add_option("--generate", command->generated, "Tokens that each writes")
      ->check(CLI::Range(4, 100'000))
      ->capture_default_str();
  sub->add_option("--threads", command->threads, "CPU threads of both")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  sub->add_option("--repeat", command->repetitions, "Turns of each; medians count")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  sub->add_flag("--json", command->json, "Print one JSON object");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
