// SPDX-License-Identifier: Apache-2.0
// What a GGUF file says about itself, read without libllama and without its weights.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <asynclm/error.h>

namespace asynclm {

struct GgufInfo {
  std::string architecture = {};   // "qwen2"
  std::string name = {};           // general.name
  std::string licence = {};        // general.license
  std::string quantisation = {};   // "Q4_K_M"; empty: not said
  std::string tokenizer = {};      // tokenizer.ggml.model
  std::string chat_template = {};  // empty: none
  std::uint64_t parameters = 0;
  std::uint64_t tensors = 0;
  std::uint64_t context_length = 0;  // trained for; 0: not said
  std::uint64_t vocabulary = 0;      // tokens
};

// The first file's words, and the tensors of all (a split model's files). Errors name the file:
// not_found, invalid_argument (no GGUF file, or a damaged one).
[[nodiscard]] Result<GgufInfo> read_gguf_info(const std::vector<std::filesystem::path>& files);

}  // namespace asynclm
