// SPDX-License-Identifier: Apache-2.0
#include "cli/run_options.h"

#include <charconv>
#include <filesystem>
#include <format>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "cli/assets.h"

namespace asynclm {
namespace {

// A name may have a colon: what stands behind the last one is a scale where it is a number.
Result<LoraAdapter> parse_adapter(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  LoraAdapter out{.path = text};
  if (colon == std::string::npos || std::filesystem::exists(text)) return out;
  const std::string_view number = std::string_view(text).substr(colon + 1);
  const auto [end, failed] =
      std::from_chars(number.data(), number.data() + number.size(), out.scale);
  if (failed != std::errc() || end != number.data() + number.size()) {
    return fail(
        ErrorCode::invalid_argument,
        std::format("--lora {}: '{}' is no number; write FILE or FILE:SCALE", text, number));
  }
  out.path = text.substr(0, colon);
  return out;
}

}  // namespace

CLI::Option* RunOptions::add_to(CLI::App& command) {
  command
      .add_option(
          "--model", model,
          "GGUF file, catalogue name, hf:ORG/REPO[:QUANT] or https URL; downloaded if it is "
          "not here (default: the model that asynclm ships)")
      ->option_text("MODEL");
  command.add_option("--tools", tools, "Tool manifest, JSON (default: the demo's tools)")
      ->option_text("FILE");
  CLI::Option* const mode_option =
      command.add_option("--mode", mode, "async, async+, sync or sync-parallel")
          ->check(CLI::IsMember({"async", "async+", "sync", "sync-parallel"}))
          ->option_text("MODE");
  command
      .add_option("--lora", adapters,
                  "GGUF file of a low-rank adapter, and how strongly it acts (1); several act "
                  "together")
      ->option_text("FILE[:SCALE]");
  command
      .add_option("--chat-template", chat_template,
                  "Jinja chat template, instead of the one in the model's file")
      ->option_text("FILE");
  command
      .add_option("--dialect", dialect,
                  "How the model writes calls: auto, cml, native (as its chat template says) or "
                  "generic")
      ->check(CLI::IsMember({"auto", "cml", "native", "generic"}))
      ->option_text("DIALECT");
  command
      .add_option("--calls", calls,
                  "Which forms of a call count: all (also the model's own habits) or strict (the "
                  "template's)")
      ->check(CLI::IsMember({"all", "strict"}))
      ->option_text("FORMS");
  command.add_option("--seed", sampling.seed, "Seed of the sampler")->option_text("N");
  command.add_option("--temperature", sampling.temperature, "0: always the likeliest token")
      ->option_text("T");
  command.add_option("--top-k", sampling.top_k, "Sample among the K likeliest; 0: all")
      ->option_text("K");
  command.add_option("--top-p", sampling.top_p, "Sample among this share of probability")
      ->option_text("P");
  command.add_option("--min-p", sampling.min_p, "Drop tokens below this share of the likeliest")
      ->option_text("P");
  command.add_option("--max-tokens", max_tokens, "Most tokens that the model may write in a turn")
      ->check(CLI::PositiveNumber)
      ->option_text("N");
  command
      .add_option("--threads", threads,
                  "CPU threads; 0: one for each core but one, which is left to the tools")
      ->check(CLI::NonNegativeNumber)
      ->option_text("N");
  command.add_option("--ctx", context_tokens, "Context size in tokens")
      ->check(CLI::PositiveNumber)
      ->option_text("N");
  constraint.add_to(command);
  return mode_option;
}

Result<std::string> RunOptions::find_manifest() const {
  if (tools) return *tools;
  return find_demo_tools();
}

Result<LlamaOptions> RunOptions::engine(const std::string& model_path) const {
  LlamaOptions options{.model_path = model_path, .max_sequences = 1, .threads = threads};
  if (context_tokens) options.context_tokens = *context_tokens;
  for (const std::string& adapter : adapters) {
    auto parsed = parse_adapter(adapter);
    if (!parsed) return std::unexpected(parsed.error());
    options.adapters.push_back(std::move(*parsed));
  }
  if (chat_template) {
    constexpr std::size_t kLargest = std::size_t{1} << 20;
    auto text = read_whole_file(*chat_template, kLargest);
    if (!text) return fail(text.error().code, "--chat-template: " + text.error().message);
    if (text->empty()) {
      return fail(ErrorCode::invalid_argument, "--chat-template: " + *chat_template + " is empty");
    }
    options.chat_template = std::move(*text);
  }
  return options;
}

RunRequest RunOptions::request(Mode run_mode, const EngineInfo& engine_info) const {
  RunRequest request;
  request.config = constraint.config(run_mode);
  request.config.dialect = *parse_dialect(dialect);
  request.config.strict_calls = calls == "strict";
  request.config.context_tokens = engine_info.context_tokens;
  if (max_tokens) request.config.max_generated = *max_tokens;
  request.sampling = sampling;
  return request;
}

}  // namespace asynclm
