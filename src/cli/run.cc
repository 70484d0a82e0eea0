// SPDX-License-Identifier: Apache-2.0
// asynclm run: one task on one model, in one mode or in all three.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <asynclm/runtime.h>

#include "cli/assets.h"
#include "cli/commands.h"
#include "cli/drive.h"
#include "cli/event_log.h"
#include "cli/json_report.h"
#include "cli/presenter.h"
#include "cli/run_options.h"
#include "cli/stop_signals.h"
#include "cli/summary.h"
#include "cli/trace.h"

namespace asynclm {
namespace {

struct RunCommand {
  RunOptions options;
  std::optional<std::string> trace, log;
  bool compare = false, json = false;
  std::vector<std::string> words;

  [[nodiscard]] int run();

 private:
  [[nodiscard]] Result<void> prepare();
  [[nodiscard]] Result<std::unique_ptr<Runtime>> make_runtime();
  [[nodiscard]] Result<void> compute_prompt(Runtime& runtime);
  [[nodiscard]] Result<ComparedRun> run_mode(Runtime& runtime, Mode mode);
  void print_runs(const std::vector<ComparedRun>& runs) const;

  std::string task_;
  std::string model_path_;
  Toolbox toolbox_;
  std::unique_ptr<EventLogWriter> log_;
  std::unique_ptr<TraceWriter> trace_;
  std::unique_ptr<RunSink> presenter_;
  std::unique_ptr<StopSignals> signals_;  // while run() is on
};

int complain(const Error& error, int exit_code) {
  std::cerr << "asynclm run: " << error.message << '\n';
  return exit_code;
}

// The first decode calls touch memory for the first time; none of the compared modes shall pay it.
Result<void> warm_up(Engine& engine) {
  Result<SequenceId> sequence = engine.create({});
  if (!sequence) return std::unexpected(std::move(sequence.error()));
  std::vector<Token> tokens = engine.vocabulary().encode("A few words to warm up with.");
  tokens.resize(std::min(tokens.size(), std::size_t{16}));
  Token sampled = kNoToken;
  const DecodeItem prompt{.sequence = *sequence, .append = tokens, .sample = true, .banned = {}};
  Result<void> done = engine.decode({&prompt, 1}, {&sampled, 1});
  if (done && sampled != kNoToken) {
    const DecodeItem next{
        .sequence = *sequence, .append = {&sampled, 1}, .sample = true, .banned = {}};
    Token ignored = kNoToken;
    done = engine.decode({&next, 1}, {&ignored, 1});
  }
  engine.drop(*sequence);
  return done;
}

// Everything that can be wrong with what the user gave, before the model is loaded.
Result<void> RunCommand::prepare() {
  if (auto valid = validate(options.sampling); !valid) return valid;

  Result<std::string> manifest = options.find_manifest();
  if (!manifest) return std::unexpected(std::move(manifest.error()));
  if (!options.tools && !words.empty()) {
    std::cerr << "asynclm run: no --tools given, using the demo's: " << *manifest << '\n';
  }
  if (words.empty()) {
    if (options.tools) {
      return fail(ErrorCode::invalid_argument,
                  "--tools is given, but no task: say what to do, as in asynclm run --tools FILE "
                  "\"your task\"");
    }
    Result<std::string> demo_task = read_demo_task(*manifest);
    if (!demo_task) return std::unexpected(std::move(demo_task.error()));
    task_ = *demo_task;
  }
  for (const std::string& word : words) task_ += (task_.empty() ? "" : " ") + word;
  if (auto loaded = toolbox_.load_manifest(*manifest); !loaded) return loaded;

  Result<std::string> found = find_model(options.model, [this] { return signals_->stop_wanted(); });
  if (!found) return std::unexpected(std::move(found.error()));
  model_path_ = *found;

  if (log) {
    auto opened = EventLogWriter::open(*log);
    if (!opened) return std::unexpected(std::move(opened.error()));
    log_ = std::move(*opened);
  }
  if (trace) {
    auto opened = TraceWriter::open(*trace);
    if (!opened) return std::unexpected(std::move(opened.error()));
    trace_ = std::move(*opened);
  }
  return {};
}

Result<std::unique_ptr<Runtime>> RunCommand::make_runtime() {
  const Result<LlamaOptions> engine_options = options.engine(model_path_);
  if (!engine_options) return std::unexpected(engine_options.error());
  Result<std::unique_ptr<Engine>> engine = make_llama_engine(*engine_options);
  if (!engine) return std::unexpected(std::move(engine.error()));
  if (compare) {
    if (auto warm = warm_up(**engine); !warm) return std::unexpected(std::move(warm.error()));
  }
  return Runtime::create(std::move(*engine), std::move(toolbox_), {});
}

Result<ComparedRun> RunCommand::run_mode(Runtime& runtime, Mode run_mode) {
  RunHeader header{.version = ASYNCLM_VERSION,
                   .library = runtime.engine_info().library,
                   .model = std::filesystem::path(model_path_).filename().string(),
                   .mode = run_mode,
                   .task = task_,
                   .tools = {}};
  for (const ToolSpec& tool : runtime.tools()) header.tools.push_back(tool.name);

  RunRequest request = options.request(run_mode, runtime.engine_info());
  request.messages = {{"user", task_}};

  std::vector<RunSink*> sinks;
  for (RunSink* sink :
       {presenter_.get(), static_cast<RunSink*>(log_.get()), static_cast<RunSink*>(trace_.get())}) {
    if (sink != nullptr) sinks.push_back(sink);
  }
  // Nobody reads any more when standard output is closed.
  Result<RunReport> report = drive(runtime, std::move(request), header, sinks,
                                   [this] { return signals_->stop_wanted() || !std::cout; });
  if (!report) return std::unexpected(std::move(report.error()));
  return ComparedRun{run_mode, std::move(*report)};
}

// The runtime keeps the computed beginning of prompts that come twice. Here it does so before the
// first run, so that all modes begin alike.
Result<void> RunCommand::compute_prompt(Runtime& runtime) {
  constexpr int kTwice = 2;
  if (!json) std::cerr << "asynclm run: computing the prompt, so that all modes begin alike\n";
  for (int time = 0; time < kTwice && !signals_->stop_wanted(); ++time) {
    RunRequest request = options.request(Mode::sync, runtime.engine_info());
    request.messages = {{"user", task_}};
    request.config.max_generated = 1;
    auto report = drive(runtime, std::move(request), {}, {},
                        [this] { return signals_->stop_wanted() || !std::cout; });
    if (!report) return std::unexpected(std::move(report.error()));
  }
  return {};
}

void RunCommand::print_runs(const std::vector<ComparedRun>& runs) const {
  if (json) {
    if (!compare) {
      std::cout << dump_json(report_to_json(runs.front().mode, runs.front().report), 2) << '\n';
      return;
    }
    Json all = Json::array();
    Json factors = Json::object();
    for (const ComparedRun& run : runs) {
      all.push_back(report_to_json(run.mode, run.report));
      const std::optional<double> factor = speed_up(runs, run);
      factors[std::string(to_string(run.mode))] = factor ? Json(*factor) : Json();
    }
    const Json object{
        {"runs", all}, {"same_calls", same_calls(runs)}, {"speed_up_over_sync", factors}};
    std::cout << dump_json(object, 2) << '\n';
    return;
  }
  const int columns = output_columns();
  if (!compare) {
    std::cout << '\n';
    print_answer(std::cout, runs.front().report, columns);
    std::cout << '\n';
    print_summary(std::cout, runs.front().mode, runs.front().report, columns);
    return;
  }
  for (const ComparedRun& run : runs) {
    std::cout << '\n';
    print_summary(std::cout, run.mode, run.report, columns);
    print_answer(std::cout, run.report, columns);
  }
  std::cout << '\n';
  constexpr int kPlainColumns = 100;
  for (const FrameLine& line : comparison_table(runs, columns > 0 ? columns : kPlainColumns)) {
    std::cout << line.text << '\n';
  }
  if (!same_calls(runs)) {
    std::cout << "The model did not make the same calls in each mode:\n"
                 "the times do not compare the modes alone.\n";
  }
}

int RunCommand::run() {
  signals_ = std::make_unique<StopSignals>();
  if (auto ready = prepare(); !ready) return complain(ready.error(), kExitUsage);
  std::vector<Mode> modes = {Mode::sync, Mode::sync_parallel, Mode::async};
  if (!compare) {
    const Result<Mode> chosen = parse_mode(options.mode);
    if (!chosen) return complain(chosen.error(), kExitUsage);
    modes = {*chosen};
  }
  Result<std::unique_ptr<Runtime>> runtime = make_runtime();
  if (!runtime) return complain(runtime.error(), kExitUsage);

  if (!json) presenter_ = make_presenter();
  std::vector<ComparedRun> runs;
  if (compare) {
    if (auto done = compute_prompt(**runtime); !done) return complain(done.error(), kExitUsage);
  }
  for (const Mode each : modes) {
    if (signals_->stop_wanted()) break;
    Result<ComparedRun> one = run_mode(**runtime, each);
    if (!one) return complain(one.error(), kExitUsage);
    runs.push_back(std::move(*one));
  }
  if (!runs.empty()) print_runs(runs);

  int exit_code = kExitOk;
  for (const ComparedRun& run : runs) {
    if (!task_succeeded(run.report)) exit_code = kExitFailed;
    if (json && run.report.error) complain(*run.report.error, kExitFailed);
  }
  if (signals_->stop_wanted()) {
    std::cerr << "asynclm run: stopped by a signal"
              << (runs.size() < modes.size() ? "; not all runs were made" : "") << '\n';
    exit_code = kExitFailed;
  }
  if (log_) {
    if (auto ok = log_->status(); !ok) exit_code = complain(ok.error(), kExitFailed);
  }
  if (trace_) {
    if (auto ok = trace_->write(); !ok) exit_code = complain(ok.error(), kExitFailed);
  }
  return exit_code;
}

}  // namespace

void add_run_command(CLI::App& app, int& exit_code) {
  CLI::App* run = app.add_subcommand("run", "Run a task with tools on a model");
  const auto command = std::make_shared<RunCommand>();
  run->add_option("task", command->words,
                  "What to do. Without it: the demo task of the source checkout")
      ->option_text("TASK...");
  CLI::Option* mode = command->options.add_to(*run);
  run->add_flag("--compare", command->compare, "Run all three modes and print a table")
      ->excludes(mode);
  run->add_flag("--json", command->json, "Print one JSON object instead of showing the run");
  run->add_option("--trace", command->trace, "Write a Chrome trace (open in ui.perfetto.dev)")
      ->option_text("FILE");
  run->add_option("--log", command->log, "Write the event log (show it with asynclm replay)")
      ->option_text("FILE");
  run->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
