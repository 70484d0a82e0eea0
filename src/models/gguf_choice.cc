// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_choice.h"

#include <algorithm>
#include <cctype>
#include <format>
#include <utility>

namespace asynclm {
namespace {

std::string upper_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

bool is_letter_or_digit(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; }

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string list_of(const std::vector<std::string>& items) {
  constexpr std::size_t kMost = 20;
  std::string out;
  for (std::size_t i = 0; i < items.size() && i < kMost; ++i) {
    out += (i == 0 ? "" : ", ") + items[i];
  }
  if (items.size() > kMost) out += std::format(" and {} more", items.size() - kMost);
  return out;
}

// The first parts of split models, and whole ones.
std::vector<const RepoFile*> models_in(const std::vector<RepoFile>& files) {
  std::vector<const RepoFile*> out;
  for (const RepoFile& file : files) {
    const auto split = parse_split_name(file.path);
    if (is_model_file(file.path) && (!split || split->number == 1)) out.push_back(&file);
  }
  std::ranges::stable_sort(out, {}, [](const RepoFile* f) {
    return std::pair(parse_split_name(f->path).has_value(), std::string_view(f->path));
  });
  return out;
}

Result<std::vector<RepoFile>> with_its_parts(const std::vector<RepoFile>& files,
                                             const RepoFile& chosen) {
  const auto split = parse_split_name(chosen.path);
  if (!split) return std::vector{chosen};
  std::vector<RepoFile> out;
  for (int number = 1; number <= split->count; ++number) {
    const auto found = std::ranges::find(files, split->file(number), &RepoFile::path);
    if (found == files.end()) {
      return fail(ErrorCode::not_found, std::format("{} is missing: the model has {} files",
                                                    split->file(number), split->count));
    }
    out.push_back(*found);
  }
  return out;
}

}  // namespace

std::string SplitName::file(int which) const {
  return std::format("{}-{:05}-of-{:05}.gguf", prefix, which, count);
}

std::optional<SplitName> parse_split_name(std::string_view path) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";
  if (path.size() <= kPattern.size()) return std::nullopt;
  const std::string_view end = path.substr(path.size() - kPattern.size());
  std::vector<int> numbers = {0, 0};
  for (std::size_t i = 0; i < end.size(); ++i) {
    const bool digit = std::isdigit(static_cast<unsigned char>(end[i])) != 0;
    if (kPattern[i] == '0' ? !digit : kPattern[i] != end[i]) return std::nullopt;
    constexpr std::size_t kSecond = 10;
    int& number = numbers[i < kSecond ? 0 : 1];
    if (digit) number = number * 10 + (end[i] - '0');
  }
  if (numbers[0] < 1 || numbers[0] > numbers[1]) return std::nullopt;
  return SplitName{.prefix = std::string(path.substr(0, path.size() - kPattern.size())),
                   .number = numbers[0],
                   .count = numbers[1]};
}

bool is_model_file(std::string_view path) {
  const std::string name = upper_case(name_of(path));
  return name.ends_with(".GGUF") && !name.contains("MMPROJ") && !name.contains("IMATRIX");
}

bool has_quant(std::string_view path, std::string_view quant) {
  const std::string text = upper_case(path);
  const std::string wanted = upper_case(quant);
  for (auto at = text.find(wanted); at != text.npos; at = text.find(wanted, at + 1)) {
    const bool begins = at == 0 || !is_letter_or_digit(text[at - 1]);
    const std::size_t end = at + wanted.size();
    const bool ends = end < text.size() && std::string_view(".-/").contains(text[end]);
    if (begins && ends) return true;
  }
  return false;
}

std::string quant_of(std::string_view path) {
  std::string_view name = name_of(path);
  const auto split = parse_split_name(name);
  name = split ? name.substr(0, split->prefix.size()) : name.substr(0, name.rfind('.'));
  const auto begin = name.find_last_of("-.");
  if (begin == name.npos) return {};
  const std::string_view last = name.substr(begin + 1);
  const std::string text = upper_case(last);
  const bool looks_so = text.starts_with("Q") || text.starts_with("IQ") || text.starts_with("TQ") ||
                        text.starts_with("F16") || text.starts_with("F32") ||
                        text.starts_with("BF16") || text.starts_with("MXFP4");
  return looks_so && text.find_first_of("0123456789") != text.npos ? std::string(last) : "";
}

Result<std::vector<RepoFile>> choose_gguf(const std::vector<RepoFile>& files,
                                          const std::string& quant, const std::string& file) {
  if (!file.empty()) {
    const auto found = std::ranges::find(files, file, &RepoFile::path);
    if (found != files.end()) return with_its_parts(files, *found);
  }
  const std::vector<const RepoFile*> models = models_in(files);
  if (models.empty()) {
    return fail(ErrorCode::not_found,
                "there is no GGUF file of a model; repositories with such files often have names "
                "that end in -GGUF");
  }
  const std::vector<std::string> wanted =
      quant.empty() ? std::vector<std::string>{"Q4_K_M", "Q8_0"} : std::vector{quant};
  for (const std::string& each : wanted) {
    if (!file.empty()) break;
    for (const RepoFile* model : models) {
      if (has_quant(model->path, each)) return with_its_parts(files, *model);
    }
  }
  if (quant.empty() && file.empty()) return with_its_parts(files, *models.front());
  std::vector<std::string> there;
  for (const RepoFile* model : models) {
    const std::string name = file.empty() ? quant_of(model->path) : "";
    there.push_back(name.empty() ? model->path : name);
  }
  return fail(ErrorCode::not_found, std::format("there is no {}; there are: {}",
                                                file.empty() ? quant : file, list_of(there)));
}

}  // namespace asynclm
