// SPDX-License-Identifier: Apache-2.0
#include "models/store.h"

#include <algorithm>
#include <format>
#include <utility>
#include <variant>

#include "base/file.h"
#include "models/gguf_choice.h"
#include "models/http.h"
#include "models/puller.h"

namespace asynclm {
namespace {

std::string url_of(const CachedRepo& repo) {
  constexpr std::size_t kMaxUrl = 65536;
  return read_whole_file((repo.folder() / "url").string(), kMaxUrl).value_or("");
}

// All of `files` are of one model; `place` names where it comes from.
ListedModel listed(const std::vector<CachedFile>& files, std::string name, std::string origin) {
  ListedModel out{.name = std::move(name),
                  .path = files.front().place,
                  .origin = std::move(origin),
                  .sha256 = files.front().sha256(),
                  .files = files.size()};
  for (const CachedFile& file : files) out.size += file.size;
  const auto split = parse_split_name(files.front().path);
  out.partial = split && static_cast<std::size_t>(split->count) != files.size();
  return out;
}

bool is_network_error(const Error& error) {
  return error.code == ErrorCode::io || error.code == ErrorCode::overloaded;
}

}  // namespace

struct Store::Impl {
  Impl(StoreOptions given, Catalogue entries)
      : options(std::move(given)), catalogue(std::move(entries)), local(options, catalogue) {}

  [[nodiscard]] ListedModel listed_part(const std::string& repo, const CachedPart& part) const {
    const CatalogueEntry* entry = catalogue.find_hash(part.etag);
    return {.name = entry != nullptr ? entry->name : "hf:" + repo,
            .path = part.place,
            .size = part.size,
            .origin = "hf:" + repo,
            .sha256 = "",
            .partial = true,
            .whole = entry != nullptr ? entry->size : 0};
  }

  void list_repo(const std::string& name, std::vector<ListedModel>& out) const {
    const CachedRepo repo = local.hub().repo(name);
    for (const std::vector<CachedFile>& files : LocalModels::models(repo)) {
      out.push_back(listed(files, local.name_of(name, files.front()), "hf:" + name));
    }
    // The parts of other things than models are not ours.
    const bool has_models = !out.empty() && out.back().origin == "hf:" + name;
    for (const CachedPart& part : repo.parts()) {
      if (!has_models && catalogue.find_hash(part.etag) == nullptr && !name.contains("GGUF") &&
          !name.contains("gguf")) {
        continue;
      }
      out.push_back(listed_part(name, part));
    }
  }

  void list_url(const std::string& folder, std::vector<ListedModel>& out) const {
    const CachedRepo repo = local.urls().folder(folder);
    const std::string url = url_of(repo);
    for (const std::vector<CachedFile>& files : LocalModels::models(repo)) {
      out.push_back(listed(files, url, url));
    }
    for (const CachedPart& part : repo.parts()) {
      out.push_back({.name = url.empty() ? folder : url,
                     .path = part.place,
                     .size = part.size,
                     .origin = url,
                     .sha256 = "",
                     .partial = true});
    }
  }

  // The part of a download that a name means, where no model is there.
  [[nodiscard]] std::optional<CachedPart> part_of(const ModelName& name) const {
    const CachedRepo repo = repo_of(name);
    const auto* entry = std::get_if<CatalogueName>(&name);
    for (CachedPart& part : repo.parts()) {
      if (entry == nullptr || part.etag == entry->entry->sha256) return std::move(part);
    }
    return std::nullopt;
  }

  // Not of a path.
  [[nodiscard]] CachedRepo repo_of(const ModelName& name) const {
    if (const auto* entry = std::get_if<CatalogueName>(&name)) {
      return local.hub().repo(entry->entry->repo);
    }
    if (const auto* url = std::get_if<UrlName>(&name)) return local.url_repo(*url);
    return local.hub().repo(std::get<HubName>(name).repo);
  }

  [[nodiscard]] std::vector<CachedFile> files_of(const ModelName& name) const {
    if (const auto* entry = std::get_if<CatalogueName>(&name)) return local.files(*entry->entry);
    if (const auto* url = std::get_if<UrlName>(&name)) return local.files(*url);
    return local.files(std::get<HubName>(name));
  }

