// SPDX-License-Identifier: Apache-2.0
// The demonstration's tools (demo/) do what they say, through the executor as in a real run.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "tools/executor.h"
#include "tools/toolbox.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;
const fs::path kRoot = ASYNCLM_SOURCE_DIR;

class Demo : public testing::Test {
 protected:
  void SetUp() override {
    auto loaded = tools_.load_manifest((kRoot / "demo/tools.json").string());
    ASSERT_TRUE(loaded) << loaded.error().message;
  }

  std::string run(const std::string& tool, const Json& arguments) {
    std::promise<CallResult> promise;
    Executor executor(tools_, {});
    executor.start(tool, arguments, nullptr,
                   [&](CallResult result) { promise.set_value(std::move(result)); });
    const CallResult result = promise.get_future().get();
    return std::string(to_string(result.outcome)) + ": " + result.text;
  }

  Toolbox tools_;
};

std::string content(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_F(Demo, CountLines) {
  EXPECT_EQ(run("count_lines", {{"path", "LICENSE"}}),
            "returned: " + std::to_string(std::ranges::count(content(kRoot / "LICENSE"), '\n')));
}

TEST_F(Demo, CountPrimes) { EXPECT_EQ(run("count_primes", {{"limit", 1000}}), "returned: 168"); }

TEST_F(Demo, DiskUsageAndLargestFile) {
  std::uintmax_t total = 0;
  std::uintmax_t largest = 0;
  std::string path;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / "include")) {
    if (!entry.is_regular_file()) continue;
    total += entry.file_size();
    if (entry.file_size() > largest) path = fs::relative(entry.path(), kRoot).string();
    largest = std::max(largest, entry.file_size());
  }
  EXPECT_EQ(run("disk_usage", {{"folder", "include"}}), "returned: " + std::to_string(total));
  EXPECT_EQ(run("largest_file", {{"folder", "include/"}}), "returned: " + path);
}

TEST_F(Demo, Checksum) {
  Toolbox reference;
  ToolSpec spec;
  spec.name = "sum";
  ASSERT_TRUE(reference.add(spec, ProcessCommand{{"sha256sum", "LICENSE"}, kRoot.string()}));
  std::swap(tools_, reference);
  const std::string sum = run("sum", Json::object());
  std::swap(tools_, reference);
  ASSERT_TRUE(sum.starts_with("returned: "));
  EXPECT_EQ(run("checksum", {{"path", "./LICENSE"}}), sum.substr(0, sum.find(' ') + 1 + 12));
}

TEST_F(Demo, PathsStayInTheRepository) {
  EXPECT_EQ(run("count_lines", {{"path", "../outside"}}),
            "failed: exit status 1: ../outside is outside of the working folder");
  EXPECT_EQ(run("disk_usage", {{"folder", "/etc"}}),
            "failed: exit status 1: /etc is outside of the working folder");
  EXPECT_EQ(run("largest_file", {{"folder", "nowhere"}}),
            "failed: exit status 1: there is no folder nowhere");
  EXPECT_EQ(run("count_primes", {{"limit", 1'000'000'000}}),
            "failed: exit status 1: the limit must be an integer of at most 5000000");
}

TEST_F(Demo, TheTasksFilesExist) {
  const std::string task = content(kRoot / "demo/task.txt");
  EXPECT_EQ(std::ranges::count(task, '\n'), 1);
  EXPECT_TRUE(fs::is_regular_file(kRoot / "README.md"));
  EXPECT_TRUE(fs::is_directory(kRoot / "src"));
}

}  // namespace
}  // namespace asynclm
