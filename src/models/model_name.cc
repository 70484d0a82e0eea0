// SPDX-License-Identifier: Apache-2.0
#include "models/model_name.h"

#include <algorithm>
#include <cctype>
#include <format>
#include <optional>
#include <ranges>
#include <utility>
#include <vector>

#include "models/http.h"

namespace asynclm {
namespace {

constexpr std::string_view kHubPrefix = "hf:";
constexpr std::string_view kHubForm = "hf:ORG/REPO[@REVISION][:QUANT or :FILE.gguf]";

bool is_word(std::string_view text, std::string_view also) {
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || also.contains(c);
  });
}

bool ends_with_gguf(std::string_view text) {
  constexpr std::string_view kEnding = ".gguf";
  if (text.size() <= kEnding.size()) return false;
  return std::ranges::equal(text.substr(text.size() - kEnding.size()), kEnding, {},
                            [](char c) { return std::tolower(static_cast<unsigned char>(c)); });
}

// No empty part, none that is "." or "..".
bool stays_inside(std::string_view path) {
  return std::ranges::none_of(std::views::split(path, '/'), [](const auto& part) {
    const std::string_view text(part.begin(), part.end());
    return text.empty() || text == "." || text == "..";
  });
}

std::string unescape(std::string_view text) {
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape =
        text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 && digit(text[i + 2]) >= 0;
    if (!escape) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
    i += 2;
  }
  return out;
}

std::unexpected<Error> bad_name(std::string_view text, std::string_view what) {
  return fail(ErrorCode::invalid_argument, std::format("'{}': {}", text, what));
}

// Without "hf:".
Result<ModelName> parse_hub_name(std::string_view text, std::string_view rest) {
  HubName name;
  std::string_view choice;
  // The last part may have colons of its own, the ones before it none.
  if (const auto colon = rest.find(':'); colon != rest.npos) {
    choice = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
    if (choice.empty()) return bad_name(text, "after the colon a QUANT or FILE.gguf is missing");
  }
  if (const auto at = rest.find('@'); at != rest.npos) {
    name.revision = rest.substr(at + 1);
    rest = rest.substr(0, at);
  }
  name.repo = rest;
  if (!is_repo_name(name.repo)) {
    return bad_name(text, std::format("'{}' is no repository; write {}", name.repo, kHubForm));
  }
  if (!is_revision(name.revision)) {
    return bad_name(text, std::format("'{}' is no branch, tag or commit", name.revision));
  }
  if (ends_with_gguf(choice)) {
    if (!is_repo_file(choice)) return bad_name(text, std::format("'{}' is no file name", choice));
    name.file = choice;
  } else if (!choice.empty()) {
    if (!is_word(choice, "_-.")) {
      return bad_name(text, std::format("'{}' is neither a quantisation such as Q4_K_M nor a file "
                                        "that ends in .gguf",
                                        choice));
    }
    name.quant = choice;
  }
  return name;
}

// ORG/REPO/resolve/REVISION/FILE (also "blob", as in the hub's pages), or ORG/REPO.
std::optional<HubName> hub_name_of_path(std::string_view path) {
  std::vector<std::string> parts;
  for (const auto& part : std::views::split(path, '/')) {
    if (!part.empty()) parts.push_back(unescape({part.begin(), part.end()}));
  }
  constexpr std::size_t kRepo = 2, kFile = 4;
  if (parts.size() < kRepo) return std::nullopt;
  HubName name{.repo = parts[0] + "/" + parts[1]};
  if (!is_repo_name(name.repo)) return std::nullopt;
  if (parts.size() == kRepo) return name;
  if (parts.size() <= kFile || (parts[2] != "resolve" && parts[2] != "blob")) return std::nullopt;
  name.revision = parts[3];
  for (std::size_t i = kFile; i < parts.size(); ++i) {
    name.file += (name.file.empty() ? "" : "/") + parts[i];
  }
  if (!is_revision(name.revision) || !is_repo_file(name.file)) return std::nullopt;
  return name;
}

Result<ModelName> parse_url_name(const std::string& text, const std::string& endpoint) {
  const Result<Url> url = parse_url(text);
  if (!url) return std::unexpected(url.error());
  for (const std::string& hub : {endpoint, std::string(kOfficialHub)}) {
    const Result<Url> base = parse_url(hub);
    if (!base || base->origin() != url->origin()) continue;
    std::string_view path = url->path;
    const std::string_view folder = base->path == "/" ? std::string_view() : base->path;
    if (!path.starts_with(folder)) continue;
    if (auto name = hub_name_of_path(path.substr(folder.size()))) return *name;
  }
  UrlName name{.url = url->text, .file = unescape(url->path)};
  name.file.erase(0, name.file.rfind('/') + 1);
  if (!is_repo_file(name.file)) {
    return bad_name(text, "the path of the URL must end with the name of a GGUF file");
  }
  return name;
}

}  // namespace

std::string HubName::text() const {
  const std::string choice = file.empty() ? quant : file;
  return std::format("hf:{}{}{}{}{}", repo, revision == "main" ? "" : "@",
                     revision == "main" ? "" : revision, choice.empty() ? "" : ":", choice);
}

Result<ModelName> parse_model_name(const std::string& text, const Catalogue& catalogue,
                                   const std::string& endpoint) {
  if (text.empty()) return fail(ErrorCode::invalid_argument, "the name of the model is empty");
  if (text.starts_with(kHubPrefix)) {
    return parse_hub_name(text, std::string_view(text).substr(kHubPrefix.size()));
  }
  if (text.starts_with("https://") || text.starts_with("http://")) {
    return parse_url_name(text, endpoint);
  }
  if (const CatalogueEntry* entry = catalogue.find(text)) return CatalogueName{entry};
  return PathName{text};
}

bool is_repo_name(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  const auto slash = text.find('/');
  if (slash == text.npos || text.size() > kLongest) return false;
  // "--" stands for the slash in the names of the cache's folders.
  if (text.contains("--") || text.contains("..")) return false;
  const auto good = [](std::string_view part) {
    return is_word(part, "-_.") && part.front() != '.' && part.front() != '-';
  };
  return good(text.substr(0, slash)) && good(text.substr(slash + 1));
}

bool is_revision(std::string_view text) {
  constexpr std::size_t kLongest = 200;
  return text.size() <= kLongest && is_word(text, "-_./") && stays_inside(text) &&
         text.front() != '-';
}

bool is_repo_file(std::string_view text) {
  constexpr std::size_t kLongest = 1000;
  const bool control = std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f' || c == '\\'; });
  return text.size() <= kLongest && !control && ends_with_gguf(text) && stays_inside(text);
}

}  // namespace asynclm
