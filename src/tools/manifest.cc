// SPDX-License-Identifier: Apache-2.0
// Toolbox::load_manifest: tools described by a JSON file.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/json_error.h"
#include "tools/toolbox.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

constexpr std::uintmax_t kMaxManifestBytes = 1024 * 1024;
constexpr std::size_t kMaxTools = 1000;
constexpr int kMaxDepth = 48;  // a schema's 32 levels lie below the tool's

std::unexpected<Error> invalid(std::string message) {
  return fail(ErrorCode::invalid_argument, std::move(message));
}

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 56) + " ...";
}

Result<std::string> read(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return fail(ErrorCode::not_found, path + ": there is no such manifest file");
  }
  if (!fs::is_regular_file(status)) return fail(ErrorCode::io, path + ": is not a file");
  const std::uintmax_t size = fs::file_size(path, error);
  if (!error && size > kMaxManifestBytes) {
    return fail(ErrorCode::limit_exceeded, path + ": has " + std::to_string(size) +
                                               " bytes, a manifest at most " +
                                               std::to_string(kMaxManifestBytes));
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(static_cast<std::size_t>(error ? 0 : size), '\0');
  if (error || !file.read(text.data(), static_cast<std::streamsize>(text.size()))) {
    return fail(ErrorCode::io, path + ": cannot be read");
  }
  return text;
}

// The parser takes the last of two equal keys without a word and any depth; neither is meant.
Result<Json> parse(const std::string& path, const std::string& text) {
  std::vector<std::set<std::string>> keys;
  std::string wrong;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(value).second && wrong.empty()) {
      wrong = "the key " + shown(value) + " stands twice in one object; remove one";
    }
    if (depth > kMaxDepth && wrong.empty()) {
      wrong = "is nested deeper than " + std::to_string(kMaxDepth) + " levels; flatten it";
    }
    return wrong.empty();
  };
  try {
    Json out = Json::parse(text, watch);
    if (!wrong.empty()) return invalid(path + ": " + wrong);
    return out;
  } catch (const Json::exception& e) {
    if (!wrong.empty()) return invalid(path + ": " + wrong);
    return invalid(path + ": " + plain_message(e));
  }
}

// One entry of "tools". `where` is "FILE: tools[i]".
class ToolReader {
 public:
  ToolReader(std::string where, fs::path folder, const Json& json)
      : where_(std::move(where)), folder_(std::move(folder)), json_(json) {}

  Result<Toolbox::Impl::Entry> read() {
    if (!json_.is_object()) return invalid(where_ + ": must be an object, got " + shown(json_));
    if (!json_.contains("name")) return invalid(where_ + ": \"name\" is missing; add it");
    if (!json_["name"].is_string()) {
      return invalid(where_ + ": \"name\" must be a string, got " + shown(json_["name"]));
    }
    spec_.name = json_["name"];
    where_ += ": tool " + shown(json_["name"]);
    static constexpr std::string_view kKeys[] = {"name",        "description", "parameters",
                                                 "estimate_ms", "timeout_ms",  "delivery",
                                                 "idempotent",  "command",     "directory"};
    for (const auto& [key, value] : json_.items()) {
      bool known = false;
      for (const std::string_view k : kKeys) known = known || k == key;
      if (!known) {
        return invalid(where_ + ": unknown key " + shown(key) +
                       "; a tool has name, description, parameters, estimate_ms, timeout_ms, "
                       "delivery, idempotent, command and directory");
      }
    }
    if (auto good = read_fields(); !good) return std::unexpected(good.error());
    return Toolbox::Impl::Entry{std::move(spec_), std::move(program_)};
  }

 private:
  std::unexpected<Error> wrong(const char* key, const char* expected) const {
    return invalid(where_ + ": \"" + key + "\" must be " + expected + ", got " + shown(json_[key]));
  }

  Result<void> read_fields() {
    if (json_.contains("description")) {
      if (!json_["description"].is_string()) return wrong("description", "a string");
      spec_.description = json_["description"];
    }
    if (json_.contains("parameters")) spec_.parameters = json_["parameters"];
    if (auto good = read_time("estimate_ms", 0, spec_.estimate); !good) return good;
    if (auto good = read_time("timeout_ms", 1, spec_.timeout); !good) return good;
    if (json_.contains("delivery")) {
      const Json& value = json_["delivery"];
      auto delivery = parse_delivery(value.is_string() ? value.get<std::string>() : "");
      if (!delivery) return wrong("delivery", "interrupt, when_idle or silent");
      spec_.delivery = *delivery;
    }
    if (json_.contains("idempotent")) {
      if (!json_["idempotent"].is_boolean()) return wrong("idempotent", "true or false");
      spec_.idempotent = json_["idempotent"];
    }
    if (auto good = read_command(); !good) return good;
    return read_directory();
  }

