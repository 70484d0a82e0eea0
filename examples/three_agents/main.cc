// SPDX-License-Identifier: Apache-2.0
// Three agents with different tools solve one task together: they write to each other while they
// work. As a play (the default): each agent's words are given, and the runtime is real. With a
// model: whatever it makes of it.
//
//   three_agents [--trace FILE] [--model FILE]
#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asynclm/runtime.h>

#include "base/file.h"
#include "cli/json_report.h"
#include "cli/run_event.h"
#include "cli/timeline.h"
#include "cli/trace.h"
#include "fixtures/fake_engine.h"

namespace {

using namespace asynclm;

// What an agent of the play says when an interrupt with that id is in its context ("": at once).
// Until then it traps: what it waits for may come before or after it is paused.
struct Line {
  std::string awaited, words;
};

struct Agent {
  std::string name, task;
  std::vector<std::string> tools;
  std::vector<Line> part;
};

const std::vector<Agent>& agents() {
  static const std::vector<Agent> all = {
      {"planner",
       "Find out the total of stock.csv with the help of the others, and write it into the report.",
       {"write_report"},
       {{"",
         "I need the numbers first."
         "[CALL]ask[HEAD]send(to=\"reader\", text=\"Send the numbers of stock.csv to "
         "calculator.\")[END]"},
        {"agent:calculator", "[CALL]report[HEAD]write_report(total=42)[END]"},
        {"report", "The report says 42."}}},
      {"reader",
       "Read files for the others.",
       {"read_numbers"},
       {{"agent:planner", "[CALL]numbers[HEAD]read_numbers(file=\"stock.csv\")[END]"},
        {"numbers",
         "[CALL]give[HEAD]send(to=\"calculator\", text=\"12 and 30, for planner\")[END]Sent."}}},
      {"calculator",
       "Add numbers for the others.",
       {"add_numbers"},
       {{"agent:reader", "[CALL]sum[HEAD]add_numbers(first=12, second=30)[END]"},
        {"sum", "[CALL]give[HEAD]send(to=\"planner\", text=\"The total is 42.\")[END]Sent."}}},
  };
  return all;
}

ToolSpec describe(const std::string& name, const std::string& description, const Json& properties) {
  ToolSpec spec;
  spec.name = name;
  spec.description = description;
  spec.parameters = {{"type", "object"}, {"properties", properties}, {"required", Json::array()}};
  for (const auto& [key, value] : properties.items()) spec.parameters["required"].push_back(key);
  return spec;
}

Result<Toolbox> make_tools() {
  Toolbox box;
  const auto read = [](const Json& a, const std::stop_token&) -> Result<std::string> {
    if (a["file"] != "stock.csv") return fail(ErrorCode::not_found, "there is no such file");
    return "12, 30";
  };
  const auto add = [](const Json& a, const std::stop_token&) -> Result<std::string> {
    return std::to_string(a["first"].get<int>() + a["second"].get<int>());
  };
  const auto write = [](const Json& a, const std::stop_token&) -> Result<std::string> {
    return "total: " + std::to_string(a["total"].get<int>());
  };
  for (auto added :
       {box.add(describe("read_numbers", "read the numbers of a file",
                         {{"file", {{"type", "string"}}}}),
                read),
        box.add(describe("add_numbers", "add two numbers",
                         {{"first", {{"type", "integer"}}}, {"second", {{"type", "integer"}}}}),
                add),
        box.add(describe("write_report", "write the total into the report",
                         {{"total", {{"type", "integer"}}}}),
                write)}) {
    if (!added) return std::unexpected(added.error());
  }
  return box;
}

FakeScript play(const FakeVocabulary& vocabulary, const std::vector<Line>& part) {
  return [&vocabulary, &part, line = std::size_t{0}, said = std::size_t{0}](
             std::span<const Token> context, std::span<const Token> /*banned*/) mutable {
    while (line < part.size()) {
      const auto& [awaited, words] = part[line];
      const std::vector<Token> interrupt =
          encode_with_controls(vocabulary, "[INTR]" + awaited + "[HEAD]");
      if (!awaited.empty() && std::ranges::search(context, interrupt).empty()) {
        return vocabulary.control("[TRAP]");
      }
      const std::vector<Token> tokens = encode_with_controls(vocabulary, words);
      if (said < tokens.size()) return tokens[said++];
      ++line;
      said = 0;
    }
    return vocabulary.control("<|end_of_text|>");
  };
}

// An engine that plays each agent's part, in the order in which they start.
std::unique_ptr<Engine> make_stage() {
  static const FakeVocabulary vocabulary;
  FakeEngineOptions options;
  options.scripts = [next = std::size_t{0}](SequenceId) mutable {
    return play(vocabulary, agents()[next++ % agents().size()].part);
  };
  return std::make_unique<FakeEngine>(vocabulary, std::move(options));
}

int complain(const std::string& what) {
  std::cerr << "three_agents: " << what << '\n';
  return 2;
}

int run(const std::optional<std::string>& model, const std::optional<std::string>& trace) {
  auto tools = make_tools();
  if (!tools) return complain(tools.error().message);
  std::unique_ptr<Engine> engine;
  if (model) {
    std::cout
        << "The model that asynclm ships was not taught to write to others: it makes calls of "
           "its own tools, or ends. Models of other makers need --spelled-markers' prompt.\n";
    auto made = make_llama_engine({.model_path = *model});
    if (!made) return complain(made.error().message);
    engine = std::move(*made);
  } else {
    engine = make_stage();
  }
  auto runtime = Runtime::create(std::move(engine), std::move(*tools), {});
  if (!runtime) return complain(runtime.error().message);

  std::mutex mutex;  // the observers' thread writes, this one reads at the end
  std::vector<Timeline> timelines(agents().size());
  std::vector<GroupMember> members;
  for (std::size_t i = 0; i < agents().size(); ++i) {
    const Agent& agent = agents()[i];
    GroupMember member{.name = agent.name, .request = {}};
    member.request.messages = {{"user", agent.task}};
    member.request.tools = agent.tools;
    if (!model) member.request.config = {};  // a part is played token by token
    timelines[i].header.model = agent.name;
    member.request.on_event = [&, i](const Session& session, const Event& event) {
      const RunEvent happened = make_run_event(session, event);
      const std::lock_guard lock(mutex);
      timelines[i].apply(happened);
      if (happened.kind == RunEventKind::interrupt && happened.id.starts_with("agent:")) {
        std::cout << happened.id.substr(6) << " -> " << agents()[i].name << ": " << happened.text
                  << '\n';
      }
    };
    members.push_back(std::move(member));
  }
  const auto runs = (*runtime)->start_group(std::move(members));
  if (!runs) return complain(runs.error().message);
  for (std::size_t i = 0; i < runs->size(); ++i) {
    const auto report = (*runtime)->wait((*runs)[i]);
    if (!report) return complain(report.error().message);
    const std::lock_guard lock(mutex);
    std::cout << agents()[i].name << " (" << to_string(report->finish) << "): " << report->answer
              << '\n';
  }
  if (!trace) return 0;
  const std::lock_guard lock(mutex);
  Json events = Json::array();
  for (std::size_t i = 0; i < timelines.size(); ++i) {
    for (Json& event : trace_events(timelines[i], static_cast<int>(i) + 1)) {
      events.push_back(std::move(event));
    }
  }
  for (Json& arrow : message_arrows(timelines)) events.push_back(std::move(arrow));
  const auto written = replace_file(*trace, dump_json({{"traceEvents", events}}));
  return written ? 0 : complain(written.error().message);
}

}  // namespace

int main(int argc, char** argv) {
  std::optional<std::string> model, trace;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view option = argv[i];
    if (option == "--model") model = argv[i + 1];
    if (option == "--trace") trace = argv[i + 1];
    if (option != "--model" && option != "--trace") return complain("--trace FILE, --model FILE");
  }
  if (argc % 2 == 0) return complain("--trace FILE, --model FILE");
  return run(model, trace);
}
