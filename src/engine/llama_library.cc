// SPDX-License-Identifier: Apache-2.0
#include "engine/llama_library.h"

#include <array>
#include <charconv>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <format>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <system_error>
#include <unordered_map>

#include <llama.h>

namespace asynclm {
namespace {

#ifdef ASYNCLM_LLAMA_BUILT_WITH
constexpr std::string_view kBuiltWith = ASYNCLM_LLAMA_BUILT_WITH;
#else
constexpr std::string_view kBuiltWith;
#endif

// Enough for the chain of causes that libllama logs for one failed call.
constexpr std::size_t kMaxLogBytes = 1024;

struct ThreadLog {
  std::string lines;
  bool in_error = false;  // continuation lines belong to an error
};

ThreadLog& thread_log() {
  thread_local ThreadLog log;
  return log;
}

// Called by libllama on any thread, also from C code: must not throw.
void keep_errors(ggml_log_level level, const char* text, void* /*user_data*/) noexcept {
  try {
    ThreadLog& log = thread_log();
    if (level != GGML_LOG_LEVEL_CONT) log.in_error = level == GGML_LOG_LEVEL_ERROR;
    if (!log.in_error || text == nullptr) return;
    log.lines += text;
    if (log.lines.size() > kMaxLogBytes) log.lines.erase(0, log.lines.size() - kMaxLogBytes);
  } catch (...) {  // out of memory: the line is lost
  }
}

struct Version {
  int major = 0;
  int minor = 0;
  int patch = 0;
  auto operator<=>(const Version&) const = default;
};

// "0.7.0", maybe followed by "-dirty" or a build number.
std::optional<Version> parse_version(std::string_view text) {
  std::array<int, 3> parts{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) {
      if (at == end || *at != '.') return std::nullopt;
      ++at;
    }
    const auto [next, error] = std::from_chars(at, end, parts[i]);
    if (error != std::errc{}) return std::nullopt;
    at = next;
  }
  return Version{parts[0], parts[1], parts[2]};
}

Result<std::string> check_version(std::string_view library, std::string_view found,
                                  std::string_view tested) {
  const std::optional<Version> have = parse_version(found);
  const std::optional<Version> want = parse_version(tested);
  if (!have || !want) {
    return fail(
        ErrorCode::unsupported,
        std::format("{} calls its version \"{}\", which asynclm cannot read; it needs {} or "
                    "a newer 0.x",
                    library, found, tested));
  }
  if (have->major != want->major || *have < *want) {
    return fail(
        ErrorCode::unsupported,
        std::format("the {} that was loaded has version {}, but asynclm needs {} or a newer "
                    "0.x of it: install that library, or put it first in the library path",
                    library, found, tested));
  }
  if (found == tested) return std::format("{} {}", library, found);
  return std::format("{} {} (tested with {})", library, found, tested);
}

struct GgufCloser {
  void operator()(gguf_context* file) const { gguf_free(file); }
};
using Gguf = std::unique_ptr<gguf_context, GgufCloser>;

// libllama falls back to the token that old Llama models had there, in whatever vocabulary.
bool names_end_token(const gguf_context& file, std::size_t vocabulary_size) {
  for (const char* name : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    const std::int64_t key = gguf_find_key(&file, name);
    if (key >= 0 && gguf_get_kv_type(&file, key) == GGUF_TYPE_UINT32 &&
        gguf_get_val_u32(&file, key) < vocabulary_size) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<std::string> check_llama_versions(std::string_view llama, std::string_view ggml,
                                         std::string_view built_with) {
  Result<std::string> llama_text = check_version("libllama", llama, kLlamaTested);
  if (!llama_text) return llama_text;
  Result<std::string> ggml_text = check_version("ggml", ggml, kGgmlTested);
  if (!ggml_text) return ggml_text;
  const std::optional<Version> built = parse_version(built_with);
  const std::optional<Version> have = parse_version(llama);
  if (built && have && (built->major != have->major || built->minor != have->minor)) {
    return fail(ErrorCode::unsupported,
                std::format("asynclm was built with libllama {}, but libllama {} was loaded; its "
                            "interface may differ: build asynclm again, or put the other library "
                            "first in the library path",
                            built_with, llama));
  }
  return *llama_text + ", " + *ggml_text;
}

Result<std::string> start_llama_library() {
  // Initialised once; later callers wait, then share the result.
  static const Result<std::string> result = []() -> Result<std::string> {
    Result<std::string> text = check_llama_versions(llama_version(), ggml_version(), kBuiltWith);
    if (!text) return text;
    llama_log_set(keep_errors, nullptr);
    ggml_backend_load_all();
    llama_backend_init();
    return text;
  }();
  return result;
}

LlamaErrorLines::LlamaErrorLines() { thread_log() = {}; }

std::string LlamaErrorLines::text() const {
  std::string_view lines = thread_log().lines;
  std::string out;
  while (!lines.empty()) {
    const std::size_t end = lines.find('\n');
    const std::string_view line = lines.substr(0, end);
    if (!line.empty()) (out += out.empty() ? ": " : "; ") += line;
    if (end == std::string_view::npos) break;
    lines.remove_prefix(end + 1);
  }
  return out;
}

Result<void> check_model_file(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return fail(ErrorCode::not_found, std::format("model file {} does not exist", path));
  }
  if (!std::filesystem::is_regular_file(status)) {
    return fail(ErrorCode::invalid_argument,
                std::format("model file {} is not a file; name the .gguf file itself", path));
  }
  std::array<char, 4> magic{};
  std::ifstream in(path, std::ios::binary);
  if (!in) return fail(ErrorCode::io, std::format("model file {} cannot be opened", path));
  in.read(magic.data(), magic.size());
  if (!in || std::string_view(magic.data(), magic.size()) != GGUF_MAGIC) {
    return fail(ErrorCode::invalid_argument,
                std::format("model file {} is not a GGUF file; convert the model to GGUF", path));
  }
  in.close();

  const LlamaErrorLines errors;
  const Gguf file(gguf_init_from_file(path.c_str(), {.no_alloc = true, .ctx = nullptr}));
  if (!file) {
    return fail(ErrorCode::invalid_argument,
                std::format("model file {} is damaged{}", path, errors.text()));
  }
  const std::int64_t key = gguf_find_key(file.get(), "tokenizer.ggml.tokens");
  if (key < 0 || gguf_get_kv_type(file.get(), key) != GGUF_TYPE_ARRAY ||
      gguf_get_arr_type(file.get(), key) != GGUF_TYPE_STRING) {
    return fail(ErrorCode::unsupported,
                std::format("model file {} has no vocabulary (tokenizer.ggml.tokens)", path));
  }
  const std::size_t count = gguf_get_arr_n(file.get(), key);
  if (!names_end_token(*file, count)) {
    return fail(ErrorCode::unsupported,
                std::format("model file {} names no end-of-text token: tokenizer.ggml.eos_token_id "
                            "is missing or no token of its vocabulary",
                            path));
  }
  // libllama aborts the process on two tokens of the same text.
  std::unordered_map<std::string_view, std::size_t> first;
  first.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view text = gguf_get_arr_str(file.get(), key, i);
    if (text.empty()) continue;  // libllama gives each of them a name of its own
    const auto [at, fresh] = first.emplace(text, i);
    if (!fresh) {
      return fail(ErrorCode::unsupported,
                  std::format("model file {}: tokens {} and {} have the same text \"{}\"", path,
                              at->second, i, text));
    }
  }
  return {};
}

}  // namespace asynclm
