// SPDX-License-Identifier: Apache-2.0
// For tests: a folder with files of recorded calls.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace asynclm {

class TraceFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance();
    folder_ = std::filesystem::temp_directory_path() /
              ("asynclm_traces_" + std::to_string(test->random_seed()) +
               test->current_test_info()->name());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ / name; }
  [[nodiscard]] std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(path(name)) << text;
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

// One turn, one call.
inline constexpr const char* kTrace =
    R"({"id": "p_0", "messages": [{"role": "user", "content": "play Somebody"}], "functions": [{"name": "music.play", "description": "d", "parameters": {"type": "object", "properties": {"artist": {"type": "string"}, "minutes": {"type": "integer"}}, "required": ["artist", "minutes"]}}], "calls": [{"name": "music.play", "args": {"minutes": 20, "artist": "Somebody"}}]})";

}  // namespace asynclm
