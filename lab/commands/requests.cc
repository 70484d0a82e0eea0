// SPDX-License-Identifier: Apache-2.0
// asynclm-lab requests: gives a model requests with known right calls and compares what it calls.
// Nothing is run: each call returns a canned result as soon as the model waits for it.
#include <algorithm>
#include <chrono>
#include <format>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <asynclm/session.h>

#include "bench/llama_server.h"
#include "cli/assets.h"
#include "cli/json_report.h"
#include "commands/commands.h"
#include "dialect/model_dialect.h"
#include "grammar/token_mask.h"
#include "session/monitor.h"
#include "session/native_session.h"

namespace asynclm {
namespace {

struct WantedCall {
  std::string name;
  Json accept;  // of each argument the list of right values; null: any
};

struct Sample {
  std::string id, category;
  std::vector<ToolSpec> tools = {};
  std::vector<Message> messages = {};
  std::vector<WantedCall> calls = {};
  std::map<std::string, std::string> names = {};  // as the data have them, by the tool's
};

// A function's name may have dots, which a tool's has not.
std::string tool_name(std::string name) {
  std::ranges::replace_if(name, [](char c) { return c == '.' || c == '-' || c == ' '; }, '_');
  return name;
}

ToolSpec tool_of(const Json& json, Sample& sample) {
  const Json& function = json.contains("function") ? json["function"] : json;
  ToolSpec out;
  const auto name = function.at("name").get<std::string>();
  out.name = tool_name(name);
  sample.names[out.name] = name;
  out.description = function.value("description", "");
  if (function.contains("parameters")) out.parameters = function["parameters"];
  return out;
}

WantedCall wanted(const Json& json) {
  return {tool_name(json.at("name").get<std::string>()), json.value("accept", Json::object())};
}

// Either one object {tools, requests: [{user, calls}]}, or lines {id, category, messages,
// functions, calls}.
Result<std::vector<Sample>> read_samples(const std::string& path) {
  std::ifstream file(path);
  if (!file) return fail(ErrorCode::not_found, "cannot read " + path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  std::vector<Sample> out;
  try {
    const Json whole = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (whole.is_object() && whole.contains("requests")) {
      for (const Json& request : whole["requests"]) {
        Sample sample{.id = std::format("{}", out.size() + 1), .category = "natural"};
        for (const Json& tool : whole.at("tools")) sample.tools.push_back(tool_of(tool, sample));
        sample.messages.push_back({"user", request.at("user").get<std::string>()});
        for (const Json& call : request.at("calls")) sample.calls.push_back(wanted(call));
        out.push_back(std::move(sample));
      }
      return out;
    }
    std::size_t begin = 0;
    while (begin < text.size()) {
      const std::size_t end = std::min(text.find('\n', begin), text.size());
      const std::string line = text.substr(begin, end - begin);
      begin = end + 1;
      if (line.empty()) continue;
      const Json json = Json::parse(line);
      Sample sample{.id = json.at("id").get<std::string>(),
                    .category = json.at("category").get<std::string>()};
      for (const Json& function : json.at("functions")) {
        sample.tools.push_back(tool_of(function, sample));
      }
      for (const Json& message : json.at("messages")) {
        sample.messages.push_back(
            {message.at("role").get<std::string>(), message.at("content").get<std::string>()});
      }
      for (const Json& call : json.at("calls")) sample.calls.push_back(wanted(call));
      out.push_back(std::move(sample));
    }
  } catch (const Json::exception& error) {
    return fail(ErrorCode::invalid_argument, path + ": " + error.what());
  }
  return out;
}

bool same_text(std::string_view a, std::string_view b) {
  const auto plain = [](std::string_view text) {
    std::string out;
    for (const char c : text) {
      if (!std::string_view(" ,./-_*^'\"").contains(c)) {
        out += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
      }
    }
    return out;
  };
  return plain(a) == plain(b);
}

bool same_argument(const Json& written, const Json& right) {
  if (written.is_string() && right.is_string()) {
    return same_text(written.get<std::string>(), right.get<std::string>());
  }
  if (written.is_number() && right.is_number()) {
    return written.get<double>() == right.get<double>();
  }
  if (written.is_array() && right.is_array()) {
    return std::ranges::equal(written, right, same_argument);
  }
  return written == right;
}

bool is_right(const CallRecord& call, const WantedCall& want) {
  if (call.name != want.name) return false;
  for (const auto& [name, value] : call.arguments.items()) {
    if (!want.accept.contains(name)) return false;
    const Json& accept = want.accept[name];
    if (accept.is_null()) continue;
    if (std::ranges::none_of(accept, [&, &v = value](const Json& right) {
          // BFCL gives the values of an object's members as lists of their own.
          if (v.is_object() && right.is_object()) {
            return std::ranges::all_of(v.items(), [&](const auto& item) {
              return right.contains(item.key()) &&
                     std::ranges::any_of(right[item.key()], [&](const Json& one) {
                       return same_argument(item.value(), one);
                     });
            });
          }
          return same_argument(v, right);
        })) {
      return false;
    }
  }
  return std::ranges::all_of(want.accept.items(), [&](const auto& item) {
    return call.arguments.contains(item.key()) || item.value().is_null() ||
           std::ranges::contains(item.value(), Json(""));
  });
}

bool all_right(const std::vector<CallRecord>& calls, std::vector<WantedCall> want) {
  if (calls.size() != want.size()) return false;
  for (const CallRecord& call : calls) {
    const auto found =
        std::ranges::find_if(want, [&](const WantedCall& one) { return is_right(call, one); });
    if (found == want.end()) return false;
    want.erase(found);
  }
  return true;
}

// What came of a request.
struct Made {
  std::vector<CallRecord> calls;
  std::string answer, finish;
};

struct Outcomes {
  int right = 0;
  std::chrono::duration<double> took{};
};

constexpr std::string_view kServer = "llama-server";

struct RequestsCommand {
  std::vector<std::string> data;
  std::optional<std::string> model;
  std::vector<std::string> modes = {"async"};
  std::string dialect = "auto", out_file;
  std::size_t first = 0, count = 0;
  int threads = 0, max_tokens = 256;
  bool show = false, unconstrained = false, strict = false, llama_server = false;

  [[nodiscard]] int run();
  [[nodiscard]] Result<Outcomes> run_samples(std::span<const Sample> samples,
                                             const std::string& mode);
  [[nodiscard]] Result<Made> ask_server(const Sample& sample);
  [[nodiscard]] Result<Session> run_sample(const Sample& sample, Mode mode);

  std::unique_ptr<Engine> engine;
  std::shared_ptr<const TokenTrie> trie;
  std::shared_ptr<const ModelDialect> spoken;
  SequenceId sequence = 0;
  std::vector<Token> held;  // the sequence's tokens
  std::unique_ptr<bench::LlamaServer> server;
  std::ofstream log;
};

// What the sequence holds of the beginning is kept: the tools, where they are the same ones.
Result<Session> RequestsCommand::run_sample(const Sample& sample, Mode mode) {
  const Vocabulary& vocabulary = engine->vocabulary();
  SessionConfig config{.mode = mode,
                       .dialect = *parse_dialect(dialect),
                       .strict_calls = strict,
                       .max_generated = max_tokens,
                       .context_tokens = engine->info().context_tokens,
                       .max_calls = 24,
                       .constrained = !unconstrained,
                       .jump_forward = !unconstrained,
                       .drafts = !unconstrained};
  std::shared_ptr<CallGrammar> grammar;
  if (spoken && config.constrained) {
    if (const auto options = native_grammar(*spoken, config)) {
      auto made = CallGrammar::create(vocabulary, trie, sample.tools, *options);
      if (!made) return std::unexpected(made.error());
      grammar = std::move(*made);
    }
  }
  auto session = Session::create(vocabulary, sample.tools, sample.messages, config,
                                 std::move(grammar), spoken);
  if (!session) return session;
  std::size_t same = 0;
  while (same < held.size() && same + 1 < session->context().size() &&
         held[same] == session->context()[same]) {
    ++same;
  }
  if (auto cut = engine->truncate(sequence, static_cast<std::int32_t>(same)); !cut) {
    return std::unexpected(cut.error());
  }
  const auto batch = static_cast<std::size_t>(engine->info().max_batch_tokens);
  const auto begun = std::chrono::steady_clock::now();
  std::vector<Token> sampled;
  while (true) {
    const Time now = std::chrono::steady_clock::now() - begun;
    for (const Event& event : session->take_events()) {
      if (const auto* cut = std::get_if<ContextCut>(&event.what)) {
        if (auto done = engine->truncate(sequence, cut->position); !done) {
          return std::unexpected(done.error());
        }
      }
    }
    const Step step = session->step();
    if (std::holds_alternative<Done>(step)) break;
    if (std::holds_alternative<Wait>(step)) {
      for (CallKey key = 0; key < session->calls().size(); ++key) {
        const CallRecord& call = session->calls()[key];
        if (call.dispatched && !call.outcome) {
          session->completed(key, {Outcome::returned, "done"}, now);
        }
      }
      continue;
    }
    const Decode& decode = std::get<Decode>(step);
    const auto length = static_cast<std::size_t>(engine->length(sequence));
    std::span<const Token> append = session->context().subspan(length);
    DecodeItem item{.sequence = sequence,
                    .append = append,
                    .banned = decode.banned,
                    .filter = decode.filter,
                    .draft = decode.draft};
    if (append.size() + decode.draft.size() > batch) {
      item = {.sequence = sequence,
              .append = append.first(std::min(batch, append.size())),
              .sample = false,
              .banned = {}};
      if (item.append.size() == append.size()) item.append = append.first(append.size() - 1);
    }
    sampled.assign(1 + item.draft.size(), kNoToken);
    if (auto done = engine->decode({&item, 1}, sampled); !done)
      return std::unexpected(done.error());
    if (!item.sample) continue;
    std::erase(sampled, kNoToken);
    session->decoded(sampled, now);
  }
  held.assign(session->context().begin(), session->context().end());
  held.resize(static_cast<std::size_t>(engine->length(sequence)));
  return session;
}

Result<Made> RequestsCommand::ask_server(const Sample& sample) {
  Json messages = Json::array();
  for (const Message& message : sample.messages) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  const auto answer = server->chat({{"messages", messages},
                                    {"tools", template_tools(sample.tools)},
                                    {"temperature", 0},
                                    {"parallel_tool_calls", true},
                                    {"max_tokens", max_tokens}});
  if (!answer) return std::unexpected(answer.error());
  Made made;
  try {
    const Json& choice = answer->at("choices").at(0);
    made.finish = choice.at("finish_reason").get<std::string>();
    const Json& message = choice.at("message");
    if (message.value("content", Json()).is_string()) message["content"].get_to(made.answer);
    for (const Json& call : message.value("tool_calls", Json::array())) {
      CallRecord record;
      call.at("function").at("name").get_to(record.name);
      record.arguments = Json::parse(call["function"].at("arguments").get<std::string>(), nullptr,
                                     /*allow_exceptions=*/false);
      made.calls.push_back(std::move(record));
    }
  } catch (const Json::exception& error) {
    return fail(ErrorCode::io, std::string("llama-server's answer: ") + error.what());
  }
  return made;
}

Result<Outcomes> RequestsCommand::run_samples(std::span<const Sample> samples,
                                              const std::string& mode) {
  Outcomes out;
  const auto begun = std::chrono::steady_clock::now();
  for (const Sample& sample : samples) {
    Result<Made> made = Made{};
    if (mode == kServer) {
      made = ask_server(sample);
    } else {
      const auto session = run_sample(sample, *parse_mode(mode));
      if (!session) {
        made = std::unexpected(session.error());
      } else {
        made = Made{session->calls(), std::string(session->answer()),
                    std::string(to_string(std::get<Done>(session->step()).reason))};
      }
    }
    if (!made) return fail(made.error().code, sample.id + ": " + made.error().message);
    const bool good = all_right(made->calls, sample.calls);
    out.right += good ? 1 : 0;
    Json calls = Json::array();
    for (const CallRecord& call : made->calls) {
      const auto named = sample.names.find(call.name);
      calls.push_back({{"name", named == sample.names.end() ? call.name : named->second},
                       {"arguments", call.arguments},
                       {"rejected", call.rejected}});
    }
    const Json line{
        {"id", sample.id}, {"category", sample.category}, {"mode", mode},          {"right", good},
        {"calls", calls},  {"answer", made->answer},      {"finish", made->finish}};
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (log.is_open()) log << text << '\n' << std::flush;
    if (show && !good) std::cout << text << '\n' << std::flush;
  }
  out.took = std::chrono::steady_clock::now() - begun;
  return out;
}

int RequestsCommand::run() {
  const auto failed = [](const Error& error) {
    std::cerr << "asynclm-lab requests: " << error.message << '\n';
    return kExitFailed;
  };
  std::vector<std::vector<Sample>> all;
  for (const std::string& file : data) {
    auto samples = read_samples(file);
    if (!samples) return failed(samples.error());
    const std::size_t begin = std::min(first, samples->size());
    samples->erase(samples->begin(), samples->begin() + static_cast<std::ptrdiff_t>(begin));
    if (count > 0 && count < samples->size()) samples->resize(count);
    all.push_back(std::move(*samples));
  }
  const auto path = find_model(model, [] { return false; });
  if (!path) return failed(path.error());
  auto made = make_llama_engine({.model_path = *path, .max_sequences = 1, .threads = threads});
  if (!made) return failed(made.error());
  engine = std::move(*made);
  const Vocabulary& vocabulary = engine->vocabulary();
  trie = std::make_shared<const TokenTrie>(vocabulary);
  if (!uses_cml(vocabulary, *parse_dialect(dialect))) {
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    auto found = ModelDialect::find(vocabulary, dialect == "generic", now);
    if (!found) return failed(found.error());
    spoken = std::move(*found);
  }
  const auto created = engine->create({});
  if (!created) return failed(created.error());
  sequence = *created;
  if (!out_file.empty()) {
    log.open(out_file);
    if (!log) return failed({ErrorCode::io, "cannot write " + out_file});
  }
  std::vector<std::string> arms = modes;
  if (llama_server) {
    auto started = bench::LlamaServer::start({.model_path = *path, .threads = std::max(threads, 1)},
                                             vocabulary);
    if (!started) return failed(started.error());
    server = std::move(*started);
    arms.emplace_back(kServer);
  }
  std::cout << std::format("{:<24}{:>15}{:>7}{:>7}{:>8}\n", "data", "mode", "of", "right", "s")
            << std::flush;
  for (std::size_t i = 0; i < data.size(); ++i) {
    for (const std::string& arm : arms) {
      const auto outcomes = run_samples(all[i], arm);
      if (!outcomes) return failed(outcomes.error());
      std::cout << std::format("{:<24}{:>15}{:>7}{:>7}{:>8.1f}\n",
                               data[i].substr(data[i].rfind('/') + 1), arm, all[i].size(),
                               outcomes->right, outcomes->took.count())
                << std::flush;
    }
  }
  return kExitOk;
}

}  // namespace

void add_requests_command(CLI::App& app, int& exit_code) {
  CLI::App* sub = app.add_subcommand(
      "requests", "Whether a model makes the right calls for requests with known ones");
  const auto command = std::make_shared<RequestsCommand>();
  sub->add_option("--data", command->data,
                  "Files: {tools, requests: [{user, calls}]}, or lines {id, category, messages, "
                  "functions, calls}")
      ->required();
  sub->add_option("--model", command->model, "GGUF file, or a name of the model store");
  sub->add_option("--mode", command->modes, "sync, sync-parallel, async; several are run in turn")
      ->check(CLI::IsMember({"async", "async+", "sync", "sync-parallel"}));
  sub->add_option("--dialect", command->dialect, "auto, cml, native or generic")
      ->check(CLI::IsMember({"auto", "cml", "native", "generic"}));
  sub->add_option("--first", command->first, "Begin with this sample of each file");
  sub->add_option("--count", command->count, "So many samples of each file; 0: all");
  sub->add_option("--threads", command->threads, "CPU threads");
  sub->add_option("--max-tokens", command->max_tokens, "Most tokens of a turn");
  sub->add_option("--out", command->out_file, "Write what was called, a JSON object a line");
  sub->add_flag("--unconstrained", command->unconstrained, "No grammar in calls");
  sub->add_flag("--strict", command->strict, "Calls in the template's form only");
  sub->add_flag("--llama-server", command->llama_server,
                "Ask Debian's llama-server with the same file too, in its own way");
  sub->add_flag("--show", command->show, "Print what was wrong");
  sub->callback([command, &exit_code] { exit_code = command->run(); });
}

}  // namespace asynclm
