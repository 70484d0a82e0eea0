// SPDX-License-Identifier: Apache-2.0
// libllama as a whole: loading its backends, its version, its log, and looking at a model file
// before libllama does. Only files named llama_* include libllama's headers; this one needs none.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <asynclm/error.h>

namespace asynclm {

// The versions that this code was written for and measured with. Neither library promises anything
// between 0.x versions, so newer ones are tried and named in EngineInfo::library.
inline constexpr std::string_view kLlamaTested = "0.7.0";
inline constexpr std::string_view kGgmlTested = "0.27.0";

// What EngineInfo::library says: "libllama 0.7.0, ggml 0.27.0"; a version other than the tested one
// is followed by "(tested with 0.7.0)". unsupported: another major version, an older one than
// tested, or another minor version than `built_with` (empty: not known), because libllama passes
// structs by value and keeps its library name when they change.
[[nodiscard]] Result<std::string> check_llama_versions(std::string_view llama,
                                                       std::string_view ggml,
                                                       std::string_view built_with);

// Silences libllama, checks its version and loads its backends, once for the process. Returns
// what EngineInfo::library says. Thread-safe.
[[nodiscard]] Result<std::string> start_llama_library();

// libllama's error lines on this thread since the object was made, for Error::message. Nothing
// else reads them, so several engines in several threads do not mix theirs.
class LlamaErrorLines {
 public:
  LlamaErrorLines();
  LlamaErrorLines(const LlamaErrorLines&) = delete;
  LlamaErrorLines& operator=(const LlamaErrorLines&) = delete;

  // ": line; line", or nothing if libllama had nothing to say.
  [[nodiscard]] std::string text() const;
};

// Refuses what libllama would answer with abort() or with words that do not name the cause: no such
// file, no GGUF file, no vocabulary in it, two tokens of the same text.
[[nodiscard]] Result<void> check_model_file(const std::string& path);

}  // namespace asynclm
