// SPDX-License-Identifier: Apache-2.0
// asynclm-lab dataset: writes training samples of synthetic tasks, or of recorded calls.
#include "oracle/dataset.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <format>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/assets.h"
#include "commands/commands.h"
#include "commands/task_source.h"
#include "oracle/recordings.h"
#include "oracle/sample_format.h"
#include "oracle/synthetic.h"

namespace asynclm {
namespace {

template <class Value, std::size_t kCount, class Named>
std::map<std::string, Value> by_name(const std::array<Named, kCount>& all, Value Named::* value) {
  std::map<std::string, Value> out;
  for (const Named& named : all) out.emplace(named.name, named.*value);
  return out;
}

struct DatasetCommand {
  std::optional<std::string> vocabulary;
  std::string out = "-";
  std::optional<std::uint64_t> samples;
  TaskSource source;
  std::uint64_t seed = 1;
  DatasetOptions options;
  std::string policy = "lpt";
  std::vector<std::string> modes = {"async=70", "sync-parallel=15", "sync=15"};
  std::string format = "tokens";
  unsigned threads = 0;
  std::string split = "train";

  [[nodiscard]] int run();
};

// "async=70"; without a number as much as any other without.
Result<ModeShare> read_mode_share(const std::string& text) {
  const auto equals = text.find('=');
  const auto mode = parse_mode(text.substr(0, equals));
  if (!mode) return std::unexpected(mode.error());
  ModeShare out{.mode = *mode, .share = 1};
  if (equals == std::string::npos) return out;
  const char* const end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + equals + 1, end, out.share);
  if (read.ec != std::errc() || read.ptr != end || !(out.share > 0 && out.share < 1e9)) {
    return fail(ErrorCode::invalid_argument, text + ": expected MODE=SHARE, a positive number");
  }
  return out;
}

struct Statistics {
  std::uint64_t samples = 0, tokens = 0, learned = 0, calls = 0, interrupted = 0, too_long = 0;
  std::uint64_t refused = 0, cut_searches = 0;
  std::map<std::string_view, std::uint64_t> modes;

