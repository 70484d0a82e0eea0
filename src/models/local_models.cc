// SPDX-License-Identifier: Apache-2.0
#include "models/local_models.h"

#include <algorithm>
#include <format>
#include <set>
#include <system_error>
#include <utility>
#include <variant>

#include "models/gguf_choice.h"
#include "models/http.h"
#include "models/sha256.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

std::vector<RepoFile> as_repo_files(const std::vector<CachedFile>& files) {
  std::vector<RepoFile> out;
  for (const CachedFile& file : files) {
    out.push_back({.path = file.path, .size = file.size, .sha256 = file.sha256()});
  }
  return out;
}

const CachedFile* find_path(const std::vector<CachedFile>& files, const std::string& path) {
  const auto found = std::ranges::find(files, path, &CachedFile::path);
  return found == files.end() ? nullptr : &*found;
}

// The chosen files in the first snapshot that has them.
std::vector<CachedFile> choose_cached(const CachedRepo& repo, const HubName& name) {
  for (const std::string& commit : repo.commits(name.revision)) {
    const std::vector<CachedFile> files = repo.files(commit);
    const auto chosen = choose_gguf(as_repo_files(files), name.quant, name.file);
    if (!chosen) continue;
    std::vector<CachedFile> out;
    for (const RepoFile& each : *chosen) out.push_back(*find_path(files, each.path));
    return out;
  }
  return {};
}

ModelFile as_model(const std::vector<CachedFile>& files) {
  ModelFile model;
  for (const CachedFile& file : files) {
    model.paths.push_back(file.place);
    model.size += file.size;
  }
  model.sha256 = files.front().sha256();
  return model;
}

std::unexpected<Error> not_here(std::string_view name) {
  return fail(
      ErrorCode::not_found,
      std::format("{} is not on this machine; 'asynclm models pull {}' downloads it", name, name));
}

}  // namespace

Result<ModelFile> LocalModels::find(const ModelName& name) const {
  return std::visit([this](const auto& each) { return find(each); }, name);
}

Result<ModelFile> LocalModels::find(const PathName& name) const {
  const auto is_file = [](const fs::path& path) {
    std::error_code ignored;
    return fs::is_regular_file(path, ignored);
  };
  if (!is_file(name.path)) {
    std::string message = std::format("there is no model file '{}'", name.path);
    if (is_repo_name(name.path)) {
      message += std::format("; a repository of the hub is written hf:{}", name.path);
    } else if (!name.path.contains('/')) {
      message += ", and no model of this name is known; known are";
      for (const CatalogueEntry& entry : catalogue_.entries()) {
        if (!entry.tests_only) message += " " + entry.name;
      }
      message += ", hf:ORG/REPO and https URLs";
    }
    return fail(ErrorCode::not_found, message);
  }
  std::vector<fs::path> paths = {name.path};
  if (const auto split = parse_split_name(name.path)) {
    paths.clear();
    for (int number = 1; number <= split->count; ++number) {
      paths.emplace_back(split->file(number));
      if (is_file(paths.back())) continue;
      return fail(ErrorCode::not_found, std::format("{} is missing: the model has {} files",
                                                    paths.back().string(), split->count));
    }
  }
  ModelFile model{.name = name.path, .origin = "a file"};
  for (const fs::path& path : paths) {
    std::error_code ignored;
    model.size += fs::file_size(path, ignored);
  }
  model.paths = std::move(paths);
  return model;
}

Result<ModelFile> LocalModels::find(const CatalogueName& name) const {
  const std::vector<CachedFile> files = this->files(*name.entry);
  if (files.empty()) return not_here(name.entry->name);
  ModelFile model = as_model(files);
  model.sha256 = name.entry->sha256;
  model.name = name.entry->name;
  model.origin = "hf:" + name.entry->repo;
  // A mirror does not say which commit it has; the snapshot then has a part of the hash as name.
  const std::string& commit = files.front().commit;
  if (!name.entry->sha256.starts_with(commit)) model.origin += ", commit " + commit;
  model.licence = name.entry->licence;
  return model;
}

Result<ModelFile> LocalModels::find(const HubName& name) const {
  const std::vector<CachedFile> files = this->files(name);
  if (files.empty()) return not_here(name.text());
  const CachedFile& first = files.front();
  ModelFile model = as_model(files);
  model.name = HubName{.repo = name.repo, .revision = name.revision, .file = first.path}.text();
  if (name.revision == "main") model.name = name_of(name.repo, first);
  model.origin = std::format("hf:{}, commit {}", name.repo, first.commit);
  if (const auto* entry = catalogue_.find_file(name.repo, first.path)) {
    model.licence = entry->licence;
  }
  return model;
}

Result<ModelFile> LocalModels::find(const UrlName& name) const {
  const std::vector<CachedFile> files = this->files(name);
  if (files.empty()) return not_here(name.url);
  ModelFile model = as_model(files);
  model.name = model.origin = name.url;
  return model;
}

std::vector<CachedFile> LocalModels::files(const CatalogueEntry& entry) const {
  const CachedRepo repo = hub_.repo(entry.repo);
  for (const std::string& commit : repo.commits("main")) {
    const std::vector<CachedFile> files = repo.files(commit);
    const CachedFile* file = find_path(files, entry.file);
    if (file == nullptr || file->size != entry.size) continue;
    // Without links the name says nothing; the size must do.
    if (file->blob == file->place || file->sha256() == entry.sha256) return {*file};
  }
  return {};
}

std::vector<CachedFile> LocalModels::files(const HubName& name) const {
  return choose_cached(hub_.repo(name.repo), name);
}

std::vector<CachedFile> LocalModels::files(const UrlName& name) const {
  return choose_cached(url_repo(name), {.repo = "", .file = name.file});
}

std::vector<std::vector<CachedFile>> LocalModels::models(const CachedRepo& repo) {
  std::vector<std::vector<CachedFile>> out;
  std::set<std::string> seen;
  for (const std::string& commit : repo.commits("main")) {
    std::vector<std::pair<std::string, std::vector<CachedFile>>> models;  // by the first's name
    for (CachedFile& file : repo.files(commit)) {
      const auto split = parse_split_name(file.path);
      const std::string first = split ? split->file(1) : file.path;
      if (seen.contains(first)) continue;
      if (models.empty() || models.back().first != first) models.push_back({first, {}});
      models.back().second.push_back(std::move(file));
    }
    for (auto& [first, files] : models) {
      seen.insert(first);
      out.push_back(std::move(files));
    }
  }
  return out;
}

CachedRepo LocalModels::url_repo(const UrlName& name) const {
  std::string host = parse_url(name.url).value_or(Url{}).host;
  for (char& c : host) {
    if (!std::string_view("abcdefghijklmnopqrstuvwxyz0123456789.").contains(c)) c = '-';
  }
  constexpr std::size_t kDigits = 16;
  return urls_.folder(std::format("url--{}--{}", host, sha256_hex(name.url).substr(0, kDigits)));
}

std::string LocalModels::name_of(const std::string& repo, const CachedFile& file) const {
  const CatalogueEntry* entry = catalogue_.find_file(repo, file.path);
  if (entry != nullptr && entry->size == file.size) return entry->name;
  return HubName{.repo = repo, .file = file.path}.text();
}

}  // namespace asynclm
