// SPDX-License-Identifier: Apache-2.0
// Runs a fuzz target without libFuzzer: fuzz_NAME PATH... [--mutations N] [--seed S]. Each file (of
// a folder: all its files) as it is, then N mutations of them, the same ones for the same seed. The
// input under way is written to a file, so that it is there after a crash.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "base/random.h"
#include "target.h"

namespace {

using asynclm::Random;
namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> read_all(const fs::path& path) {
  if (!fs::is_directory(path)) return {read(path)};
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(path)) files.push_back(entry.path());
  std::ranges::sort(files);
  std::vector<std::string> out;
  for (const fs::path& file : files) out.push_back(read(file));
  return out;
}

// A few small changes: a byte, a part taken out or doubled, a part of another input put in.
std::string mutated(const std::vector<std::string>& corpus, Random& random) {
  std::string text = random.pick(corpus);
  for (int i = random.between(1, 4); i > 0; --i) {
    const std::size_t at = text.empty() ? 0 : random.below(text.size());
    const std::size_t length =
        text.empty() ? 0 : 1 + random.below(std::min<std::size_t>(text.size() - at, 16));
    switch (random.below(4)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text.erase(at, length);
        break;
      case 2:
        text.insert(at, text.substr(at, length));
        break;
      default: {
        const std::string& other = random.pick(corpus);
        if (!other.empty()) text.insert(at, other.substr(random.below(other.size()), 24));
      }
    }
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> corpus;
  std::uint64_t seed = 1;
  int mutations = 500;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--mutations" && i + 1 < argc) {
      mutations = std::atoi(argv[++i]);
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      for (std::string& text : read_all(argument)) corpus.push_back(std::move(text));
    }
  }
  if (corpus.empty()) {
    std::cerr << "usage: " << argv[0] << " PATH... [--mutations N] [--seed S]\n";
    return 2;
  }
  const fs::path current =
      fs::temp_directory_path() / (fs::path(argv[0]).filename().string() + ".input");
  const auto run = [&](const std::string& text) {
    std::ofstream(current, std::ios::binary) << text;
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  };
  std::cout << "input under way: " << current.string() << std::endl;
  for (const std::string& text : corpus) run(text);
  Random random(seed);
  for (int i = 0; i < mutations; ++i) run(mutated(corpus, random));
  fs::remove(current);
  std::cout << corpus.size() << " seeds, " << mutations << " mutations\n";
}
