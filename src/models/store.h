// SPDX-License-Identifier: Apache-2.0
// The model store: finds a model by its name, downloads it if it is not there, lists and removes
// what was downloaded. Nothing here prints or throws; errors say what to do.
//
// What counts as trusted: of a catalogue model the file whose SHA-256 the catalogue names, wherever
// it comes from; of other files of the hub what the hub says (the SHA-256 of big files); of other
// servers what comes over https.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/error.h>

#include "models/catalogue.h"
#include "models/hub_cache.h"
#include "models/local_models.h"
#include "models/model_name.h"
#include "models/pull_events.h"
#include "models/store_options.h"

namespace asynclm {

struct ListedModel {
  std::string name = {};
  std::filesystem::path path = {};
  std::uint64_t size = 0;  // of what is there
  std::string origin = {};
  std::string sha256 = {};
  std::size_t files = 1;
  // Part of a download; `size` is what is there of `whole` (0: not known) bytes.
  bool partial = false;
  std::uint64_t whole = 0;
};

class Store {
 public:
  // Errors: the catalogue file, HF_ENDPOINT.
  [[nodiscard]] static Result<Store> open(StoreOptions options);
  Store(Store&&) noexcept;
  Store& operator=(Store&&) = delete;
  ~Store();

  [[nodiscard]] const StoreOptions& options() const;
  [[nodiscard]] const Catalogue& catalogue() const;
  [[nodiscard]] Result<ModelName> parse(const std::string& name) const;

  // What is on this machine; asks nobody. not_found.
  [[nodiscard]] Result<ModelFile> find(const std::string& name) const;

  // find(), else pull().
  [[nodiscard]] Result<ModelFile> resolve(const std::string& name, const PullEvents& events);

  // As the hub has it now: downloads what is missing. Without a network, what is there. Where it is
  // stopped or fails, what came is kept, and the next pull goes on from there.
  [[nodiscard]] Result<ModelFile> pull(const std::string& name, const PullEvents& events);

  [[nodiscard]] std::vector<ListedModel> list() const;

  // What remove(name) would remove. invalid_argument: a path, or a name that could mean several.
  [[nodiscard]] Result<ListedModel> removable(const std::string& name) const;
  // Returns the bytes that became free: none where another name means the same bytes.
  [[nodiscard]] Result<std::uint64_t> remove(const std::string& name);

 private:
  struct Impl;
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm
