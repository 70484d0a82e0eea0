// SPDX-License-Identifier: Apache-2.0
// Template rendering: whatever a message holds, and whatever template a model file carries, only
// the template's own words become control tokens.
//
// Input: a Jinja template, a zero byte, and a user message.
#include "cml/chat_template.h"

#include <algorithm>

#include "cml/test_vocabulary.h"
#include "target.h"

namespace asynclm {
namespace {

std::vector<Token> controls_of(const Vocabulary& vocabulary, std::string_view user) {
  const auto spans =
      render_chat(vocabulary, {{"system", {TextSpan{"tools", Origin::system}}},
                               {"user", {TextSpan{std::string(user), Origin::user}}}});
  if (!spans) {
    fuzz::require(!spans.error().message.empty(), "an error says what is wrong");
    return {kNoToken};
  }
  std::vector<Token> tokens, controls;
  for (const Span& span : *spans) {
    if (!append_tokens(vocabulary, span, tokens)) return {kNoToken};
  }
  std::ranges::copy_if(tokens, std::back_inserter(controls),
                       [&](Token token) { return vocabulary.is_control(token); });
  return controls;
}

}  // namespace
}  // namespace asynclm

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace asynclm;
  std::string_view input = fuzz::text_of(data, size);
  TestVocabulary vocabulary;
  vocabulary.jinja = fuzz::take_until(input, '\0');
  fuzz::require(controls_of(vocabulary, input) == controls_of(vocabulary, "word"),
                "a message changes no control token");
  return 0;
}
