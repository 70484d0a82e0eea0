// SPDX-License-Identifier: Apache-2.0
#include "bench/monitor.h"

#include <array>
#include <string>

#include <gtest/gtest.h>

#include "fixtures/large_vocabulary.h"
#include "oracle/recordings.h"
#include "oracle/test_recordings.h"

namespace asynclm::bench {
namespace {

using MonitorBench = RecordingFolder;

TEST_F(MonitorBench, TheTokensOfCallsAreCounted) {
  const auto recordings = load_recordings(write("s.jsonl", std::string(kRecording) + "\n"));
  ASSERT_TRUE(recordings) << recordings.error().message;
  std::string words;
  for (const char* word : {"play", "music", "artist", "minutes", "Somebody"})
    words += std::string(word) + "\n";
  const auto vocabulary = LargeVocabulary::create(write("words", words), 8192);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  std::array<CallTokens, kFeatures.size()> counts;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto counted = count_tokens(*vocabulary, *recordings, kFeatures[i]);
    ASSERT_TRUE(counted) << counted.error().message;
    counts[i] = *counted;
    EXPECT_EQ(counted->calls, 1);
    EXPECT_EQ(counted->refused, 0);
    EXPECT_EQ(counted->tokens, counts[0].tokens);
    EXPECT_EQ(counted->steps, counted->tokens - counted->forced - counted->accepted);
    EXPECT_LE(counted->accepted, counted->drafted);
    EXPECT_EQ(counted->forced > 3, kFeatures[i].jump_forward);
    EXPECT_EQ(counted->accepted > 0, kFeatures[i].drafts);
  }
  EXPECT_LT(counts.back().steps, counts[1].steps);
}

}  // namespace
}  // namespace asynclm::bench
