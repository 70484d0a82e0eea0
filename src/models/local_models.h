// SPDX-License-Identifier: Apache-2.0
// What is on this machine: the part of the store that asks nobody.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <asynclm/error.h>

#include "models/catalogue.h"
#include "models/hub_cache.h"
#include "models/model_name.h"
#include "models/store_options.h"

namespace asynclm {

struct ModelFile {
  // More than one of a split model, in order. The first one is what libllama opens.
  std::vector<std::filesystem::path> paths = {};
  std::uint64_t size = 0;    // of all
  std::string sha256 = {};   // of the first; empty: not known without reading it
  std::string name = {};     // a name that finds it again
  std::string origin = {};   // "hf:ORG/REPO, commit 0123abc", a URL, "a file"
  std::string licence = {};  // empty: not known

  [[nodiscard]] std::string path() const { return paths.empty() ? "" : paths.front().string(); }
};

class LocalModels {
 public:
  // Both must outlive the object.
  LocalModels(const StoreOptions& options, const Catalogue& catalogue)
      : catalogue_(catalogue), hub_(options.hub_cache), urls_(options.url_cache) {}

  [[nodiscard]] Result<ModelFile> find(const ModelName& name) const;
  [[nodiscard]] Result<ModelFile> find(const PathName& name) const;
  [[nodiscard]] Result<ModelFile> find(const CatalogueName& name) const;
  [[nodiscard]] Result<ModelFile> find(const HubName& name) const;
  [[nodiscard]] Result<ModelFile> find(const UrlName& name) const;

  // The files of one of these models in the cache; empty: not there.
  [[nodiscard]] std::vector<CachedFile> files(const CatalogueEntry& entry) const;
  [[nodiscard]] std::vector<CachedFile> files(const HubName& name) const;
  [[nodiscard]] std::vector<CachedFile> files(const UrlName& name) const;

  // All models of a repository, each by its files; a split one that lacks some is one too.
  [[nodiscard]] static std::vector<std::vector<CachedFile>> models(const CachedRepo& repo);

  [[nodiscard]] const HubCache& hub() const { return hub_; }
  [[nodiscard]] const HubCache& urls() const { return urls_; }
  [[nodiscard]] CachedRepo url_repo(const UrlName& name) const;

  // The shortest name that finds a file of the hub again.
  [[nodiscard]] std::string name_of(const std::string& repo, const CachedFile& file) const;

 private:
  const Catalogue& catalogue_;
  HubCache hub_, urls_;
};

}  // namespace asynclm
