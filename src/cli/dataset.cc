// SPDX-License-Identifier: Apache-2.0
// asynclm dataset: writes training samples of synthetic tasks.
#include "oracle/dataset.h"

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "cli/commands.h"

namespace asynclm {
namespace {

std::map<std::string, Policy> policies_by_name() {
  std::map<std::string, Policy> out;
  for (const auto& [name, policy] : kPolicies) out.emplace(name, policy);
  return out;
}

struct DatasetCommand {
  std::string vocabulary = "train/tokenizer/vocab.gguf";
  std::string words = "/usr/share/dict/words";
  std::string out = "-";
  std::uint64_t samples = 1000;
  DatasetOptions options;
  std::string policy = "lpt";
  bool held_out = false;
  bool text = false;

  [[nodiscard]] int run();
};

std::string spelled(const Vocabulary& vocabulary, const std::vector<Token>& tokens) {
  std::string text;
  for (const Token token : tokens) text += vocabulary.spelling(token);
  return text;
}

int DatasetCommand::run() {
  options.policy = policies_by_name().at(policy);
  const auto complain = [](const std::string& message) {
    std::cerr << "asynclm dataset: " << message << '\n';
    return kExitUsage;
  };
  const auto vocab = load_vocabulary(vocabulary);
  if (!vocab) return complain(vocab.error().message);
  auto list = WordList::load(words, held_out ? Split::held_out : Split::train);
  if (!list) return complain(list.error().message);
  list->add_pieces(**vocab);
  std::ofstream file;
  if (out != "-") {
    file.open(out);
    if (!file) return complain("cannot write '" + out + "'");
  }
  std::ostream& stream = out == "-" ? std::cout : file;

  std::uint64_t written = 0;
  std::uint64_t tokens = 0;
  std::uint64_t too_long = 0;
  for (std::uint64_t index = 0; written < samples; ++index) {
    const auto sample = make_sample(**vocab, *list, options, index);
    if (!sample) {
      std::cerr << "asynclm dataset: sample " << index << ": " << sample.error().message << '\n';
      return kExitFailed;
    }
    if (sample->tokens.size() > static_cast<std::size_t>(options.max_tokens)) {
      ++too_long;
      if (too_long > 100 + 10 * written) {
        return complain("nearly all samples are longer than --max-tokens; raise it");
      }
      continue;
    }
    nlohmann::ordered_json line = {{"tokens", sample->tokens},
                                   {"loss", sample->loss},
                                   {"mode", to_string(sample->mode)},
                                   {"calls", sample->calls},
                                   {"makespan_ms", to_ms(sample->makespan)}};
    if (text) line["text"] = spelled(**vocab, sample->tokens);
    stream << line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << '\n';
    ++written;
    tokens += sample->tokens.size();
    if (written % 5000 == 0) std::cerr << written << " of " << samples << " samples\n";
  }
  stream.flush();
  if (!stream) return complain("writing to '" + out + "' failed: is the disk full?");
  std::cerr << written << " samples, " << tokens << " tokens, " << too_long
            << " left out as longer than " << options.max_tokens << " tokens\n";
  return kExitOk;
}

}  // namespace

void add_dataset_command(CLI::App& app, int& exit_code) {
  auto command = std::make_shared<DatasetCommand>();
  CLI::App* sub =
      app.add_subcommand("dataset", "write training samples of synthetic tasks (JSON lines)");
  sub->add_option("--vocab", command->vocabulary, "GGUF file with the vocabulary")
      ->capture_default_str();
  sub->add_option("--words", command->words, "word list, one word a line")->capture_default_str();
  sub->add_option("--out", command->out, "output file, - for standard output")
      ->capture_default_str();
  sub->add_option("--samples", command->samples, "samples to write")->capture_default_str();
  sub->add_option("--level", command->options.level, "how hard the tasks are")
      ->check(CLI::Range(1, kLevels))
      ->capture_default_str();
  sub->add_option("--policy", command->policy, "which callable call the teacher writes first")
      ->check(CLI::IsMember(policies_by_name()))
      ->capture_default_str();
  sub->add_option("--max-tokens", command->options.max_tokens, "leave longer samples out")
      ->check(CLI::Range(64, 65536))
      ->capture_default_str();
  sub->add_option("--seed", command->options.seed, "same seed, same bytes")->capture_default_str();
  sub->add_flag("--held-out", command->held_out, "use the words that training never sees");
  sub->add_flag("--text", command->text, "add the text of each sample, for people");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
