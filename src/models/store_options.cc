// SPDX-License-Identifier: Apache-2.0
#include "models/store_options.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <system_error>

#include "base/file.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

class Variables {
 public:
  explicit Variables(const std::function<const char*(const char*)>& variable)
      : variable_(variable) {}

  // The first of them that is set and not empty.
  [[nodiscard]] std::string first(std::initializer_list<const char*> names) const {
    for (const char* name : names) {
      const char* value = variable_(name);
      if (value != nullptr && *value != '\0') return value;
    }
    return {};
  }

  // As first(), with "~" for the home folder; else `absent`.
  [[nodiscard]] fs::path folder(std::initializer_list<const char*> names,
                                const fs::path& absent) const {
    const std::string value = first(names);
    if (value.empty()) return absent;
    if (value == "~" || value.starts_with("~/")) {
      return home() / fs::path(value.substr(std::min<std::size_t>(2, value.size())));
    }
    return value;
  }

  [[nodiscard]] fs::path home() const {
    const std::string value = first({"HOME"});
    return value.empty() ? "/" : value;
  }

  [[nodiscard]] bool is_true(std::initializer_list<const char*> names) const {
    std::string value = first(names);
    for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    constexpr std::array<std::string_view, 4> kTrue = {"1", "ON", "YES", "TRUE"};
    return std::ranges::contains(kTrue, value);
  }

 private:
  const std::function<const char*(const char*)>& variable_;
};

std::string trimmed(std::string text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && is_space(text.back())) text.pop_back();
  while (!text.empty() && is_space(text.front())) text.erase(0, 1);
  return text;
}

std::string read_token(const Variables& variables, const fs::path& hub_home) {
  constexpr std::size_t kMaxToken = 4096;
  std::string token = trimmed(variables.first({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}));
  if (token.empty()) {
    const fs::path file = variables.folder({"HF_TOKEN_PATH"}, hub_home / "token");
    token = trimmed(read_whole_file(file.string(), kMaxToken).value_or(""));
  }
  // It becomes a line of a request: no other line may hide in it.
  const bool one_line = std::ranges::none_of(
      token, [](char c) { return std::iscntrl(static_cast<unsigned char>(c)) != 0; });
  return one_line ? token : "";
}

// Child programs run in another folder.
fs::path absolute_path(const fs::path& path) {
  std::error_code error;
  fs::path out = fs::absolute(path, error);
  return error ? path : out;
}

}  // namespace

StoreOptions store_options(const std::function<const char*(const char*)>& variable) {
  const Variables variables(variable);
  const fs::path cache = variables.folder({"XDG_CACHE_HOME"}, variables.home() / ".cache");
  const fs::path hub_home = variables.folder({"HF_HOME"}, cache / "huggingface");
  StoreOptions options;
  options.hub_cache =
      absolute_path(variables.folder({"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}, hub_home / "hub"));
  options.url_cache = absolute_path(cache / "asynclm" / "urls");
  if (const std::string endpoint = variables.first({"HF_ENDPOINT"}); !endpoint.empty()) {
    options.endpoint = endpoint;
  }
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  options.token = read_token(variables, hub_home);
  options.offline = variables.is_true({"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"});
  options.ca_bundle = variables.first({"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"});
  options.catalogue_file = variables.first({"ASYNCLM_CATALOGUE"});
  return options;
}

StoreOptions store_options_from_environment() {
  return store_options([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace asynclm
