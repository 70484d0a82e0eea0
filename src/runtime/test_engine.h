// SPDX-License-Identifier: Apache-2.0
// The fake engine with a look at each decode call, and a way to hold one up: what tests of the
// runtime need. Safe to be asked from the test's thread while the decode thread uses it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "fixtures/fake_engine.h"

namespace asynclm {

inline const FakeVocabulary& test_vocabulary() {
  static const FakeVocabulary vocabulary;
  return vocabulary;
}

// "[CALL]" and so on are control tokens; then the model ends its turn.
inline FakeScript say(const std::string& text) {
  return play(encode_with_controls(test_vocabulary(), text),
              test_vocabulary().control("<|end_of_text|>"));
}

class TestEngine final : public Engine {
 public:
  struct Item {
    SequenceId sequence;
    std::size_t tokens;
    bool sample;
  };
  using Batch = std::vector<Item>;

  // The n-th session that gets a sequence plays the n-th text; the last text is played again.
  explicit TestEngine(std::vector<std::string> texts, FakeEngineOptions options = {})
      : fake_(test_vocabulary(), with_scripts(std::move(options), std::move(texts))) {}

  // --- for tests ---

  // All sessions play this, whatever their texts. Before the engine is used.
  void script_all(const FakeScript& script) { everybodys_ = script; }

  // Decode calls wait in front of this gate; closed also in the middle of a run.
  void close_gate() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open_gate() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  // Until a decode call waits at the gate.
  void await_decode() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_; });
  }
  // Lets the call that waits at the closed gate through; returns when the next one waits there.
  void let_one_pass() {
    std::unique_lock lock(mutex_);
    const std::int64_t before = arrived_;
    pass_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return arrived_ > before; });
  }
  std::vector<Batch> batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }
  std::size_t most_sequences() {
    const std::lock_guard lock(mutex_);
    return most_sequences_;
  }
  int aborted() {
    const std::lock_guard lock(mutex_);
    return aborted_;
  }
  // Called on the decode thread before each decode call; an error is the call's answer.
  std::function<Result<void>(std::span<const DecodeItem>)> on_decode;
  std::function<Result<void>()> on_create;

  // --- Engine ---

  const EngineInfo& info() const override { return fake_.info(); }
  const Vocabulary& vocabulary() const override { return fake_.vocabulary(); }
  Result<SequenceId> create(const SamplingParams& params) override {
    if (on_create) {
      if (auto ok = on_create(); !ok) return std::unexpected(ok.error());
    }
    Result<SequenceId> id = fake_.create(params);
    if (id && everybodys_) fake_.script(*id, everybodys_);
    const std::lock_guard lock(mutex_);
    if (id) sequences_.insert(*id);
    most_sequences_ = std::max(most_sequences_, sequences_.size());
    return id;
  }
  void drop(SequenceId sequence) override {
    fake_.drop(sequence);
    const std::lock_guard lock(mutex_);
    sequences_.erase(sequence);
  }
  std::int32_t length(SequenceId sequence) const override { return fake_.length(sequence); }
  Result<void> truncate(SequenceId sequence, std::int32_t tokens) override {
    return fake_.truncate(sequence, tokens);
  }
  Result<std::vector<std::byte>> save(SequenceId sequence) const override {
    return fake_.save(sequence);
  }
  Result<void> restore(SequenceId sequence, std::span<const std::byte> state) override {
    return fake_.restore(sequence, state);
  }
  Result<std::vector<std::byte>> save_sampler(SequenceId sequence) const override {
    return fake_.save_sampler(sequence);
  }
  Result<void> restore_tokens(SequenceId sequence, std::span<const std::byte> state) override {
    return fake_.restore_tokens(sequence, state);
  }
  Result<void> decode(std::span<const DecodeItem> items, std::span<Token> sampled) override {
    {
      std::unique_lock lock(mutex_);
      waiting_ = true;
      abort_ = false;
      ++arrived_;
      changed_.notify_all();
      changed_.wait(lock, [this] { return open_ || pass_ || abort_; });
      waiting_ = false;
      pass_ = false;
      if (abort_) {
        ++aborted_;
        return fail(ErrorCode::cancelled, "aborted");
      }
      Batch batch;
      for (const DecodeItem& item : items) {
        batch.push_back({item.sequence, item.append.size(), item.sample});
      }
      batches_.push_back(std::move(batch));
    }
    if (on_decode) {
      if (auto ok = on_decode(items); !ok) return ok;
    }
    return fake_.decode(items, sampled);
  }
  void request_abort() noexcept override {
    const std::lock_guard lock(mutex_);
    if (!waiting_) return;
    abort_ = true;
    changed_.notify_all();
  }
  // Decode thread only: what the engine holds.
  std::span<const Token> tokens(SequenceId sequence) const { return fake_.tokens(sequence); }

 private:
  static FakeEngineOptions with_scripts(FakeEngineOptions options, std::vector<std::string> texts) {
    options.scripts = [texts = std::move(texts), next = std::size_t{0}](SequenceId) mutable {
      const std::size_t mine = std::min(next++, texts.size() - 1);
      return say(texts[mine]);
    };
    return options;
  }

  FakeEngine fake_;
  FakeScript everybodys_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  bool pass_ = false;
  std::int64_t arrived_ = 0;  // decode calls
  bool waiting_ = false;
  bool abort_ = false;
  int aborted_ = 0;
  std::vector<Batch> batches_;
  std::set<SequenceId> sequences_;
  std::size_t most_sequences_ = 0;
};

}  // namespace asynclm
