// SPDX-License-Identifier: Apache-2.0
// Three agents with different tools work on one task together: sessions of one runtime that write
// to each other while they work. Each message from one to another is printed as it arrives.
//
//   three_agents MODEL.gguf
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <asynclm/runtime.h>

namespace {

using asynclm::Json;
using asynclm::Result;

struct Agent {
  std::string name, task;
  std::vector<std::string> tools;
};

const std::vector<Agent> kAgents = {
    {"planner",
     "Find out the total of stock.csv with the help of the others, and write it into the report.",
     {"write_report"}},
    {"reader", "Read files for the others.", {"read_numbers"}},
    {"calculator", "Add numbers for the others.", {"add_numbers"}},
};

asynclm::ToolSpec describe(std::string name, std::string description, const Json& properties) {
  asynclm::ToolSpec spec{.name = std::move(name), .description = std::move(description)};
  spec.parameters = {{"type", "object"}, {"properties", properties}, {"required", Json::array()}};
  for (const auto& [key, value] : properties.items()) spec.parameters["required"].push_back(key);
  return spec;
}

Result<asynclm::Toolbox> make_tools() {
  const Json text = {{"type", "string"}};
  const Json number = {{"type", "integer"}};
  const auto read = [](const Json& a, const std::stop_token&) -> Result<std::string> {
    if (a["file"] == "stock.csv") return "12, 30";
    return asynclm::fail(asynclm::ErrorCode::not_found, "there is no such file");
  };
  const auto add = [](const Json& a, const std::stop_token&) -> Result<std::string> {
    return std::to_string(a["first"].get<int>() + a["second"].get<int>());
  };
  const auto write = [](const Json& a, const std::stop_token&) -> Result<std::string> {
    return "the report says " + std::to_string(a["total"].get<int>());
  };
  asynclm::Toolbox box;
  for (auto added :
       {box.add(describe("read_numbers", "read the numbers of a file", {{"file", text}}), read),
        box.add(describe("add_numbers", "add two numbers", {{"first", number}, {"second", number}}),
                add),
        box.add(describe("write_report", "write the total into the report", {{"total", number}}),
                write)}) {
    if (!added) return std::unexpected(added.error());
  }
  return box;
}

int complain(const asynclm::Error& error) {
  std::cerr << "three_agents: " << error.message << '\n';
  return 2;
}

int run(const std::string& model) {
  auto tools = make_tools();
  if (!tools) return complain(tools.error());
  auto engine = asynclm::make_llama_engine({.model_path = model});
  if (!engine) return complain(engine.error());
  auto runtime = asynclm::Runtime::create(*std::move(engine), *std::move(tools), {});
  if (!runtime) return complain(runtime.error());

  std::mutex output;  // events come on the decode thread, reports on this one
  std::vector<asynclm::GroupMember> members;
  for (const Agent& agent : kAgents) {
    asynclm::GroupMember member{.name = agent.name, .request = {}};
    member.request.messages = {{"user", agent.task}};
    member.request.tools = agent.tools;
    member.request.on_event = [&](const asynclm::Session&, const asynclm::Event& event) {
      const auto* heard = std::get_if<asynclm::InterruptDelivered>(&event.what);
      if (heard == nullptr || !heard->id.starts_with("agent:")) return;
      const std::lock_guard lock(output);
      std::cout << heard->id.substr(6) << " -> " << agent.name << ": " << heard->text << '\n';
    };
    members.push_back(std::move(member));
  }
  const auto runs = (*runtime)->start_group(std::move(members));
  if (!runs) return complain(runs.error());
  for (std::size_t i = 0; i < runs->size(); ++i) {
    const auto report = (*runtime)->wait((*runs)[i]);
    if (!report) return complain(report.error());
    const std::lock_guard lock(output);
    std::cout << kAgents[i].name << " (" << to_string(report->finish) << "): " << report->answer
              << '\n';
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2) return run(argv[1]);
  std::cerr << "usage: three_agents MODEL.gguf\n";
  return 2;
}
