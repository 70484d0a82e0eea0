// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_info.h"

#include <array>
#include <bit>
#include <cstddef>
#include <format>
#include <fstream>
#include <map>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

namespace asynclm {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are read as they lie there");

enum class GgufType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

// Bytes of a value of fixed size; 0: string, array, or unknown.
std::uint64_t size_of_type(GgufType type) {
  switch (type) {
    case GgufType::u8:
    case GgufType::i8:
    case GgufType::boolean:
      return 1;
    case GgufType::u16:
    case GgufType::i16:
      return 2;
    case GgufType::u32:
    case GgufType::i32:
    case GgufType::f32:
      return 4;
    case GgufType::u64:
    case GgufType::i64:
    case GgufType::f64:
      return 8;
    default:
      return 0;
  }
}

// Of general.file_type; llama.cpp's numbers.
std::string quantisation_name(std::uint64_t type) {
  static const std::map<std::uint64_t, std::string> names = {
      {0, "F32"},      {1, "F16"},      {2, "Q4_0"},    {3, "Q4_1"},    {7, "Q8_0"},
      {8, "Q5_0"},     {9, "Q5_1"},     {10, "Q2_K"},   {11, "Q3_K_S"}, {12, "Q3_K_M"},
      {13, "Q3_K_L"},  {14, "Q4_K_S"},  {15, "Q4_K_M"}, {16, "Q5_K_S"}, {17, "Q5_K_M"},
      {18, "Q6_K"},    {19, "IQ2_XXS"}, {20, "IQ2_XS"}, {21, "Q2_K_S"}, {22, "IQ3_XS"},
      {23, "IQ3_XXS"}, {24, "IQ1_S"},   {25, "IQ4_NL"}, {26, "IQ3_S"},  {27, "IQ3_M"},
      {28, "IQ2_S"},   {29, "IQ2_M"},   {30, "IQ4_XS"}, {31, "IQ1_M"},  {32, "BF16"},
      {36, "TQ1_0"},   {37, "TQ2_0"},   {38, "MXFP4"}};
  const auto found = names.find(type);
  return found == names.end() ? std::format("type {}", type) : found->second;
}

// Reads forwards and never behind the end, whatever lengths a damaged file has.
class GgufReader {
 public:
  explicit GgufReader(const std::filesystem::path& path) : file_(path, std::ios::binary) {
    std::error_code error;
    left_ = std::filesystem::file_size(path, error);
    good_ = !error && file_.good();
  }

  [[nodiscard]] bool good() const { return good_; }

  template <class T>
  T number() {
    T value{};
    read(&value, sizeof value);
    return good_ ? value : T{};
  }

  std::string text(std::uint64_t longest) {
    const auto length = number<std::uint64_t>();
    if (length > longest || length > left_) {
      good_ = false;
      return {};
    }
    std::string out(length, '\0');
    read(out.data(), length);
    return out;
  }

  void skip(std::uint64_t bytes) {
    if (!good_ || bytes > left_) {
      good_ = false;
      return;
    }
    left_ -= bytes;
    file_.seekg(static_cast<std::streamoff>(bytes), std::ios::cur);
  }

  void fail() { good_ = false; }
  [[nodiscard]] std::uint64_t left() const { return left_; }

 private:
  void read(void* to, std::uint64_t bytes) {
    if (!good_ || bytes > left_) {
      good_ = false;
      return;
    }
    file_.read(static_cast<char*>(to), static_cast<std::streamsize>(bytes));
    left_ -= bytes;
    good_ = file_.good();
  }

  std::ifstream file_;
  std::uint64_t left_ = 0;
  bool good_ = false;
};

constexpr std::uint64_t kLongestText = std::uint64_t{16} << 20U;
constexpr std::uint64_t kLongestName = 65536;

class InfoReader {
 public:
  InfoReader(const std::filesystem::path& path, GgufInfo& info, bool first)
      : reader_(path), info_(info), first_(first) {}

