// SPDX-License-Identifier: Apache-2.0
// asynclm models: what is on this machine, downloading and removing.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <format>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/json_report.h"
#include "cli/presenter.h"
#include "cli/pull_display.h"
#include "cli/stop_signals.h"
#include "cli/terminal.h"
#include "dialect/model_dialect.h"
#include "models/gguf_info.h"
#include "models/partial_file.h"
#include "models/store.h"
#include "session/native_session.h"

namespace asynclm {
namespace {

int complain_of(std::string_view command, const Error& error) {
  std::cerr << "asynclm models " << command << ": " << printable(error.message, LineBreaks::escape)
            << '\n';
  return error.code == ErrorCode::invalid_argument ? kExitUsage : kExitFailed;
}

void print_cut(const std::string& line) {
  const int columns = output_columns();
  std::cout << (columns > 0 ? cut_to_columns(line, columns) : line) << '\n';
}

Result<Store> open_store(bool offline = false) {
  StoreOptions options = store_options_from_environment();
  options.offline = options.offline || offline;
  return Store::open(std::move(options));
}

// --- pull --------------------------------------------------------------------------------------

struct PullCommand {
  std::vector<std::string> names;
  bool offline = false;

  [[nodiscard]] int run() {
    const StopSignals signals;
    Result<Store> store = open_store(offline);
    if (!store) return complain_of("pull", store.error());
    if (names.empty()) names.emplace_back(kDefaultModelName);
    for (const std::string& name : names) {
      PullDisplay display(name, [&] { return signals.stop_wanted(); });
      const Result<ModelFile> model = store->pull(name, display.events());
      display.clear();
      if (model) {
        // For scripts; all the rest goes to standard error.
        std::cout << model->path() << '\n' << std::flush;
        continue;
      }
      if (model.error().code != ErrorCode::cancelled) return complain_of("pull", model.error());
      std::cerr << "asynclm models pull: stopped; what came is kept, and the next pull of " << name
                << " goes on from there\n";
      return kExitFailed;
    }
    return kExitOk;
  }
};

// --- list --------------------------------------------------------------------------------------

struct ListCommand {
  bool json = false;

  [[nodiscard]] int run() const {
    const Result<Store> store = open_store();
    if (!store) return complain_of("list", store.error());
    const std::vector<ListedModel> models = store->list();
    if (json) {
      print_json(models);
    } else {
      print_table(*store, models);
    }
    return kExitOk;
  }

 private:
  static void print_json(const std::vector<ListedModel>& models) {
    Json all = Json::array();
    for (const ListedModel& model : models) {
      all.push_back({{"name", model.name},
                     {"path", model.path.string()},
                     {"bytes", model.size},
                     {"from", model.origin},
                     {"sha256", model.sha256.empty() ? Json() : Json(model.sha256)},
                     {"files", model.files},
                     {"partial", model.partial},
                     {"whole_bytes", model.whole > 0 ? Json(model.whole) : Json()}});
    }
    std::cout << dump_json(all, 2) << '\n';
  }

  static std::string size_text(const ListedModel& model) {
    if (!model.partial) return bytes_text(model.size);
    if (model.whole == 0) return bytes_text(model.size) + ", not complete";
    return std::format("{} of {}", bytes_text(model.size), bytes_text(model.whole));
  }

  static void print_table(const Store& store, const std::vector<ListedModel>& models) {
    std::vector<std::array<std::string, 3>> rows;
    std::uint64_t sum = 0;
    for (const ListedModel& model : models) {
      rows.push_back({printable(model.name, LineBreaks::escape), size_text(model),
                      printable(model.origin, LineBreaks::escape)});
      sum += model.size;
    }
    std::size_t name_width = 0, size_width = 0;
    for (const auto& row : rows) {
      name_width = std::max(name_width, row[0].size());
      size_width = std::max(size_width, row[1].size());
    }
    for (const auto& [name, size, origin] : rows) {
      // A name of the hub says it already.
      const bool told = name.starts_with(origin);
      print_cut(std::format("{:{}}  {:>{}}{}", name, name_width, size, size_width,
                            told ? "" : "  from " + origin));
    }
    std::cout << std::format("{}{} in {}\n", rows.empty() ? "no model" : bytes_text(sum),
                             rows.empty() ? "" : " of models", store.options().hub_cache.string());
    print_absent(store, models);
  }

