// SPDX-License-Identifier: Apache-2.0
// Which files of a repository are the model that is meant.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/error.h>

namespace asynclm {

struct RepoFile {
  std::string path = {};  // in the repository
  std::uint64_t size = 0;
  std::string sha256 = {};  // empty: not known
};

// "model-00002-of-00003.gguf": prefix "model", 2, 3.
struct SplitName {
  std::string prefix = {};
  int number = 1, count = 1;
  [[nodiscard]] std::string file(int which) const;
};
[[nodiscard]] std::optional<SplitName> parse_split_name(std::string_view path);

// A GGUF file that can be run: no projector of images (mmproj), no importance matrix (imatrix).
[[nodiscard]] bool is_model_file(std::string_view path);

// The name of a quantisation stands in a file's name between other things than letters and digits,
// in capitals or not: "Q4_K_M" is in "x-q4_k_m.gguf", "Q4_K" is not, nor is "Q4_0" in "IQ4_0".
[[nodiscard]] bool has_quant(std::string_view path, std::string_view quant);

// What looks like a quantisation in a file's name, as it is written there; may be empty.
[[nodiscard]] std::string quant_of(std::string_view path);

// `file`, or the files of `quant`; without both Q4_K_M, else Q8_0, else the first one. Whole files
// are preferred to split ones; of a split one all parts are returned, in order. not_found: the
// message lists what there is.
[[nodiscard]] Result<std::vector<RepoFile>> choose_gguf(const std::vector<RepoFile>& files,
                                                        const std::string& quant,
                                                        const std::string& file);

}  // namespace asynclm
