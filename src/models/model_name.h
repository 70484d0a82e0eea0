// SPDX-License-Identifier: Apache-2.0
// How a user names a model:
//   a path                                 /models/my.gguf, ./my.gguf
//   a name of the catalogue                qwen2.5-coder-1.5b
//   a repository of the Hugging Face hub   hf:ORG/REPO[@REVISION][:QUANT or :FILE.gguf]
//   an https URL                           of the hub, or of any server
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include <asynclm/error.h>

#include "models/catalogue.h"

namespace asynclm {

struct HubName {
  std::string repo = {};
  std::string revision = "main";
  // At most one is given. Without both: the quantisation that choose_gguf prefers.
  std::string quant = {}, file = {};

  // "hf:…", which parse_model_name reads again.
  [[nodiscard]] std::string text() const;
};

struct PathName {
  std::string path = {};
};
struct CatalogueName {
  const CatalogueEntry* entry = nullptr;
};
struct UrlName {
  std::string url = {};   // normalised
  std::string file = {};  // its last part
};

using ModelName = std::variant<PathName, CatalogueName, HubName, UrlName>;

// `endpoint`: the hub in use; URLs of it and of the official one are HubNames. What is of no other
// kind is a path, whether it exists or not. invalid_argument. The catalogue must outlive the name.
[[nodiscard]] Result<ModelName> parse_model_name(const std::string& text,
                                                 const Catalogue& catalogue,
                                                 const std::string& endpoint);

// What the hub allows, and nothing that could leave a folder.
[[nodiscard]] bool is_repo_name(std::string_view text);  // ORG/REPO
[[nodiscard]] bool is_revision(std::string_view text);   // a branch, tag or commit
[[nodiscard]] bool is_repo_file(std::string_view text);  // a relative path of a GGUF file

inline constexpr std::string_view kOfficialHub = "https://huggingface.co";

}  // namespace asynclm
