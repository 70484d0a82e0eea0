// SPDX-License-Identifier: Apache-2.0
#include "bench/monitor.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "bench/prefill.h"
#include "bench/statistics.h"
#include "cml/call_syntax.h"
#include "cml/markers.h"
#include "cml/token_mask.h"
#include "cml/writer.h"
#include "runtime/draft_policy.h"
#include "session/draft_source.h"
#include "session/monitor.h"

namespace asynclm::bench {
namespace {

double since(std::chrono::steady_clock::time_point begin, double unit) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() * unit;
}

// Keeps what is measured from being optimised away.
volatile std::uint64_t sink;

// [CALL] is not in it.
std::vector<Token> block_of(const Vocabulary& vocabulary, const Markers& markers, std::size_t index,
                            const TaskCall& call) {
  std::vector<Token> tokens =
      vocabulary.encode(std::string(1, static_cast<char>('a' + index % 26)));
  tokens.push_back(markers.token(Marker::head));
  for (const Token token : vocabulary.encode(format_call(call.tool, arguments_of(call)))) {
    tokens.push_back(token);
  }
  tokens.push_back(markers.token(Marker::end));
  return tokens;
}

// One decode call: what it samples of the block, and the tokens that were forced behind that.
struct DecodeStep {
  std::vector<Token> draft;
  std::size_t accepted = 0;  // tokens of the draft; one more is sampled
  std::size_t forced = 0;
};

// A block as the monitor has it written.
class BlockWriter {
 public:
  BlockWriter(Monitor& monitor, const DraftSource& source, const Features& features)
      : monitor_(monitor), source_(source), features_(features) {}

  void begin(std::span<const Token> block) {
    block_ = block;
    at_ = 0;
    monitor_.open(Marker::call);
  }
  [[nodiscard]] bool done() const { return at_ == block_.size(); }
  // Of the block: what the next step samples, if its draft is right, and whatever follows.
  [[nodiscard]] std::span<const Token> rest() const { return block_.subspan(at_); }

  // With a draft of at most `limit` tokens. Empty if the grammar does not allow the block, or has
  // another spelling or order of it.
  [[nodiscard]] std::optional<DecodeStep> next(std::size_t limit) {
    DecodeStep step;
    if (features_.drafts) {
      const auto draft = monitor_.draft(source_.continuation(monitor_.written()), limit);
      step.draft.assign(draft.begin(), draft.end());
    }
    const std::span<const Token> wanted = rest();
    while (step.accepted < step.draft.size() && step.accepted + 1 < wanted.size() &&
           step.draft[step.accepted] == wanted[step.accepted]) {
      ++step.accepted;
    }
    for (std::size_t i = 0; i <= step.accepted; ++i) {
      if (!write(block_[at_])) return std::nullopt;
    }
    while (features_.jump_forward && monitor_.is_open()) {
      const auto forced = monitor_.forced();
      if (forced.empty()) break;
      for (const Token token : std::vector<Token>(forced.begin(), forced.end())) {
        if (done() || block_[at_] != token || !write(token)) return std::nullopt;
        ++step.forced;
      }
    }
    return step;
  }

 private:
  bool write(Token token) {
    if (!monitor_.allows(token)) return false;
    monitor_.advance(token);
    ++at_;
    return true;
  }

  Monitor& monitor_;
  const DraftSource& source_;
  const Features& features_;
  std::span<const Token> block_;
  std::size_t at_ = 0;
};

Result<std::shared_ptr<CallGrammar>> grammar_of(const Vocabulary& vocabulary,
                                                const std::shared_ptr<const TokenTrie>& trie,
                                                const Recording& recording) {
  return CallGrammar::create(vocabulary, trie, recording.sequence.tools, {.canonical_order = true});
}

bool any_id(const std::string& /*id*/) { return true; }

// A model that writes what the teacher writes.
class TeacherFilter final : public TokenFilter {
 public:
  explicit TeacherFilter(Token vocabulary_size)
      : words_((static_cast<std::size_t>(vocabulary_size) + 63) / 64) {}
  void teach(std::span<const Token> tokens) { tokens_ = tokens; }
  bool allows(Token token, std::size_t drafted) override { return token == tokens_[drafted]; }
  std::span<const std::uint64_t> allowed(std::size_t drafted) override {
    std::ranges::fill(words_, 0);
    const auto token = static_cast<std::size_t>(tokens_[drafted]);
    words_[token / 64] = std::uint64_t{1} << (token % 64);
    return words_;
  }

