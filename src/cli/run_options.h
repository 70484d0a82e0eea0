// SPDX-License-Identifier: Apache-2.0
// What commands that run sessions on a model let their users choose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include <asynclm/runtime.h>

#include "cli/constraint_options.h"

namespace asynclm {

struct RunOptions {
  std::optional<std::string> model, tools, chat_template;
  std::string mode = "async";
  std::string dialect = "auto";
  std::string calls = "all";
  std::vector<std::string> adapters;  // FILE or FILE:SCALE
  SamplingParams sampling;
  int threads = 0;
  ConstraintOptions constraint;
  std::optional<std::int32_t> context_tokens, max_tokens;

  // Returns --mode, for other options to exclude.
  CLI::Option* add_to(CLI::App& command);

  // --tools, else the demo's.
  [[nodiscard]] Result<std::string> find_manifest() const;
  // Errors: the file of --chat-template.
  [[nodiscard]] Result<LlamaOptions> engine(const std::string& model_path) const;
  // Without messages.
  [[nodiscard]] RunRequest request(Mode mode, const EngineInfo& engine) const;
};

}  // namespace asynclm