  static void print_absent(const Store& store, const std::vector<ListedModel>& models) {
    for (const CatalogueEntry& entry : store.catalogue().entries()) {
      if (entry.tests_only || std::ranges::contains(models, entry.name, &ListedModel::name)) {
        continue;
      }
      print_cut(
          std::format("to be had: {} ({}; {})", entry.name, bytes_text(entry.size), entry.summary));
    }
  }
};

// --- show --------------------------------------------------------------------------------------

// What is known of a model, in the order in which it is printed.
using Facts = std::vector<std::pair<std::string, Json>>;

std::string count_text(std::uint64_t count) {
  constexpr double kThousand = 1e3, kMillion = 1e6, kBillion = 1e9;
  const auto value = static_cast<double>(count);
  if (value >= kBillion) return std::format("{:.2f} billion", value / kBillion);
  if (value >= kMillion) return std::format("{:.1f} million", value / kMillion);
  return std::format("{:.0f} thousand", value / kThousand);
}

Json or_none(const std::string& text) { return text.empty() ? Json() : Json(text); }

void add_gguf_facts(const GgufInfo& info, Facts& facts) {
  facts.emplace_back("title", or_none(info.name));
  facts.emplace_back("architecture", or_none(info.architecture));
  facts.emplace_back("parameters", info.parameters);
  facts.emplace_back("quantisation", or_none(info.quantisation));
  facts.emplace_back("context", info.context_length > 0 ? Json(info.context_length) : Json());
  facts.emplace_back("vocabulary", info.vocabulary);
  facts.emplace_back("tokenizer", or_none(info.tokenizer));
  facts.emplace_back("chat template", !info.chat_template.empty());
}

// How the model calls tools. Returns it for people, with an example.
std::string add_dialect_facts(const std::string& path, Facts& facts) {
  const auto vocabulary = load_vocabulary(path);
  if (!vocabulary) return {};
  if (uses_cml(**vocabulary, DialectChoice::automatic)) {
    facts.emplace_back("dialect", "cml");
    return {};
  }
  const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
  const auto dialect = ModelDialect::find(**vocabulary, /*generic=*/false, now);
  if (!dialect) {
    facts.emplace_back("dialect", Json());
    return std::format("\nThe dialect: {}\n", dialect.error().message);
  }
  const TemplateDialect& form = (*dialect)->form();
  facts.emplace_back("dialect", form.family);
  facts.emplace_back("calls constrained", (*dialect)->block().has_value());
  std::string untrained;
  for (const std::string& mark : (*dialect)->untrained()) {
    untrained += (untrained.empty() ? "" : " ") + mark;
  }
  if (!untrained.empty()) facts.emplace_back("untrained marks", untrained);
  return "\n" + to_string(form);
}

std::string fact_text(const std::string& name, const Json& value) {
  if (value.is_null()) return "not said";
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "none";
  if (name == "size") {
    const auto bytes = value.get<std::uint64_t>();
    return std::format("{} ({} bytes)", bytes_text(bytes), bytes);
  }
  if (name == "parameters") return count_text(value.get<std::uint64_t>());
  if (value.is_string()) return printable(value.get<std::string>(), LineBreaks::escape);
  return value.dump();
}

struct ShowCommand {
  std::string name;
  bool json = false, verify = false;

  [[nodiscard]] int run() const {
    const StopSignals signals;
    const Result<Store> store = open_store();
    if (!store) return complain_of("show", store.error());
    Result<ModelFile> model = store->find(name);
    if (!model) {
      const CatalogueEntry* entry = store->catalogue().find(name);
      if (entry == nullptr) return complain_of("show", model.error());
      print(facts_of(*entry));
      return complain_of("show", model.error());
    }
    PullDisplay display(name, [&] { return signals.stop_wanted(); });
    if (auto hashed = find_hash(*model, display); !hashed) {
      return complain_of("show", hashed.error());
    }
    display.clear();
    Facts facts = facts_of(*model);
    const Result<GgufInfo> info = read_gguf_info(model->paths);
    if (info) add_gguf_facts(*info, facts);
    if (info && model->licence.empty()) {
      *std::ranges::find(facts, "licence", &Facts::value_type::first) = {"licence",
                                                                         or_none(info->licence)};
    }
    std::string dialect;
    if (info && !info->chat_template.empty()) {
      dialect = add_dialect_facts(model->paths.front().string(), facts);
    }
    print(facts);
    if (!json) std::cout << printable(dialect, LineBreaks::keep);
    return info ? kExitOk : complain_of("show", info.error());
  }

 private:
  // Reads the files where their hash is not known, or is to be verified.
  Result<void> find_hash(ModelFile& model, PullDisplay& display) const {
    if (!model.sha256.empty() && !verify) return {};
    PullWatch watch(display.events());
    watch.begin_file(model.name, 0, model.size);
    std::error_code ignored;
    std::string first;
    for (const std::filesystem::path& path : model.paths) {
      const Result<std::string> hash = sha256_of_file(path, watch);
      if (!hash) return std::unexpected(hash.error());
      const std::string should =
          std::filesystem::weakly_canonical(path, ignored).filename().string();
      if (verify && should.size() == hash->size() && should != *hash) {
        return fail(ErrorCode::io,
                    std::format("{} is damaged: its SHA-256 is {}; remove it with 'asynclm models "
                                "rm {}' and pull it again",
                                path.string(), *hash, model.name));
      }
      if (first.empty()) first = *hash;
      if (!verify) break;
    }
    if (verify && !model.sha256.empty() && first != model.sha256) {
      return fail(ErrorCode::io, std::format("{} is not what its name promises: its SHA-256 is {}",
                                             model.path(), first));
    }
    model.sha256 = first;
    return {};
  }

