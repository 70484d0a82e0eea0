// SPDX-License-Identifier: Apache-2.0
// The regular expressions of "pattern" and "patternProperties", in bounded time and stack.
#pragma once

#include <cstddef>
#include <regex>
#include <stdexcept>
#include <string>

namespace asynclm::schema {

// valijson's interface for an engine; errors are exceptions, which ArgumentValidator turns into
// values. The usual mode of std::regex backtracks: exponential time, and a stack as deep as the
// subject is long. libstdc++'s polynomial mode does neither, and refuses back-references.
class PatternEngine {
 public:
  static constexpr std::size_t kMaxSubjectBytes = 1024;

  explicit PatternEngine(const std::string& pattern)
      : regex_(pattern, std::regex_constants::ECMAScript | std::regex_constants::__polynomial) {}

  static bool search(const std::string& subject, const PatternEngine& engine) {
    if (subject.size() > kMaxSubjectBytes) throw std::length_error("subject of a pattern");
    return std::regex_search(subject, engine.regex_);
  }

 private:
  std::regex regex_;
};

}  // namespace asynclm::schema