  StoreOptions options;
  Catalogue catalogue;
  LocalModels local;
};

Result<Store> Store::open(StoreOptions options) {
  Catalogue catalogue = Catalogue::builtin();
  if (!options.catalogue_file.empty()) {
    if (auto added = catalogue.add_file(options.catalogue_file); !added) {
      return std::unexpected(std::move(added.error()));
    }
  }
  if (const Result<Url> endpoint = parse_url(options.endpoint); !endpoint) {
    return fail(ErrorCode::invalid_argument, "HF_ENDPOINT: " + endpoint.error().message);
  }
  return Store(std::make_unique<Impl>(std::move(options), std::move(catalogue)));
}

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::Store(Store&&) noexcept = default;
Store::~Store() = default;

const StoreOptions& Store::options() const { return impl_->options; }
const Catalogue& Store::catalogue() const { return impl_->catalogue; }

Result<ModelName> Store::parse(const std::string& name) const {
  return parse_model_name(name, impl_->catalogue, impl_->options.endpoint);
}

Result<ModelFile> Store::find(const std::string& name) const {
  const Result<ModelName> parsed = parse(name);
  if (!parsed) return std::unexpected(parsed.error());
  return impl_->local.find(*parsed);
}

Result<ModelFile> Store::resolve(const std::string& name, const PullEvents& events) {
  const Result<ModelName> parsed = parse(name);
  if (!parsed) return std::unexpected(parsed.error());
  Result<ModelFile> here = impl_->local.find(*parsed);
  if (here || std::holds_alternative<PathName>(*parsed)) return here;
  return pull(name, events);
}

Result<ModelFile> Store::pull(const std::string& name, const PullEvents& events) {
  const Result<ModelName> parsed = parse(name);
  if (!parsed) return std::unexpected(parsed.error());
  const bool known = std::holds_alternative<CatalogueName>(*parsed);
  Result<ModelFile> here = impl_->local.find(*parsed);
  // The catalogue names bytes, which do not change.
  if (std::holds_alternative<PathName>(*parsed) || (known && here)) return here;
  if (impl_->options.offline) {
    if (here) return here;
    return fail(ErrorCode::not_found,
                std::format("{} is not on this machine, and nothing is downloaded offline "
                            "(--offline, HF_HUB_OFFLINE)",
                            name));
  }
  Puller puller(impl_->options, impl_->local, events);
  Result<void> pulled;
  if (const auto* entry = std::get_if<CatalogueName>(&*parsed)) {
    pulled = puller.pull(*entry->entry);
  } else if (const auto* url = std::get_if<UrlName>(&*parsed)) {
    pulled = puller.pull(*url);
  } else {
    pulled = puller.pull(std::get<HubName>(*parsed));
  }
  if (pulled) return impl_->local.find(*parsed);
  if (here && is_network_error(pulled.error())) {
    if (events.note) events.note(pulled.error().message + "; taking what is on this machine");
    return here;
  }
  return std::unexpected(std::move(pulled.error()));
}

std::vector<ListedModel> Store::list() const {
  std::vector<ListedModel> out;
  for (const std::string& repo : impl_->local.hub().repos()) impl_->list_repo(repo, out);
  for (const std::string& folder : impl_->local.urls().folders()) impl_->list_url(folder, out);
  return out;
}

Result<ListedModel> Store::removable(const std::string& name) const {
  const Result<ModelName> parsed = parse(name);
  if (!parsed) return std::unexpected(parsed.error());
  if (std::holds_alternative<PathName>(*parsed)) {
    const Result<ModelFile> file = impl_->local.find(*parsed);
    if (!file) return std::unexpected(file.error());
    return fail(ErrorCode::invalid_argument,
                std::format("{} is a file of yours; only downloaded models are removed", name));
  }
  if (const auto* hub = std::get_if<HubName>(&*parsed);
      hub != nullptr && hub->quant.empty() && hub->file.empty()) {
    const auto models = LocalModels::models(impl_->local.hub().repo(hub->repo));
    if (models.size() > 1) {
      std::string names;
      for (const auto& files : models) names += " :" + files.front().path;
      return fail(ErrorCode::invalid_argument,
                  std::format("{} has several models here; say which one:{}", name, names));
    }
  }
  if (const auto files = impl_->files_of(*parsed); !files.empty()) {
    const Result<ModelFile> model = impl_->local.find(*parsed);
    if (!model) return std::unexpected(model.error());
    return listed(files, model->name, model->origin);
  }
  if (const auto part = impl_->part_of(*parsed)) {
    ListedModel out = impl_->listed_part("", *part);
    out.name = name;
    return out;
  }
  return fail(ErrorCode::not_found, name + " is not on this machine");
}

Result<std::uint64_t> Store::remove(const std::string& name) {
  if (const Result<ListedModel> there = removable(name); !there) {
    return std::unexpected(there.error());
  }
  const Result<ModelName> parsed = parse(name);
  if (!parsed) return std::unexpected(parsed.error());
  const CachedRepo repo = impl_->repo_of(*parsed);
  const auto files = impl_->files_of(*parsed);
  std::uint64_t freed = 0;
  for (const CachedFile& file : files) {
    const auto removed = repo.remove(file.path);
    if (!removed) return removed;
    freed += *removed;
  }
  if (files.empty()) {
    if (const auto part = impl_->part_of(*parsed)) return repo.remove_part(*part);
  }
  return freed;
}

}  // namespace asynclm
