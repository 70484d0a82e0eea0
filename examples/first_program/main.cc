// SPDX-License-Identifier: Apache-2.0
// The smallest program that embeds asynclm: one tool, one question.
//
//   first_program MODEL.gguf
#include <iostream>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include <asynclm/runtime.h>

namespace {

// All that can go wrong comes back as a value.
asynclm::Result<std::string> ask(const std::string& model, const std::string& question) {
  asynclm::Toolbox tools;
  asynclm::ToolSpec spec;
  spec.name = "add_numbers";
  spec.description = "add two numbers";
  spec.parameters = {
      {"type", "object"},
      {"properties", {{"first", {{"type", "integer"}}}, {"second", {{"type", "integer"}}}}},
      {"required", {"first", "second"}}};
  auto added = tools.add(
      spec, [](const asynclm::Json& a, const std::stop_token&) -> asynclm::Result<std::string> {
        return std::to_string(a["first"].get<int>() + a["second"].get<int>());
      });
  if (!added) return std::unexpected(added.error());

  auto engine = asynclm::make_llama_engine({.model_path = model});
  if (!engine) return std::unexpected(engine.error());
  auto runtime = asynclm::Runtime::create(*std::move(engine), std::move(tools), {});
  if (!runtime) return std::unexpected(runtime.error());
  asynclm::RunRequest request;
  request.messages = {{"user", question}};
  auto run = (*runtime)->start(std::move(request));
  if (!run) return std::unexpected(run.error());
  auto report = (*runtime)->wait(*run);
  if (!report) return std::unexpected(report.error());
  if (report->error) return std::unexpected(*report->error);
  return report->answer;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: first_program MODEL.gguf\n";
    return 2;
  }
  const auto answer = ask(argv[1], "Add the numbers with first 20 and second 22.");
  if (!answer) {
    std::cerr << "first_program: " << answer.error().message << '\n';
    return 1;
  }
  std::cout << *answer << '\n';
  return 0;
}