  void add(const Sample& sample) {
    ++samples;
    tokens += sample.tokens.size();
    for (const auto& [begin, end] : sample.loss) learned += static_cast<std::uint64_t>(end - begin);
    calls += static_cast<std::uint64_t>(sample.calls);
    interrupted += static_cast<std::uint64_t>(sample.interrupted);
    cut_searches += static_cast<std::uint64_t>(sample.cut_searches);
    ++modes[to_string(sample.mode)];
  }
  void print(std::int32_t max_tokens) const {
    std::cerr << std::format("{} samples:", samples);
    for (const auto& [mode, count] : modes) std::cerr << std::format(" {} {},", mode, count);
    std::cerr << std::format(
        " {} tokens, {} of them to be learned; {} calls, {} interrupts while the model wrote; {} "
        "samples left out as longer than {} tokens\n",
        tokens, learned, calls, interrupted, too_long, max_tokens);
    if (refused > 0) {
      std::cerr << std::format("{} samples left out, of which a function refuses a recorded call\n",
                               refused);
    }
    if (cut_searches > 0) {
      std::cerr << std::format(
          "{} tasks have the best order found before the search was cut, not one proven best\n",
          cut_searches);
    }
  }
};

int DatasetCommand::run() {
  options.policy = by_name(kPolicies, &NamedPolicy::policy).at(policy);
  const SampleFormat shape = by_name(kSampleFormats, &NamedFormat::format).at(format);
  const auto complain = [](const std::string& message) {
    std::cerr << "asynclm-lab dataset: " << message << '\n';
    return kExitUsage;
  };
  options.modes.clear();
  for (const std::string& mode : modes) {
    const auto share = read_mode_share(mode);
    if (!share) return complain("--modes: " + share.error().message);
    options.modes.push_back(*share);
  }
  const auto model = vocabulary ? Result<std::string>(*vocabulary) : find_model(std::nullopt);
  if (!model) return complain(model.error().message);
  const auto vocab = load_vocabulary(*model);
  if (!vocab) return complain(vocab.error().message);
  const Split words = by_name(kSplits, &NamedSplit::split).at(split);
  if (auto ok = source.open(words, vocab->get()); !ok) return complain(ok.error().message);
  std::ofstream file;
  std::ostream& stream = out == "-" ? std::cout : file;
  // Without --samples each recording is tried once, also where some are too long.
  const std::uint64_t wanted = samples.value_or(source.is_recorded() ? source.size() : 1000);
  const std::uint64_t last = source.is_recorded() && !samples ? source.size() : UINT64_MAX;

  // Samples are made side by side and written in order, whatever the number of threads.
  struct Made {
    Result<Sample> sample = Sample{};
    std::string line;
  };
  const auto make = [&](std::uint64_t index) {
    Random random = random_for_sample(seed, index);
    TaskSequence sequence = source.sequence(index, random);
    if (source.is_recorded()) draw_times(sequence, random);
    Made made{.sample = make_sample(**vocab, sequence, options, random), .line = {}};
    if (!made.sample) return made;
    Json line = format_sample(*made.sample, shape, sequence, **vocab);
    if (source.is_recorded()) line["id"] = source.id(index);
    line["mode"] = to_string(made.sample->mode);
    line["calls"] = made.sample->calls;
    line["makespan_ms"] = to_ms(made.sample->makespan);
    made.line = line.dump(-1, ' ', false, Json::error_handler_t::replace);
    return made;
  };
  const unsigned workers =
      threads > 0 ? threads : std::max(1U, std::thread::hardware_concurrency());
  const auto say_left_out = [&](std::uint64_t index, const std::string& why) {
    if (!source.is_recorded() || index >= source.size()) return;  // each recording once
    std::cerr << "asynclm-lab dataset: " << source.id(index) << " left out: " << why << '\n';
  };
  const bool on_terminal = isatty(STDERR_FILENO) == 1;
  Statistics statistics;
  std::size_t shortest = SIZE_MAX;  // of those that are too long, in tokens
  const auto longer = [&] {
    return std::format("longer than --max-tokens {}{}; raise it{}", options.max_tokens,
                       shortest < SIZE_MAX ? std::format(", the shortest has {}", shortest) : "",
                       source.is_recorded() ? ", or see --only-called" : "");
  };
  std::vector<Made> batch(std::size_t{64} * workers);
  for (std::uint64_t begin = 0; statistics.samples < wanted && begin < last;
       begin += batch.size()) {
    const std::size_t size = std::min(batch.size(), last - begin);
    std::atomic<std::size_t> next = 0;
    const auto work = [&] {
      for (std::size_t i = next++; i < size; i = next++) batch[i] = make(begin + i);
    };
    {
      std::vector<std::jthread> pool;
      for (unsigned i = 1; i < workers; ++i) pool.emplace_back(work);
      work();
    }
    for (std::size_t i = 0; i < size && statistics.samples < wanted; ++i) {
      const Made& made = batch[i];
      const bool is_too_long =
          made.sample ? made.sample->tokens.size() > static_cast<std::size_t>(options.max_tokens)
                      : made.sample.error().code == ErrorCode::limit_exceeded;
      if (!made.sample && !is_too_long) {
        std::cerr << "asynclm-lab dataset: sample " << begin + i << ": "
                  << made.sample.error().message << '\n';
        return kExitFailed;
      }
      if (is_too_long) {
        if (!made.sample) say_left_out(begin + i, made.sample.error().message);
        ++statistics.too_long;
        if (made.sample) shortest = std::min(shortest, made.sample->tokens.size());
        if (last == UINT64_MAX && statistics.too_long > 100 + 10 * statistics.samples) {
          return complain("nearly all samples are " + longer());
        }
        continue;
      }
      if (source.is_recorded() && !made.sample->refused.empty()) {
        say_left_out(begin + i, made.sample->refused);
        ++statistics.refused;
        if (last == UINT64_MAX && statistics.refused > 100 + 10 * statistics.samples) {
          return complain("nearly all recorded calls are refused by their functions");
        }
        continue;
      }
      // Not sooner: a file of before is not lost where nothing can be made.
      if (out != "-" && !file.is_open()) {
        file.open(out);
        if (!file) return complain("cannot write '" + out + "'");
      }
      stream << made.line << '\n';
      statistics.add(*made.sample);
      if (!on_terminal && statistics.samples % 5000 == 0) {
        std::cerr << statistics.samples << " of " << wanted << " samples\n";
      }
    }
    if (on_terminal) {
      std::cerr << std::format("\r{} of {} samples\x1b[K", statistics.samples, wanted)
                << std::flush;
    }
    if (!stream) break;
  }
  if (on_terminal) std::cerr << "\r\x1b[K";
  stream.flush();
  if (!stream) return complain("writing to '" + out + "' failed: is the disk full?");
  statistics.print(options.max_tokens);
  if (statistics.samples == 0) {
    return complain(std::format("no sample is left: {} refused, {} {}", statistics.refused,
                                statistics.too_long, longer()));
  }
  return kExitOk;
}

}  // namespace

void add_dataset_command(CLI::App& app, int& exit_code) {
  auto command = std::make_shared<DatasetCommand>();
  CLI::App* sub = app.add_subcommand(
      "dataset", "write training samples of synthetic tasks or recorded calls (JSON lines)");
  sub->add_option("--vocab", command->vocabulary,
                  "GGUF file with the vocabulary (default: that of the model that asynclm ships)");
  sub->add_option("--out", command->out, "output file, - for standard output")
      ->capture_default_str();
  sub->add_option("--samples", command->samples,
                  "samples to write (default: 1000, or one of each recording)")
      ->check(CLI::PositiveNumber);
  CLI::Option* const recordings = command->source.add_to(*sub);
  sub->add_option("--policy", command->policy, "which callable call the teacher writes first")
      ->check(CLI::IsMember(by_name(kPolicies, &NamedPolicy::policy)))
      ->capture_default_str();
  sub->add_option("--modes", command->modes,
                  "MODE=SHARE of the samples, of async, async+, sync-parallel and sync")
      ->delimiter(',')
      ->capture_default_str();
  sub->add_option("--format", command->format, "what a line is")
      ->check(CLI::IsMember(by_name(kSampleFormats, &NamedFormat::format)))
      ->capture_default_str();
  sub->add_option("--stand-in", command->options.stand_in,
                  "the result of recorded calls without one")
      ->capture_default_str();
  sub->add_option("--max-tokens", command->options.max_tokens, "leave longer samples out")
      ->check(CLI::Range(64, 65536))
      ->capture_default_str();
  sub->add_option("--seed", command->seed, "same seed, same bytes")->capture_default_str();
  sub->add_option("--threads", command->threads, "0 = all cores")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  sub->add_option("--split", command->split,
                  "whose words; no two splits have a function or a word of a value in common")
      ->check(CLI::IsMember(by_name(kSplits, &NamedSplit::split)))
      ->excludes(recordings)
      ->capture_default_str();
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
