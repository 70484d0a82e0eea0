// SPDX-License-Identifier: Apache-2.0
// asynclm-lab bench bfcl: the paper's experiments (section 6), with the ways of calling functions
// that people use instead, and the distance to what no schedule can beat.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <format>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/bfcl_experiment.h"
#include "bench/bfcl_log.h"
#include "bench/llama_server.h"
#include "bench/machine.h"
#include "cli/assets.h"
#include "cli/json_report.h"
#include "cli/stop_signals.h"
#include "commands/bench_commands.h"
#include "commands/bfcl_report.h"
#include "fixtures/large_vocabulary.h"

namespace asynclm {
namespace {

// What a simulated model costs.
struct BfclSetting {
  std::string_view name, says;
  double token_ms, prefill_ms, request_ms;
  std::int64_t kv_bytes;  // of one token; 0: not known
};
// A decode step reads all weights once: 2 bytes for each of 1.24 and 3.21 thousand million
// parameters at 80 % of an RTX 4090's 1,008 GB/s. A prompt's token takes two operations a parameter
// at half of its 165 TFLOP/s. These are what the shapes allow, not measurements. KV cache: 16
// layers of 8 heads of 64, and 28 of 8 of 128, keys and values of 2 bytes.
constexpr std::array<BfclSetting, 3> kSettings = {{
    {"paper", "5 ms a token, 310 ms to the first token of a request (paper, sections 5.5 and 6)", 5,
     0, 310, 0},
    {"4090-1b", "what an RTX 4090 allows with Llama 3.2 1B", 3.1, 0.030, 0, 32'768},
    {"4090-3b", "what an RTX 4090 allows with Llama 3.2 3B", 8.0, 0.078, 0, 114'688},
}};

constexpr Token kVocabularySize = 131'072;  // about Llama 3's

// Mean running over mean writing time.
constexpr std::array<double, 9> kRatios = {0.1, 0.2, 0.35, 0.6, 1, 1.8, 3, 5.5, 10};
constexpr std::array<double, 3> kFewRatios = {0.1, 1, 10};

struct BenchBfclCommand {
  std::string data;
  std::string kind = "simulated", setting = "paper";
  std::optional<std::string> model;
  std::optional<double> token_ms, prefill_per_s, request_ms;
  std::string words = "/usr/share/dict/words";
  std::vector<std::string> workloads, arms, without;
  std::vector<std::string> parts = {"latency", "sweep", "ablation", "policies", "timeline"};
  std::vector<double> ratios;  // of the sweep
  std::int32_t context = 8192, threads = 1;
  std::optional<bool> calls_in_prompt;
  std::string server = "llama-server";
  std::optional<std::string> resume;
  bench::BfclOptions options;
  bool only_called = false, quick = false, json = false;

  [[nodiscard]] int run();

 private:
  [[nodiscard]] Result<void> open_model();
  [[nodiscard]] Result<void> open_real_engine();
  [[nodiscard]] Result<void> open_server();
  [[nodiscard]] Result<void> open_log();
  [[nodiscard]] static Json machine_json();
  [[nodiscard]] Result<void> run_parts();
  [[nodiscard]] Result<bench::BfclResults> run_arms(const std::string& title,
                                                    const bench::BfclWorkload& workload,
                                                    const std::vector<bench::BfclArm>& chosen);
  [[nodiscard]] Result<void> run_latency(const bench::BfclSource& source);
  [[nodiscard]] Result<void> run_sweep(const bench::BfclSource& source);
  [[nodiscard]] Result<void> run_ablation(const bench::BfclSource& source);
  [[nodiscard]] Result<void> run_policies(const bench::BfclSource& source);
  [[nodiscard]] Result<void> run_timeline(const bench::BfclSource& source);
  [[nodiscard]] Result<void> add(std::string_view part, const std::string& title,
                                 const bench::BfclWorkload& workload,
                                 const std::vector<bench::BfclArm>& chosen,
                                 const bench::BfclSource& source,
                                 const Json& more = Json::object());
  [[nodiscard]] Result<std::vector<bench::BfclArm>> chosen_arms() const;
  [[nodiscard]] Result<std::vector<bench::BfclArm>> find_arms(
      const std::vector<std::string>& names) const;
  [[nodiscard]] Result<bench::BfclWorkload> load(const bench::BfclSource& source) const;
  [[nodiscard]] bool wants(std::string_view workload) const;

  std::unique_ptr<bench::LargeVocabulary> large_;
  std::unique_ptr<Vocabulary> vocabulary_;
  std::optional<bench::BfclModel> bench_model_;
  std::string model_path_;
  std::optional<bench::BfclLog> log_;
  Json report_;
};

Result<void> BenchBfclCommand::open_real_engine() {
  const auto path = find_model(model);
  if (!path) return std::unexpected(path.error());
  model_path_ = *path;
  auto engine = make_llama_engine(
      {.model_path = *path, .context_tokens = context, .max_sequences = 1, .threads = threads});
  if (!engine) return std::unexpected(engine.error());
  report_["model"] = (*engine)->info().model;
  report_["model_fingerprint"] = std::format("{:016x}", (*engine)->info().fingerprint);
  report_["library"] = (*engine)->info().library;
  report_["threads"] = threads;
  report_["context"] = context;
  bench_model_ = kind == "real" ? bench::real_model(std::move(*engine))
                                : bench::forced_model(std::move(*engine));
  return {};
}

// What is said of the machine is no option of the bench: a run may go on on another day.
Json BenchBfclCommand::machine_json() {
  const bench::MachineState machine = bench::look_at_machine();
  if (machine.is_loaded) {
    std::cerr << std::format(
        "asynclm-lab bench bfcl: the machine is loaded (load {:.2f}; equal work takes {:.2f} times "
        "as "
        "long at times): the ratios of arms tell something, single times little\n",
        machine.load_average, machine.calibration_spread);
  }
  return {{"processor", machine.processor},
          {"cores", machine.cores},
          {"load_average", machine.load_average},
          {"calibration_spread", machine.calibration_spread},
          {"is_loaded", machine.is_loaded}};
}

// If one of the arms asks it.
Result<void> BenchBfclCommand::open_server() {
  const auto chosen = chosen_arms();
  if (!chosen) return std::unexpected(chosen.error());
  if (kind != "real" || std::ranges::none_of(*chosen, &bench::BfclArm::asks_server)) return {};
  auto started = bench::LlamaServer::start(
      {.program = server, .model_path = model_path_, .context_tokens = context, .threads = threads},
      bench_model_->engine->vocabulary());
  if (!started) return std::unexpected(started.error());
  bench_model_->server = std::move(*started);
  return {};
}

Result<void> BenchBfclCommand::open_log() {
  if (!resume) return {};
  Json of_log = report_;
  of_log["data"] = data;
  of_log["arms"] = arms;
  auto log = bench::BfclLog::open(*resume, of_log);
  if (!log) return std::unexpected(log.error());
  log_ = std::move(*log);
  options.log = &*log_;
  if (log_->recalled() > 0) {
    std::cerr << std::format("asynclm-lab bench bfcl: {} samples are in {}\n", log_->recalled(),
                             *resume);
  }
  return {};
}

Result<void> BenchBfclCommand::open_model() {
  report_ = {{"figure", "bfcl"}, {"version", ASYNCLM_VERSION}, {"kind", kind}};
  if (kind != "simulated") return open_real_engine();
  const BfclSetting& preset = *std::ranges::find(kSettings, setting, &BfclSetting::name);
  const double token = token_ms.value_or(preset.token_ms);
  const double prefill = prefill_per_s ? 1000 / *prefill_per_s : preset.prefill_ms;
  const double request = request_ms.value_or(preset.request_ms);
  const Vocabulary* vocabulary = nullptr;
  if (model) {
    auto loaded = load_vocabulary(*model);
    if (!loaded) return std::unexpected(loaded.error());
    vocabulary_ = std::move(*loaded);
    vocabulary = vocabulary_.get();
  } else {
    auto made = bench::LargeVocabulary::create(words, kVocabularySize);
    if (!made) return std::unexpected(made.error());
    large_ = std::make_unique<bench::LargeVocabulary>(std::move(*made));
    vocabulary = large_.get();
  }
  report_["setting"] = preset.name;
  report_["says"] = preset.says;
  report_["vocabulary"] = vocabulary->size();
  report_["token_ms"] = token;
  report_["prefill_ms_a_token"] = prefill;
  report_["request_ms"] = request;
  report_["kv_bytes_a_token"] = preset.kv_bytes;
  bench_model_ = bench::simulated_model(
      *vocabulary, {.per_token = from_ms(token), .per_appended_token = from_ms(prefill)},
      from_ms(request));
  return {};
}

Result<bench::BfclWorkload> BenchBfclCommand::load(const bench::BfclSource& source) const {
  auto workload = bench::load_bfcl(data, source);
  if (workload && only_called) bench::keep_called_tools(*workload);
  return workload;
}

bool BenchBfclCommand::wants(std::string_view workload) const {
  return workloads.empty() || std::ranges::contains(workloads, workload);
}

Result<std::vector<bench::BfclArm>> BenchBfclCommand::find_arms(
    const std::vector<std::string>& names) const {
  std::vector<bench::BfclArm> found;
  for (const std::string& name : names) {
    auto arm = bench::find_bfcl_arm(name);
    if (!arm) return std::unexpected(arm.error());
    if (arm->mode == Mode::async_plus) {
      for (const std::string& feature : without) {
        if (auto ok = bench::switch_off(feature, *arm); !ok) return std::unexpected(ok.error());
      }
    }
    found.push_back(*arm);
  }
  return found;
}

Result<std::vector<bench::BfclArm>> BenchBfclCommand::chosen_arms() const {
  if (!arms.empty()) return find_arms(arms);
  std::vector<std::string> names;
  for (const bench::BfclArm& arm : bench::kBfclArms) {
    // Where a request or a prompt's tokens take no time beyond the rest, these are the arms that
    // they are named after.
    const bool prompts_cost =
        bench_model_->how.measured || bench_model_->how.costs.per_appended_token > Time{};
    if (arm.name == "async-naive-cached" &&
        (bench_model_->per_request == Time{} || !prompts_cost)) {
      continue;
    }
    // Of a real model the context is mostly too short for it; it can be named.
    if (arm.documents && (!prompts_cost || bench_model_->how.measured)) continue;
    if ((arm.asks_server || arm.on_wall_clock) && !bench_model_->decides) continue;
    names.emplace_back(arm.name);
  }
  return find_arms(names);
}

Result<bench::BfclResults> BenchBfclCommand::run_arms(const std::string& title,
                                                      const bench::BfclWorkload& workload,
                                                      const std::vector<bench::BfclArm>& chosen) {
  bench::BfclOptions with_progress = options;
  with_progress.part = title;
  if (isatty(STDERR_FILENO) == 1) {
    with_progress.progress = [&](std::size_t done, std::size_t all) {
      constexpr std::size_t kWidth = 30;
      const std::size_t full = kWidth * done / all;
      std::cerr << std::format("\r\x1b[K[{}{}] {}/{} {}", std::string(full, '#'),
                               std::string(kWidth - full, ' '), done, all, title);
      if (done == all) std::cerr << "\r\x1b[K";
      std::cerr << std::flush;
    };
  }
  return bench::run_arms(*bench_model_, workload, chosen, with_progress);
}

// Runs, prints and reports as an element of `part`, which has `more` too.
Result<void> BenchBfclCommand::add(std::string_view part, const std::string& title,
                                   const bench::BfclWorkload& workload,
                                   const std::vector<bench::BfclArm>& chosen,
                                   const bench::BfclSource& source, const Json& more) {
  const auto results = run_arms(title, workload, chosen);
  if (!results) return std::unexpected(results.error());
  Json table = bfcl_table(*results, source, options.seed);
  table.update(more);
  if (!json) std::cout << bfcl_text(title, table) << '\n' << std::flush;
  Json& list = report_[std::string(part)];
  if (list.is_null()) list = Json::array();
  list.push_back(std::move(table));
  return {};
}

Result<void> BenchBfclCommand::run_latency(const bench::BfclSource& source) {
  const auto workload = load(source);
  if (!workload) return std::unexpected(workload.error());
  const auto chosen = chosen_arms();
  if (!chosen) return std::unexpected(chosen.error());
  return add("latency", std::string(source.name), *workload, *chosen, source);
}

// Function times are scaled so that their mean is so many times the mean time to write a call.
Result<void> BenchBfclCommand::run_sweep(const bench::BfclSource& source) {
  const auto workload = load(source);
  if (!workload) return std::unexpected(workload.error());
  const auto chosen = find_arms({"sync", "sync-parallel", "eager", "async", "async+"});
  const auto plain = find_arms({"sync"});
  if (!chosen) return std::unexpected(chosen.error());
  const auto base =
      run_arms(std::format("{}, time to write a call", source.name), *workload, *plain);
  if (!base) return std::unexpected(base.error());
  Time writing{}, running{};
  for (const bench::BfclRun& one : base->runs.front()) {
    if (!one.score.is_right()) continue;
    writing += one.writing;
    running += one.running;
  }
  if (running == Time{}) {
    return fail(ErrorCode::unsupported,
                "the model has no sample right, so no time to write a call is known");
  }
  for (const double ratio : ratios) {
    bench::BfclWorkload scaled = *workload;
    bench::scale_times(scaled, ratio * to_ms(writing) / to_ms(running));
    if (auto ok = add("sweep", std::format("{}, E/G {}", source.name, ratio), scaled, *chosen,
                      source, {{"ratio", ratio}});
        !ok) {
      return ok;
    }
  }
  return {};
}

// async+ without each of its features, and with none.
Result<void> BenchBfclCommand::run_ablation(const bench::BfclSource& source) {
  const auto workload = load(source);
  if (!workload) return std::unexpected(workload.error());
  auto chosen = find_arms({"sync", "async", "async+"});
  if (!chosen) return std::unexpected(chosen.error());
  std::array<std::string, bench::kBfclFeatures.size()> names;  // the arms refer to them
  bench::BfclArm bare = chosen->back();
  for (std::size_t i = 0; i < names.size(); ++i) {
    bench::BfclArm arm = chosen->at(2);
    arm.name = names[i] = std::format("without {}", bench::kBfclFeatures[i]);
    if (auto ok = bench::switch_off(bench::kBfclFeatures[i], arm); !ok) return ok;
    if (auto ok = bench::switch_off(bench::kBfclFeatures[i], bare); !ok) return ok;
    chosen->push_back(arm);
  }
  bare.name = "without any";
  chosen->push_back(bare);
  return add("ablation", std::format("{}, features of async+", source.name), *workload, *chosen,
             source);
}

// The orders in which the calls are written in mode async.
Result<void> BenchBfclCommand::run_policies(const bench::BfclSource& source) {
  const auto workload = load(source);
  if (!workload) return std::unexpected(workload.error());
  auto async = find_arms({"async"});
  if (!async) return std::unexpected(async.error());
  std::vector<bench::BfclArm> chosen;
  for (const NamedPolicy& policy : kPolicies) {
    chosen.push_back(async->front());
    chosen.back().name = policy.name;
    chosen.back().policy = policy.policy;
  }
  chosen.push_back(async->front());
  chosen.back().name = "random";
  chosen.back().random_order = true;
  return add("policies", std::format("{}, policies of async", source.name), *workload, chosen,
             source);
}

// A sample of middling length, in all arms.
Result<void> BenchBfclCommand::run_timeline(const bench::BfclSource& source) {
  auto workload = load(source);
  if (!workload) return std::unexpected(workload.error());
  const auto chosen = chosen_arms();
  if (!chosen) return std::unexpected(chosen.error());
  const auto calls = [](const bench::BfclSample& s) {
    return s.sequence.tasks.front().calls.size();
  };
  std::ranges::stable_sort(workload->samples, {}, calls);
  const std::size_t middle = workload->samples.size() / 2;
  workload->samples = {std::move(workload->samples[middle])};
  const auto results = run_arms(std::format("{}, timeline", source.name), *workload, *chosen);
  if (!results) return std::unexpected(results.error());
  report_["timeline"] = bfcl_timeline(*results, 0);
  report_["timeline"]["workload"] = source.name;
  return {};
}

Result<void> BenchBfclCommand::run_parts() {
  if (const auto chosen = chosen_arms(); !chosen) return std::unexpected(chosen.error());
  for (const std::string& name : workloads) {
    if (std::ranges::contains(bench::kBfclSources, name, &bench::BfclSource::name)) continue;
    std::string names;
    for (const auto& source : bench::kBfclSources) names += std::format(" {}", source.name);
    return fail(ErrorCode::invalid_argument,
                std::format("there is no workload '{}', there are:{}", name, names));
  }
  bool done = false;
  Result<void> missing = fail(ErrorCode::invalid_argument,
                              "none of the workloads has any of the parts that were asked for");
  for (const auto& source : bench::kBfclSources) {
    if (!wants(source.name)) continue;
    using Part = Result<void> (BenchBfclCommand::*)(const bench::BfclSource&);
    const bool is_main = source.name == "parallel" || source.name == "multi-step-parallel";
    const std::array<std::pair<std::string_view, Part>, 5> all = {{
        {"latency", &BenchBfclCommand::run_latency},
        {"sweep", is_main ? &BenchBfclCommand::run_sweep : nullptr},
        {"ablation", is_main ? &BenchBfclCommand::run_ablation : nullptr},
        {"policies", is_main ? &BenchBfclCommand::run_policies : nullptr},
        {"timeline",
         source.name == "multi-step-parallel" ? &BenchBfclCommand::run_timeline : nullptr},
    }};
    for (const auto& [name, part] : all) {
      if (part == nullptr || !std::ranges::contains(parts, name)) continue;
      if (auto ok = (this->*part)(source); !ok) {
        // A checkout of the leaderboard has only some of the files; some prompts are too long for
        // some models.
        const bool cannot_be =
            ok.error().code == ErrorCode::not_found || ok.error().code == ErrorCode::unsupported;
        if (!cannot_be || !workloads.empty()) return ok;
        std::cerr << std::format("asynclm-lab bench bfcl: {} is left out: {}\n", source.name,
                                 ok.error().message);
        missing = std::move(ok);
        break;
      }
      done = true;
    }
  }
  return done ? Result<void>() : missing;
}

int BenchBfclCommand::run() {
  const StopSignals signals;
  options.stop_wanted = [&] { return signals.stop_wanted(); };
  if (quick && options.samples == 0) options.samples = kind == "simulated" ? 20 : 3;
  if (ratios.empty()) {
    ratios.assign(kRatios.begin(), kRatios.end());
    if (quick) ratios.assign(kFewRatios.begin(), kFewRatios.end());
  }
  if (auto ok = open_model(); !ok) return complain_bench("bfcl", ok.error());
  if (calls_in_prompt) bench_model_->calls_in_prompt = *calls_in_prompt;
  report_["calls_in_prompt"] = bench_model_->calls_in_prompt;
  report_["seed"] = options.seed;
  report_["quick"] = quick;
  if (!quick) report_["samples"] = options.samples;
  report_["only_called_tools"] = only_called;
  report_["without"] = without;
  if (auto ok = open_log(); !ok) return complain_bench("bfcl", ok.error());
  // No options of what is in the log: parts and ratios can be added to it.
  report_["parts"] = parts;
  report_["ratios"] = ratios;
  if (kind != "simulated") report_["machine"] = machine_json();
  if (auto ok = open_server(); !ok) return complain_bench("bfcl", ok.error());
  if (auto ok = run_parts(); !ok) {
    if (ok.error().code != ErrorCode::cancelled) return complain_bench("bfcl", ok.error());
    std::cerr << (resume ? std::format("asynclm-lab bench bfcl: stopped; --resume {} goes on\n",
                                       *resume)
                         : "asynclm-lab bench bfcl: stopped; with --resume FILE it could go on\n");
    return kExitFailed;
  }
  if (json) std::cout << dump_json(report_) << '\n';
  return kExitOk;
}

}  // namespace

void add_bench_bfcl(CLI::App& bench, int& exit_code) {
  CLI::App* sub = bench.add_subcommand(
      "bfcl",
      "The paper's experiments: ways of calling functions, and how far each is from the best");
  const auto command = std::make_shared<BenchBfclCommand>();
  sub->add_option("--data", command->data,
                  "Folder of recorded calls as JSON lines (lab/oracle/recordings.h)")
      ->required();
  sub->add_option("--kind", command->kind,
                  "simulated: given costs; forced: a model decodes, its tokens are given; real: it "
                  "decodes its own")
      ->check(CLI::IsMember({"simulated", "forced", "real"}))
      ->capture_default_str();
  std::set<std::string> settings;
  for (const BfclSetting& one : kSettings) settings.emplace(one.name);
  sub->add_option("--setting", command->setting, "Costs of the simulated model")
      ->check(CLI::IsMember(settings))
      ->capture_default_str();
  sub->add_option("--token-ms", command->token_ms, "A decode step, in place of the setting's")
      ->check(CLI::Range(0.001, 10'000.0));
  sub->add_option("--prefill", command->prefill_per_s, "Prompt tokens a second, likewise")
      ->check(CLI::Range(0.1, 1e9));
  sub->add_option("--request-ms", command->request_ms, "A request beyond its tokens, likewise")
      ->check(CLI::Range(0.0, 100'000.0));
  sub->add_option("--model", command->model,
                  "GGUF file: forced, real: that decodes (default: the model that asynclm ships); "
                  "simulated: whose tokens count (default: those of a large vocabulary)");
  sub->add_option("--words", command->words, "Word list of the large vocabulary")
      ->capture_default_str();
  sub->add_option("--workload", command->workloads, "Which (default: all)")->delimiter(',');
  sub->add_option("--arms", command->arms, "Which (default: all)")->delimiter(',');
  sub->add_option(
         "--without", command->without,
         "Features of async+ to switch off: futures, order, waits, forced, drafts, pauses, "
         "path")
      ->delimiter(',');
  sub->add_option("--parts", command->parts, "Of latency, sweep, ablation, policies, timeline")
      ->delimiter(',')
      ->check(CLI::IsMember({"latency", "sweep", "ablation", "policies", "timeline"}))
      ->capture_default_str();
  sub->add_option("--ratios", command->ratios,
                  "sweep: mean running over mean writing time (default: nine from 0.1 to 10)")
      ->delimiter(',')
      ->check(CLI::Range(0.001, 1000.0));
  sub->add_option("--samples", command->options.samples, "Of each workload (0: all)")
      ->capture_default_str();
  sub->add_option("--seed", command->options.seed, "Of samples, orders and intervals")
      ->capture_default_str();
  sub->add_flag("--calls-in-prompt,!--no-calls-in-prompt", command->calls_in_prompt,
                "The prompt lists the calls, as in the paper (default: in kind real)");
  sub->add_option("--server", command->server,
                  "real: the llama-server of the arms naive-server and naive-server-cached")
      ->capture_default_str();
  sub->add_option("--resume", command->resume,
                  "File of what has been run; what is in it is not run again");
  sub->add_option("--context", command->context, "forced, real: tokens of a sample at most")
      ->check(CLI::Range(256, 1'000'000))
      ->capture_default_str();
  sub->add_option("--threads", command->threads, "forced, real: CPU threads of the engine")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  sub->add_flag("--only-called", command->only_called,
                "The prompt lists only the functions that are called, for a short context");
  sub->add_flag("--quick", command->quick, "A few samples of each workload");
  sub->add_flag("--json", command->json, "Print one JSON object (for ./dev plot)");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