  [[nodiscard]] Facts facts_of(const ModelFile& model) const {
    Facts facts = {{"name", model.name}, {"path", model.path()}};
    if (model.paths.size() > 1) facts.emplace_back("files", model.paths.size());
    facts.emplace_back("size", model.size);
    facts.emplace_back(verify ? "sha256, verified" : "sha256", or_none(model.sha256));
    facts.emplace_back("from", model.origin);
    facts.emplace_back("licence", or_none(model.licence));
    return facts;
  }

  [[nodiscard]] static Facts facts_of(const CatalogueEntry& entry) {
    return {{"name", entry.name},
            {"what", entry.summary},
            {"size", entry.size},
            {"sha256", entry.sha256},
            {"from", "hf:" + entry.repo + ":" + entry.file},
            {"licence", entry.licence}};
  }

  void print(const Facts& facts) const {
    if (json) {
      Json object = Json::object();
      for (const auto& [key, value] : facts) {
        std::string plain = key.substr(0, key.find(','));
        std::ranges::replace(plain, ' ', '_');
        object[plain] = value;
      }
      if (verify) object["verified"] = true;
      std::cout << dump_json(object, 2) << '\n';
      return;
    }
    std::size_t width = 0;
    for (const auto& [key, value] : facts) width = std::max(width, key.size());
    for (const auto& [key, value] : facts) {
      std::cout << std::format("{:{}}  {}\n", key, width, fact_text(key, value));
    }
  }
};

// --- rm ----------------------------------------------------------------------------------------

struct RemoveCommand {
  std::vector<std::string> names;
  bool yes = false;

  [[nodiscard]] int run() const {
    Result<Store> store = open_store();
    if (!store) return complain_of("rm", store.error());
    for (const std::string& name : names) {
      const Result<ListedModel> model = store->removable(name);
      if (!model) return complain_of("rm", model.error());
      if (!yes && !agreed(*model)) return kExitFailed;
      const Result<std::uint64_t> freed = store->remove(name);
      if (!freed) return complain_of("rm", freed.error());
      std::cout << std::format("removed {}: {} are free\n",
                               printable(model->name, LineBreaks::escape), bytes_text(*freed));
    }
    return kExitOk;
  }

 private:
  static bool agreed(const ListedModel& model) {
    if (isatty(STDIN_FILENO) != 1) {
      std::cerr << "asynclm models rm: nobody is here to agree; --yes does without\n";
      return false;
    }
    std::cerr << std::format("remove {} ({}, {})? [y/N] ",
                             printable(model.name, LineBreaks::escape), bytes_text(model.size),
                             model.path.string())
              << std::flush;
    std::string answer;
    std::getline(std::cin, answer);
    return answer == "y" || answer == "Y" || answer == "yes";
  }
};

constexpr const char* kNameHelp =
    "A path, a name of the catalogue, hf:ORG/REPO[:QUANT or :FILE.gguf], or an https URL";

}  // namespace

void add_models_command(CLI::App& app, int& exit_code) {
  CLI::App* models = app.add_subcommand("models", "Download, list, show and remove models");
  models->require_subcommand(1);
  models->footer(
      "Models are kept in the cache of the Hugging Face hub, where other programs find "
      "them; docs/models.md has names, variables and mirrors.");

  CLI::App* pull = models->add_subcommand("pull", "Download a model, or what of it is missing");
  const auto puller = std::make_shared<PullCommand>();
  pull->add_option("name", puller->names,
                   std::string(kNameHelp) + ". Without it: the default model")
      ->option_text("NAME...");
  pull->add_flag("--offline", puller->offline, "Download nothing; only say whether it is here");
  pull->callback([puller, &exit_code] { exit_code = puller->run(); });

  CLI::App* list = models->add_subcommand("list", "List what is on this machine");
  const auto lister = std::make_shared<ListCommand>();
  list->add_flag("--json", lister->json, "Print a JSON list");
  list->callback([lister, &exit_code] { exit_code = lister->run(); });

  CLI::App* show = models->add_subcommand("show", "Show what a model is");
  const auto shower = std::make_shared<ShowCommand>();
  show->add_option("name", shower->name, kNameHelp)->required()->option_text("NAME");
  show->add_flag("--json", shower->json, "Print a JSON object");
  show->add_flag("--verify", shower->verify, "Read the files and compare their SHA-256");
  show->callback([shower, &exit_code] { exit_code = shower->run(); });

  CLI::App* remove = models->add_subcommand("rm", "Remove downloaded models");
  const auto remover = std::make_shared<RemoveCommand>();
  remove->add_option("name", remover->names, kNameHelp)->required()->option_text("NAME...");
  remove->add_flag("--yes,-y", remover->yes, "Do not ask");
  remove->callback([remover, &exit_code] { exit_code = remover->run(); });
}

}  // namespace asynclm
