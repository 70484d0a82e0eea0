// SPDX-License-Identifier: Apache-2.0
// For tests: a folder with files of recorded calls.
#pragma once

#include <string>

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace asynclm {

class RecordingFolder : public ::testing::Test {
 protected:
  [[nodiscard]] std::string path(const std::string& name) const { return folder_.file(name); }
  [[nodiscard]] std::string write(const std::string& name, const std::string& text) const {
    return folder_.write(name, text);
  }

 private:
  TemporaryFolder folder_;
};

// One turn, one call.
inline constexpr const char* kRecording =
    R"({"id": "p_0", "messages": [{"role": "user", "content": "play Somebody"}], "functions": [{"name": "music.play", "description": "d", "parameters": {"type": "object", "properties": {"artist": {"type": "string"}, "minutes": {"type": "integer"}}, "required": ["artist", "minutes"]}}], "calls": [{"name": "music.play", "args": {"minutes": 20, "artist": "Somebody"}}]})";

}  // namespace asynclm
