// SPDX-License-Identifier: Apache-2.0
// The smallest program that embeds asynclm: one tool, one question to the installed model.
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include <asynclm/runtime.h>

namespace {

// All that can go wrong comes back as a value.
asynclm::Result<std::string> ask(const std::string& question) {
  asynclm::Toolbox tools;
  auto added =
      tools.add({.name = "weather", .description = "the weather of a city"},
                [](const asynclm::Json&, std::stop_token) { return std::string("sunny"); });
  if (!added) return std::unexpected(added.error());

  auto engine = asynclm::make_llama_engine({.model_path = MODEL, .threads = 1});
  if (!engine) return std::unexpected(engine.error());
  auto runtime = asynclm::Runtime::create(*std::move(engine), std::move(tools), {});
  if (!runtime) return std::unexpected(runtime.error());
  asynclm::RunRequest request;
  request.messages = {{.role = "user", .content = question}};
  request.config.max_generated = 64;
  auto run = (*runtime)->start(std::move(request));
  if (!run) return std::unexpected(run.error());
  auto report = (*runtime)->wait(*run);
  if (!report) return std::unexpected(report.error());
  if (report->error) return std::unexpected(*report->error);
  return report->answer;
}

}  // namespace

int main() {
  const auto answer = ask("What is the weather in Paris?");
  if (answer) {
    std::printf("answer: %s\n", answer->c_str());
    return 0;
  }
  std::printf("error: %s\n", answer.error().message.c_str());
  // Without an installed model this one error is right.
  const bool model_missing = !std::filesystem::exists(MODEL);
  return model_missing && answer.error().code == asynclm::ErrorCode::not_found ? 0 : 1;
}