  bool read() {
    constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
    constexpr std::uint32_t kOldest = 2, kNewest = 3;
    const auto magic = reader_.number<std::uint32_t>();
    const auto version = reader_.number<std::uint32_t>();
    if (!reader_.good() || magic != kMagic || version < kOldest || version > kNewest) return false;
    const auto tensors = reader_.number<std::uint64_t>();
    const auto values = reader_.number<std::uint64_t>();
    for (std::uint64_t i = 0; i < values && reader_.good(); ++i) read_value();
    for (std::uint64_t i = 0; i < tensors && reader_.good(); ++i) read_tensor();
    if (first_ && reader_.good()) {
      if (file_type_) info_.quantisation = quantisation_name(*file_type_);
      const auto found = lengths_.find(info_.architecture + ".context_length");
      if (found != lengths_.end()) info_.context_length = found->second;
    }
    return reader_.good();
  }

 private:
  void read_value() {
    const std::string key = reader_.text(kLongestName);
    const auto type = static_cast<GgufType>(reader_.number<std::uint32_t>());
    if (type == GgufType::string) {
      keep(key, reader_.text(kLongestText));
    } else if (type == GgufType::array) {
      skip_array(key, 0);
    } else if (const auto number = read_number(type); number && first_) {
      if (key == "general.file_type") file_type_ = *number;
      if (key.ends_with(".context_length")) lengths_[key] = *number;
    }
  }

  // Nothing: no whole number that fits.
  std::optional<std::uint64_t> read_number(GgufType type) {
    switch (type) {
      case GgufType::u32:
      case GgufType::i32:
        return reader_.number<std::uint32_t>();
      case GgufType::u64:
        return reader_.number<std::uint64_t>();
      default:
        break;
    }
    const std::uint64_t size = size_of_type(type);
    if (size == 0) reader_.fail();
    reader_.skip(size);
    return std::nullopt;
  }

  void skip_array(const std::string& key, int depth) {
    constexpr int kDeepest = 4;
    const auto type = static_cast<GgufType>(reader_.number<std::uint32_t>());
    const auto count = reader_.number<std::uint64_t>();
    if (first_ && depth == 0 && key == "tokenizer.ggml.tokens") info_.vocabulary = count;
    const std::uint64_t size = size_of_type(type);
    if (size > 0) {
      if (count > reader_.left() / size) return reader_.fail();
      return reader_.skip(count * size);
    }
    if (depth >= kDeepest || (type != GgufType::string && type != GgufType::array)) {
      return reader_.fail();
    }
    for (std::uint64_t i = 0; i < count && reader_.good(); ++i) {
      if (type == GgufType::array) {
        skip_array(key, depth + 1);
      } else {
        reader_.skip(reader_.number<std::uint64_t>());
      }
    }
  }

  void keep(const std::string& key, const std::string& value) {
    if (!first_) return;
    const std::array<std::pair<std::string_view, std::string*>, 5> wanted = {{
        {"general.architecture", &info_.architecture},
        {"general.name", &info_.name},
        {"general.license", &info_.licence},
        {"tokenizer.ggml.model", &info_.tokenizer},
        {"tokenizer.chat_template", &info_.chat_template},
    }};
    for (const auto& [name, field] : wanted) {
      if (key == name) *field = value;
    }
  }

  void read_tensor() {
    constexpr std::uint32_t kMostDimensions = 8;
    (void)reader_.text(kLongestName);
    const auto dimensions = reader_.number<std::uint32_t>();
    if (dimensions > kMostDimensions) return reader_.fail();
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) elements *= reader_.number<std::uint64_t>();
    (void)reader_.number<std::uint32_t>();  // type
    (void)reader_.number<std::uint64_t>();  // offset
    info_.parameters += elements;
    ++info_.tensors;
  }

  GgufReader reader_;
  GgufInfo& info_;
  bool first_;
  std::optional<std::uint64_t> file_type_;
  std::map<std::string, std::uint64_t> lengths_;
};

}  // namespace

Result<GgufInfo> read_gguf_info(const std::vector<std::filesystem::path>& files) {
  GgufInfo info;
  for (std::size_t i = 0; i < files.size(); ++i) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(files[i], error)) {
      return fail(ErrorCode::not_found, files[i].string() + ": there is no such file");
    }
    if (!InfoReader(files[i], info, i == 0).read()) {
      return fail(ErrorCode::invalid_argument,
                  files[i].string() + ": is no GGUF file, or a damaged one");
    }
  }
  return info;
}

}  // namespace asynclm