 private:
  std::span<const Token> tokens_;
  std::vector<std::uint64_t> words_;
};

// One way of decoding, over all calls.
struct Arm {
  DraftPolicy policy;
  std::vector<double> ms;
  double sum = 0;
};

bool writable(BlockWriter writer, std::span<const Token> block) {
  writer.begin(block);
  while (!writer.done()) {
    if (!writer.next(kMaxDraftTokens)) return false;
  }
  return true;
}

// Decodes a block behind what the sequence holds.
Result<void> decode_block(Engine& engine, SequenceId sequence, Token call,
                          std::span<const Token> block, BlockWriter& writer, Arm& arm) {
  TeacherFilter teacher(engine.vocabulary().size());
  std::vector<Token> unfed = {call}, sampled;
  writer.begin(block);
  const auto begin = std::chrono::steady_clock::now();
  while (!writer.done()) {
    const std::span<const Token> rest = writer.rest();
    teacher.teach(rest);
    const auto step = writer.next(std::min(kMaxDraftTokens, arm.policy.limit()));
    if (!step) return fail(ErrorCode::internal, "a call's block cannot be written twice");
    const DecodeItem item{
        .sequence = sequence,
        .append = unfed,
        .sample = true,
        .banned = {},
        .filter = &teacher,
        // Where it goes beyond the block the teacher has no token.
        .draft = std::span(step->draft).first(std::min(step->draft.size(), rest.size() - 1))};
    sampled.assign(sampled_size({&item, 1}), kNoToken);
    const auto from = std::chrono::steady_clock::now();
    if (auto ok = engine.decode({&item, 1}, sampled); !ok) return std::unexpected(ok.error());
    arm.policy.decoded(item.append.size() + item.draft.size(),
                       std::chrono::steady_clock::now() - from);
    arm.policy.verified(item.draft.size(), step->accepted);
    const auto written = rest.subspan(step->accepted, 1 + step->forced);
    unfed.assign(written.begin(), written.end());
  }
  arm.ms.push_back(since(begin, 1e3));
  arm.sum += arm.ms.back();
  return {};
}

}  // namespace

Result<MonitorCosts> measure_costs(const Vocabulary& vocabulary,
                                   const std::vector<Recording>& recordings) {
  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  const auto trie = std::make_shared<const TokenTrie>(vocabulary);
  std::vector<double> compile, accepted, new_mask, known_mask;
  for (const Recording& recording : recordings) {
    const Task& task = recording.sequence.tasks.front();
    auto begin = std::chrono::steady_clock::now();
    const auto grammar = grammar_of(vocabulary, trie, recording);
    compile.push_back(since(begin, 1e6) / static_cast<double>(std::max<std::size_t>(
                                              1, recording.sequence.tools.size())));
    if (!grammar) continue;
    Monitor monitor(*grammar, any_id);
    for (std::size_t i = 0; i < task.calls.size(); ++i) {
      monitor.open(Marker::call);
      for (const Token token : block_of(vocabulary, *markers, i, task.calls[i])) {
        begin = std::chrono::steady_clock::now();
        const bool allowed = monitor.allows(token);
        accepted.push_back(since(begin, 1e9));
        if (!allowed) break;
        begin = std::chrono::steady_clock::now();
        sink = monitor.allowed()[0];
        new_mask.push_back(since(begin, 1e6));
        begin = std::chrono::steady_clock::now();
        sink = monitor.allowed()[0];
        known_mask.push_back(since(begin, 1e6));
        monitor.advance(token);
      }
      monitor.close();
    }
  }
  MonitorCosts costs;
  costs.compile_us = percentiles(compile);
  costs.accepted_ns = percentiles(accepted);
  costs.new_mask_us = percentiles(new_mask);
  costs.known_mask_us = percentiles(known_mask);
  return costs;
}

