// SPDX-License-Identifier: Apache-2.0
// For tests: tasks that are quickly written down, and the oracle's run of one on the virtual clock.
#pragma once

#include <chrono>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <asynclm/session.h>

#include "base/test_folder.h"
#include "cml/test_vocabulary.h"
#include "fixtures/fake_engine.h"
#include "oracle/oracle.h"
#include "oracle/simulator.h"
#include "oracle/synthetic.h"
#include "oracle/task.h"

namespace asynclm {

// NAME(x: TYPE, y?: TYPE)
inline ToolSpec make_tool(std::string name, int estimate_ms, const std::string& type = "string") {
  ToolSpec tool;
  tool.name = std::move(name);
  tool.description = "a tool";
  tool.estimate = std::chrono::milliseconds(estimate_ms);
  tool.parameters = {{"type", "object"},
                     {"properties", {{"x", {{"type", type}}}, {"y", {{"type", type}}}}},
                     {"required", {"x"}}};
  return tool;
}

inline TaskCall make_call(std::string tool, Json x, int duration_ms, std::string result) {
  return {.tool = std::move(tool),
          .arguments = {{.name = "x", .value = std::move(x), .from = {}}},
          .result = {Outcome::returned, std::move(result)},
          .duration = std::chrono::milliseconds(duration_ms)};
}
inline TaskCall make_call_from(std::string tool, std::size_t from, int duration_ms,
                               std::string result) {
  TaskCall call = make_call(std::move(tool), nullptr, duration_ms, std::move(result));
  call.arguments[0].from = from;
  return call;
}

// Words of one split, of a list that is always the same.
inline WordList test_words(Split split) {
  const TemporaryFolder folder;
  const std::string path = folder.file("words");
  {
    std::ofstream file(path);
    for (char a = 'a'; a <= 'z'; ++a) {
      for (char b = 'a'; b <= 'z'; ++b) {
        for (const char* rest : {"lo", "rin", "spet"}) file << a << b << rest << '\n';
      }
    }
  }
  auto list = WordList::load(path, split);
  EXPECT_TRUE(list) << list.error().message;
  return std::move(*list);
}

// What a run of the oracle left behind.
struct OracleRun {
  std::string text;  // the context without the prompt, control tokens by their spelling
  std::string answer;
  std::vector<CallRecord> calls;
  FinishReason reason{};
  Time end{};
  std::string written;  // the tokens that the model wrote
  std::optional<Error> error;
};

// What most tests leave as it is.
struct OracleRunOptions {
  OracleHabits habits = {};
  Serving serving = {};
  std::optional<std::vector<double>> ranks = {};
};

// The session's limits are as good as none.
inline OracleRun run_oracle(Mode mode, const std::vector<ToolSpec>& tools,
                            const std::vector<Task>& tasks, const SimulationCosts& costs,
                            Policy policy = Policy::lpt, const OracleRunOptions& options = {}) {
  const Vocabulary& vocabulary = quick_vocabulary();
  const auto markers = *Markers::find(vocabulary);
  SessionConfig config;
  config.mode = mode;
  config.context_tokens = config.max_generated = 1 << 20;
  OracleRun out;
  auto session = Session::create(vocabulary, tools, {{"user", tasks.front().user}}, config);
  if (!session) {
    out.error = session.error();
    return out;
  }
  Oracle oracle(vocabulary, markers, tools, policy, kTimePerToken, options.habits);
  FakeEngine engine(vocabulary, {.context_tokens = config.context_tokens, .max_sequences = 1});
  const SequenceId sequence = *engine.create({});
  engine.script(sequence, [&](std::span<const Token>, std::span<const Token>) {
    return oracle.next(*session);
  });
  for (const Task& task : tasks) {
    if (&task != &tasks.front()) {
      if (auto added = session->interrupt("user", task.user, out.end); !added) {
        out.error = added.error();
        return out;
      }
    }
    oracle.begin(task, *session, options.ranks);
    const auto tool = [&](CallKey key, const CallRecord&) { return return_of(*oracle.call(key)); };
    const auto observer = [&](const Event& event) {
      const auto* const interrupt = std::get_if<InterruptDelivered>(&event.what);
      if (interrupt != nullptr && interrupt->id == kUserSource) oracle.hear();
    };
    const auto report =
        simulate(*session, engine, sequence, out.end, {.costs = costs, .serving = options.serving},
                 tool, observer, said_by_user(task));
    if (!report) {
      out.error = report.error();
      return out;
    }
    out.end = report->end;
    for (const std::int32_t position : report->sampled) {
      out.written += vocabulary.spelling(session->context()[static_cast<std::size_t>(position)]);
    }
  }
  const auto prompt = static_cast<std::size_t>(session->token_counts().prompt);
  out.text = spelled(vocabulary, session->context().subspan(prompt));
  out.answer = session->answer();
  out.calls = session->calls();
  out.reason = std::get<Done>(session->step()).reason;
  return out;
}

}  // namespace asynclm
