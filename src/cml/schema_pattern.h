// SPDX-License-Identifier: Apache-2.0
// The regular expressions of "pattern" and "patternProperties", in bounded time and stack.
#pragma once

// Steps before a search is given up, some 50 ms: a hostile pattern may need exponentially many.
#define BOOST_REGEX_MAX_STATE_COUNT 1000000

#include <string>

#include <boost/regex.hpp>

namespace asynclm::schema {

// valijson's interface for an engine; errors are exceptions, which ArgumentValidator turns into
// values. Not std::regex: it recurses for each character of the subject, and never gives up.
class PatternEngine {
 public:
  explicit PatternEngine(const std::string& pattern)
      : regex_(pattern, boost::regex::ECMAScript | boost::regex::nosubs) {}

  static bool search(const std::string& subject, const PatternEngine& engine) {
    return boost::regex_search(subject, engine.regex_);
  }

 private:
  boost::regex regex_;
};

}  // namespace asynclm::schema