Result<CallTokens> count_tokens(const Vocabulary& vocabulary,
                                const std::vector<Recording>& recordings,
                                const Features& features) {
  CallTokens total;
  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  const auto trie = std::make_shared<const TokenTrie>(vocabulary);
  for (const Recording& recording : recordings) {
    const Task& task = recording.sequence.tasks.front();
    total.calls += std::ssize(task.calls);
    const auto grammar = grammar_of(vocabulary, trie, recording);
    if (!grammar) {
      total.refused += std::ssize(task.calls);
      continue;
    }
    Monitor monitor(*grammar, any_id);
    DraftSource source;
    source.add(task.user);
    BlockWriter writer(monitor, source, features);
    for (std::size_t i = 0; i < task.calls.size(); ++i) {
      const auto block = block_of(vocabulary, *markers, i, task.calls[i]);
      CallTokens call{.tokens = std::ssize(block) + 1, .steps = 1};  // [CALL]
      writer.begin(block);
      while (!writer.done()) {
        const auto step = writer.next(kMaxDraftTokens);
        if (!step) break;
        call.forced += static_cast<std::int64_t>(step->forced);
        call.drafted += std::ssize(step->draft);
        call.accepted += static_cast<std::int64_t>(step->accepted);
        ++call.steps;
      }
      if (!task.calls[i].result.text.empty()) source.add(task.calls[i].result.text);
      if (!writer.done()) {
        ++total.refused;
        continue;
      }
      total.tokens += call.tokens;
      total.forced += call.forced;
      total.drafted += call.drafted;
      total.accepted += call.accepted;
      total.steps += call.steps;
    }
  }
  return total;
}

Result<DecodeTimes> measure_decoding(Engine& engine, const std::vector<Recording>& recordings) {
  const Vocabulary& vocabulary = engine.vocabulary();
  const auto markers = Markers::find(vocabulary);
  if (!markers) return std::unexpected(markers.error());
  const auto trie = std::make_shared<const TokenTrie>(vocabulary);
  const auto context = static_cast<std::size_t>(engine.info().context_tokens);
  std::array<Arm, kFeatures.size()> arms;
  std::size_t turn = 0;
  for (const Recording& recording : recordings) {
    const Task& task = recording.sequence.tasks.front();
    const auto grammar = grammar_of(vocabulary, trie, recording);
    if (!grammar) continue;
    Monitor monitor(*grammar, any_id);
    DraftSource source;
    source.add(task.user);
    std::vector<Token> prompt =
        vocabulary.encode(tools_document(Mode::async, recording.sequence.tools));
    for (const Token token : vocabulary.encode(task.user)) prompt.push_back(token);
    const auto base = engine.create({});
    if (!base) return std::unexpected(base.error());
    const std::size_t kept = std::min(prompt.size(), context / 2);
    if (auto ok = prefill(engine, *base, std::span(prompt).last(kept)); !ok) {
      return std::unexpected(ok.error());
    }
    const auto prefilled = engine.save(*base);
    if (!prefilled) return std::unexpected(prefilled.error());
    engine.drop(*base);
    for (std::size_t i = 0; i < task.calls.size(); ++i) {
      const auto block = block_of(vocabulary, *markers, i, task.calls[i]);
      const bool in_all_ways = std::ranges::all_of(kFeatures, [&](const Features& features) {
        return writable({monitor, source, features}, block);
      });
      if (!in_all_ways || kept + block.size() + kMaxDraftTokens >= context) continue;
      ++turn;
      for (std::size_t k = 0; k < arms.size(); ++k) {
        const std::size_t way = (k + turn) % arms.size();
        const auto sequence = engine.create({});
        if (!sequence) return std::unexpected(sequence.error());
        if (auto ok = engine.restore(*sequence, *prefilled); !ok) {
          return std::unexpected(ok.error());
        }
        BlockWriter writer(monitor, source, kFeatures[way]);
        const auto done =
            decode_block(engine, *sequence, markers->token(Marker::call), block, writer, arms[way]);
        engine.drop(*sequence);
        if (!done) return std::unexpected(done.error());
      }
      if (!task.calls[i].result.text.empty()) source.add(task.calls[i].result.text);
    }
  }
  DecodeTimes times;
  for (std::size_t way = 0; way < arms.size(); ++way) {
    times.ratio[way] = arms[0].sum > 0 ? arms[way].sum / arms[0].sum : 0;
    times.call_ms[way] = percentiles(arms[way].ms);
  }
  return times;
}

}  // namespace asynclm::bench
