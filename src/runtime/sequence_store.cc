// SPDX-License-Identifier: Apache-2.0
#include "runtime/sequence_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <format>
#include <optional>
#include <utility>

namespace asynclm {
namespace {

// A file of this process's own. Its bytes hold the conversation: nobody else may read it.
Result<void> write_file(const std::string& path, std::span<const std::byte> bytes) {
  const auto bad = [&] {
    return fail(ErrorCode::io, std::format("{} cannot be written: {}", path, std::strerror(errno)));
  };
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return bad();
  Result<void> result;
  while (!bytes.empty()) {
    const ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      result = bad();
      break;
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
  if (::close(file) != 0 && result) result = bad();
  if (!result) ::unlink(path.c_str());
  return result;
}

Result<std::vector<std::byte>> read_file(const std::string& path, std::size_t size) {
  const auto bad = [&](const char* what) {
    return fail(ErrorCode::io, std::format("{} cannot be read: {}", path, what));
  };
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return bad(std::strerror(errno));
  std::vector<std::byte> bytes(size);
  std::size_t have = 0;
  std::optional<std::string> problem;
  while (have < size && !problem) {
    const ssize_t count = ::read(file, bytes.data() + have, size - have);
    if (count > 0) have += static_cast<std::size_t>(count);
    if (count == 0) problem = "it is cut off";
    if (count < 0 && errno != EINTR) problem = std::strerror(errno);
  }
  ::close(file);
  if (problem) return bad(problem->c_str());
  return bytes;
}

std::string new_file_name(const std::string& folder) {
  static std::atomic<std::uint64_t> next = 0;
  return std::format("{}/asynclm-{}-{}.kv", folder, ::getpid(), ++next);
}

}  // namespace

SequenceStore::SequenceStore(Engine& engine, const Clock& clock, CostModel& costs, Metrics& metrics,
                             const RuntimeOptions& options)
    : engine_(engine),
      clock_(clock),
      costs_(costs),
      metrics_(metrics),
      host_budget_(options.host_kv_bytes),
      disk_budget_(options.kv_folder.empty() ? 0 : options.disk_kv_bytes),
      folder_(options.kv_folder) {}

void SequenceStore::count(const Kv& kv, std::int64_t sign) {
  if (kv.residency == Residency::discarded && kv.tokens == 0) return;  // nothing is computed yet
  KvUse& there = metrics_.kv[static_cast<std::size_t>(kv.residency)];
  there.sessions += sign;
  if (kv.residency == Residency::resident) return;  // they grow: the loop counts their tokens
  there.tokens += sign * static_cast<std::int64_t>(kv.tokens);
  there.bytes += sign * static_cast<std::int64_t>(kv.saved_bytes);
}

// From here on the run's tokens are there and nowhere else.
void SequenceStore::move_to(Kv& kv, Residency residency, std::size_t saved_bytes,
                            std::optional<SequenceId> sequence) {
  count(kv, -1);
  if (kv.sequence) {
    const std::int32_t length = engine_.length(*kv.sequence);
    kv.tokens = std::max(kv.tokens, static_cast<std::size_t>(std::max(length, 0)));
    engine_.drop(*kv.sequence);
  }
  if (!kv.file.empty()) ::unlink(kv.file.c_str());
  kv.file.clear();
  if (residency != Residency::host) kv.saved = {};
  kv.sequence = sequence;
  kv.residency = residency;
  kv.saved_bytes = saved_bytes;
  count(kv, +1);
}

template <class Operation>
auto SequenceStore::timed(Move move, std::size_t bytes, Operation operation) {
  const Instant from = clock_.now();
  auto result = operation();
  const Time took = clock_.now() - from;
  metrics_.moving_time += took;
  if (result) {
    if constexpr (requires { result->size(); }) bytes = result->size();
    costs_.moved(move, bytes, took);
  }
  return result;
}

Result<void> SequenceStore::open(Run& run) {
  Result<SequenceId> sequence = engine_.create(run.sampling);
  if (!sequence) return std::unexpected(std::move(sequence.error()));
  const bool was_saved = run.kv.saved_bytes > 0;
  const bool loaded = was_saved && load(run.kv, *sequence);
  if (!loaded && !run.kv.sampler.empty()) {
    if (Result<void> set = engine_.restore(*sequence, run.kv.sampler); !set) {
      engine_.drop(*sequence);
      return set;
    }
  }
  if (loaded) {
    ++metrics_.swaps_in;
  } else if (run.kv.tokens > 0) {
    ++metrics_.recomputes;
    if (was_saved) ++metrics_.lost;
  }
  move_to(run.kv, Residency::resident, 0, sequence.value());
  run.kv.sampler.clear();
  if (!loaded) take_prefix(run);
  return {};
}

bool SequenceStore::load(Kv& kv, SequenceId into) {
  std::vector<std::byte> bytes = std::move(kv.saved);
  if (kv.residency == Residency::disk) {
    auto read = timed(Move::from_disk, kv.saved_bytes,
                      [&] { return read_file(kv.file, kv.saved_bytes); });
    if (!read) return false;
    ++metrics_.disk_reads;
    bytes = std::move(*read);
  }
  return timed(Move::from_host, bytes.size(), [&] { return engine_.restore(into, bytes); })
      .has_value();
}

void SequenceStore::take_prefix(Run& run) {
  const std::span<const Token> context = run.session.context();
  const bool is_new = run.kv.tokens == 0 && !run.awaits_prefix;
  run.awaits_prefix = false;
  if (const PrefixCache::Kept* kept = prefixes_.find(context);
      kept != nullptr &&
      static_cast<std::int32_t>(kept->tokens.size()) > engine_.length(*run.kv.sequence)) {
    const Result<void> taken = timed(Move::from_host, kept->state.size(), [&] {
      return engine_.restore_tokens(*run.kv.sequence, kept->state);
    });
    // After an error the sequence is empty, and all is computed.
    if (taken) {
      metrics_.tokens_shared += static_cast<std::int64_t>(kept->tokens.size());
    } else {
      ++metrics_.lost;
    }
  }
  if (!is_new) return;
  const std::size_t shared = prefixes_.remember(context);
  if (shared == 0) return;
  if (prefixes_.is_coming(context)) {
    run.awaits_prefix = true;
  } else {
    prefixes_.announce(context.first(shared), run.id);
    run.keep_prefix_at = shared;
  }
}

void SequenceStore::keep_prefix(Run& run) {
  const auto prefix = run.session.context().first(std::exchange(run.keep_prefix_at, 0));
  auto saved = timed(Move::to_host, 0, [&] { return engine_.save(*run.kv.sequence); });
  if (saved) {
    costs_.saved(prefix.size(), saved->size());
    prefixes_.keep(prefix, std::move(*saved));
  } else {
    prefixes_.abandon(run.id);  // those that wait compute it themselves
  }
}

Result<void> SequenceStore::evict(Run& run, Residency to) {
  const SequenceId id = *run.kv.sequence;
  Result<std::vector<std::byte>> sampler = engine_.save_sampler(id);
  if (!sampler) return std::unexpected(std::move(sampler.error()));
  run.kv.sampler = std::move(*sampler);
  std::vector<std::byte> saved;
  if (to != Residency::discarded) {
    if (auto state = timed(Move::to_host, 0, [&] { return engine_.save(id); })) {
      costs_.saved(static_cast<std::size_t>(engine_.length(id)), state->size());
      saved = std::move(*state);
      ++metrics_.swaps_out;
    }
  }
  if (saved.empty()) {
    ++metrics_.discards;
    move_to(run.kv, Residency::discarded, 0);
    return {};
  }
  const std::size_t bytes = saved.size();
  move_to(run.kv, Residency::host, bytes);
  run.kv.saved = std::move(saved);
  if (to == Residency::disk) spill(run);
  return {};
}

void SequenceStore::spill(Run& run) {
  std::string path = new_file_name(folder_);
  const Result<void> written = timed(Move::to_disk, run.kv.saved.size(),
                                     [&] { return write_file(path, run.kv.saved); });
  if (!written) return discard(run);
  ++metrics_.disk_writes;
  move_to(run.kv, Residency::disk, run.kv.saved_bytes);
  run.kv.file = std::move(path);
}

void SequenceStore::discard(Run& run) {
  ++metrics_.discards;
  move_to(run.kv, Residency::discarded, 0);
}

void SequenceStore::drop(Run& run) {
  prefixes_.abandon(run.id);
  move_to(run.kv, Residency::discarded, 0);
  count(run.kv, -1);
  run.kv.tokens = 0;
}

bool SequenceStore::host_has_room(std::size_t bytes) const {
  return metrics_.kv[static_cast<std::size_t>(Residency::host)].bytes +
             static_cast<std::int64_t>(bytes) <=
         host_budget_;
}

bool SequenceStore::disk_has_room(std::size_t bytes) const {
  return metrics_.kv[static_cast<std::size_t>(Residency::disk)].bytes +
             static_cast<std::int64_t>(bytes) <=
         disk_budget_;
}

std::int64_t SequenceStore::host_excess() const {
  return metrics_.kv[static_cast<std::size_t>(Residency::host)].bytes - host_budget_;
}

}  // namespace asynclm
