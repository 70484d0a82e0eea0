// SPDX-License-Identifier: Apache-2.0
#include "oracle/sample_format.h"

#include <algorithm>
#include <span>
#include <string>

#include "cml/writer.h"
#include "oracle/disarm.h"

namespace asynclm {
namespace {

// One run of text is disarmed as a whole: a marker may be spelled across tokens.
std::string spelled(const Vocabulary& vocabulary, std::span<const Token> tokens,
                    bool with_end_of_turn) {
  std::string out, text;
  for (const Token token : tokens) {
    const std::size_t before = text.size();
    vocabulary.append_piece(token, text);
    if (text.size() > before) continue;
    out += disarm(text);
    text.clear();
    if (with_end_of_turn || !vocabulary.is_end_of_generation(token)) {
      out += vocabulary.spelling(token);
    }
  }
  return out + disarm(text);
}

std::span<const Token> within(const Sample& sample, const TokenRange& range) {
  return std::span(sample.tokens)
      .subspan(static_cast<std::size_t>(range.first),
               static_cast<std::size_t>(range.second - range.first));
}

Json as_tokens(const Sample& sample) { return {{"tokens", sample.tokens}, {"loss", sample.loss}}; }

Json as_spans(const Sample& sample, const Vocabulary& vocabulary) {
  Json spans = Json::array();
  auto loss = sample.loss.begin();
  for (const SamplePart& part : sample.parts) {
    // Cut where the loss begins and ends.
    for (std::int32_t begin = part.tokens.first; begin < part.tokens.second;) {
      while (loss != sample.loss.end() && loss->second <= begin) ++loss;
      const bool counts = loss != sample.loss.end() && loss->first <= begin;
      const std::int32_t until = loss == sample.loss.end() ? part.tokens.second
                                 : counts                  ? loss->second
                                                           : loss->first;
      const std::int32_t end = std::min(part.tokens.second, until);
      spans.push_back({{"author", to_string(part.author)},
                       {"text", spelled(vocabulary, within(sample, {begin, end}), true)},
                       {"loss", counts}});
      begin = end;
    }
  }
  return {{"spans", std::move(spans)}};
}

// What the keys and authors are called.
struct Names {
  const char *list, *role, *content, *system, *user, *model, *interrupt;
};

Json as_conversation(const Sample& sample, const TaskSequence& sequence,
                     const Vocabulary& vocabulary, const Names& names) {
  Json messages = Json::array();
  const auto add = [&](const char* role, std::string content) {
    messages.push_back({{names.role, role}, {names.content, std::move(content)}});
  };
  auto task = sequence.tasks.begin();
  for (const SamplePart& part : sample.parts) {
    switch (part.author) {
      case Author::prompt:
        add(names.system, disarm(tools_document(sample.mode, sequence.tools)));
        add(names.user, disarm(task->user));
        break;
      case Author::user:
        add(names.user, disarm((++task)->user));
        break;
      case Author::model:
        add(names.model, spelled(vocabulary, within(sample, part.tokens), false));
        break;
      case Author::interrupt:
        add(names.interrupt, spelled(vocabulary, within(sample, part.tokens), false));
        break;
    }
  }
  return {{names.list, std::move(messages)}};
}

constexpr Names kMessages{.list = "messages",
                          .role = "role",
                          .content = "content",
                          .system = "system",
                          .user = "user",
                          .model = "assistant",
                          .interrupt = "tool"};
constexpr Names kShareGpt{.list = "conversations",
                          .role = "from",
                          .content = "value",
                          .system = "system",
                          .user = "human",
                          .model = "gpt",
                          .interrupt = "observation"};

}  // namespace

Json format_sample(const Sample& sample, SampleFormat format, const TaskSequence& sequence,
                   const Vocabulary& vocabulary) {
  switch (format) {
    case SampleFormat::tokens:
      return as_tokens(sample);
    case SampleFormat::spans:
      return as_spans(sample, vocabulary);
    case SampleFormat::messages:
      return as_conversation(sample, sequence, vocabulary, kMessages);
    case SampleFormat::sharegpt:
      return as_conversation(sample, sequence, vocabulary, kShareGpt);
  }
  return nullptr;
}

}  // namespace asynclm