  Result<void> read_time(const char* key, std::int64_t minimum, std::chrono::milliseconds& out) {
    if (!json_.contains(key)) return {};
    const Json& value = json_[key];
    const double ms = value.is_number_integer() ? value.get<double>() : -1;
    if (ms < static_cast<double>(minimum) || ms > static_cast<double>(kMaxToolTime.count())) {
      return wrong(key, minimum == 0 ? "a whole number of milliseconds from 0 to 86400000"
                                     : "a whole number of milliseconds from 1 to 86400000");
    }
    out = std::chrono::milliseconds(value.get<std::int64_t>());
    return {};
  }

  Result<void> read_command() {
    if (!json_.contains("command")) {
      return invalid(where_ + ": \"command\" is missing; add [\"program\", \"argument\", ...]");
    }
    const Json& command = json_["command"];
    bool good = command.is_array() && !command.empty();
    for (std::size_t i = 0; good && i < command.size(); ++i) {
      good = command[i].is_string() && (i > 0 || !command[i].get_ref<const std::string&>().empty());
    }
    if (!good) return wrong("command", "a list of strings that begins with a program");
    program_.command.argv = command;
    program_.shown = command[0];
    if (program_.shown.find('/') == std::string::npos) return {};  // a matter of PATH
    const fs::path file = (folder_ / program_.shown).lexically_normal();
    std::error_code error;
    if (!fs::is_regular_file(file, error)) {
      return invalid(where_ + ": \"command\": there is no program " + shown(program_.shown) +
                     " (relative to the manifest's folder)");
    }
    program_.command.argv[0] = file.string();
    return {};
  }

  Result<void> read_directory() {
    fs::path directory = folder_;
    if (json_.contains("directory")) {
      if (!json_["directory"].is_string()) return wrong("directory", "a string");
      directory = (folder_ / json_["directory"].get<std::string>()).lexically_normal();
      std::error_code error;
      if (!fs::is_directory(directory, error)) {
        return invalid(where_ + ": \"directory\": there is no folder " + shown(json_["directory"]) +
                       " (relative to the manifest's folder)");
      }
    }
    program_.command.directory = directory.string();
    return {};
  }

  std::string where_;
  fs::path folder_;
  const Json& json_;
  ToolSpec spec_;
  Toolbox::Impl::Program program_;
};

}  // namespace

Result<void> Toolbox::load_manifest(const std::string& path) {
  auto text = read(path);
  if (!text) return std::unexpected(text.error());
  auto json = parse(path, *text);
  if (!json) return std::unexpected(json.error());
  const Json& root = *json;
  if (!root.is_object() || !root.contains("tools") || !root["tools"].is_array()) {
    return invalid(path + ": a manifest is an object with a list \"tools\"");
  }
  for (const auto& [key, value] : root.items()) {
    if (key != "tools") {
      return invalid(path + ": unknown key " + shown(key) + "; a manifest has only \"tools\"");
    }
  }
  if (root["tools"].size() > kMaxTools) {
    return fail(ErrorCode::limit_exceeded, path + ": has " + std::to_string(root["tools"].size()) +
                                               " tools, at most " + std::to_string(kMaxTools) +
                                               " are possible");
  }
  // Absolute, so that a later change of the process's directory changes nothing.
  std::error_code error;
  const fs::path folder = fs::absolute(path, error).parent_path();
  if (error) return fail(ErrorCode::io, path + ": " + error.message());

  std::vector<Impl::Entry> entries;
  std::set<std::string> names;
  for (std::size_t i = 0; i < root["tools"].size(); ++i) {
    const std::string where = path + ": tools[" + std::to_string(i) + "]";
    auto entry = ToolReader(where, folder, root["tools"][i]).read();
    if (!entry) return std::unexpected(entry.error());
    if (auto good = Impl::check(*entry); !good) {
      return fail(good.error().code, where + ": " + good.error().message);
    }
    const std::string& name = entry->spec.name;
    if (!names.insert(name).second || impl_->find(name) != nullptr) {
      return invalid(where + ": tool \"" + name +
                     "\": there is already a tool of this name; rename one");
    }
    entries.push_back(std::move(*entry));
  }
  for (Impl::Entry& entry : entries) impl_->entries.push_back(std::move(entry));
  return {};
}

}  // namespace asynclm
