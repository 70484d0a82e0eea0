// SPDX-License-Identifier: Apache-2.0
// asynclm-lab make-model: a model of a real shape with random weights, for measurements.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <format>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <system_error>

#include <CLI/CLI.hpp>

#include "commands/commands.h"
#include "fixtures/random_models.h"

namespace asynclm {
namespace {

struct MakeModelCommand {
  std::string shape, out;
  std::string weights = "q4_0";
  std::string words = "/usr/share/dict/words";
  std::uint64_t seed = 1;

  [[nodiscard]] int run() const;
};

int complain(const Error& error) {
  std::cerr << "asynclm-lab make-model: " << error.message << '\n';
  return kExitUsage;
}

int MakeModelCommand::run() const {
  WeightType type{};
  for (const NamedWeightType& named : kWeightTypes) {
    if (named.name == weights) type = named.type;
  }
  const auto model = bench::random_model(shape, type, words, seed);
  if (!model) return complain(model.error());
  const bool show = isatty(STDERR_FILENO) == 1;
  const auto progress = [show](double share) {
    if (show) std::cerr << std::format("\r{:3.0f} %", 100 * share) << std::flush;
  };
  const auto written = write_random_model(*model, out, progress);
  if (show) std::cerr << "\r\x1b[K";
  if (!written) return complain(written.error());
  std::error_code unknown;
  const auto bytes = static_cast<double>(std::filesystem::file_size(out, unknown));
  std::cout << std::format("{}: {:.1f} MB, {}, {}, {} tokens\n", out, unknown ? 0.0 : bytes / 1e6,
                           model->name, weights, model->tokens.texts.size());
  return kExitOk;
}

template <std::size_t kCount, class Named>
std::vector<std::string> names_of(const std::array<Named, kCount>& all) {
  std::vector<std::string> out;
  for (const Named& named : all) out.emplace_back(named.name);
  return out;
}

}  // namespace

void add_make_model_command(CLI::App& app, int& exit_code) {
  CLI::App* sub = app.add_subcommand(
      "make-model", "A model of a real shape with random weights: its speed, without meaning");
  const auto command = std::make_shared<MakeModelCommand>();
  sub->add_option("--shape", command->shape, "What it is like")
      ->required()
      ->check(CLI::IsMember(names_of(bench::kShapes)));
  sub->add_option("--quant", command->weights, "Type of the weights")
      ->check(CLI::IsMember(names_of(kWeightTypes)))
      ->capture_default_str();
  sub->add_option("--out", command->out, "GGUF file to write")->required();
  sub->add_option("--seed", command->seed, "Of the weights")->capture_default_str();
  sub->add_option("--words", command->words, "Word list that the vocabulary is made of")
      ->capture_default_str();
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
