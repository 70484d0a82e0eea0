// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>

#include "models/model_name.h"
#include "models/retries.h"

namespace asynclm {

struct StoreOptions {
  std::filesystem::path hub_cache = {};  // in the layout of the Hugging Face hub
  std::filesystem::path url_cache = {};  // files of other servers; same layout
  std::string endpoint{kOfficialHub};
  std::string token = {};  // empty: none
  bool offline = false;
  std::string ca_bundle = {};       // empty: the system's
  std::string catalogue_file = {};  // empty: the built-in entries alone
  RetryPolicy retries;
  std::chrono::milliseconds connect_timeout{10'000};
  // Where there is another place to take the file from.
  std::chrono::milliseconds short_connect_timeout{4'000};
  std::chrono::seconds stall_timeout{30};
};

// What the variables say that huggingface_hub knows too, and ASYNCLM_CATALOGUE (docs/models.md).
// `variable` is std::getenv, or a test's.
[[nodiscard]] StoreOptions store_options(const std::function<const char*(const char*)>& variable);
[[nodiscard]] StoreOptions store_options_from_environment();

}  // namespace asynclm
