// SPDX-License-Identifier: Apache-2.0
// The ways of calling functions that `asynclm-lab bench bfcl` compares (paper section 6).
#pragma once

#include <array>
#include <string_view>

#include <asynclm/error.h>
#include <asynclm/session.h>

#include "oracle/oracle.h"

namespace asynclm::bench {

struct BfclArm {
  std::string_view name, says;
  Mode mode = Mode::async;
  // Each delivery is a new request to a server, which may keep what it has computed, or not.
  bool requests = false, keeps_cache = true;
  bool barrier = false;   // results are handed in together (Serving::all_at_once)
  bool by_turns = false;  // what the user says waits for the end of the turn
  // A real server (bench/llama_server.h) writes the tokens, `keeps_cache` says how; on a real
  // clock.
  bool asks_server = false;
  bool on_wall_clock = false;
  bool documents = false;  // the prompt has the whole function documents
  bool jump_forward = false, drafts = false;
  Delivery delivery = Delivery::interrupt;  // of results
  OracleHabits habits{.reports = false};
  Policy policy = Policy::lpt;
  bool random_order = false;  // in place of the policy
};

inline constexpr std::array<BfclArm, 12> kBfclArms = {{
    {.name = "sync-stateless",
     .says = "a new request for each result, which has the whole prompt; nothing is cached",
     .mode = Mode::sync,
     .requests = true,
     .keeps_cache = false,
     .by_turns = true},
    {.name = "sync-stateless-docs",
     .says = "the same, with the whole function documents in the prompt",
     .mode = Mode::sync,
     .requests = true,
     .keeps_cache = false,
     .by_turns = true,
     .documents = true},
    {.name = "sync", .says = "the model waits for each call", .mode = Mode::sync, .by_turns = true},
    {.name = "sync-parallel",
     .says = "calls are collected, run together and all awaited",
     .mode = Mode::sync_parallel,
     .by_turns = true},
    {.name = "eager",
     .says = "sync-parallel, but calls start while the model writes",
     .mode = Mode::async,
     .barrier = true,
     .by_turns = true},
    {.name = "async-naive",
     .says = "async by a new request for each interrupt, nothing is cached",
     .mode = Mode::async,
     .requests = true,
     .keeps_cache = false},
    {.name = "async-naive-cached",
     .says = "the same, but the server keeps the prompt's cache",
     .mode = Mode::async,
     .requests = true},
    {.name = "naive-server",
     .says = "the same with a real llama-server that does not use its prompt cache",
     .mode = Mode::async,
     .keeps_cache = false,
     .asks_server = true},
    {.name = "naive-server-cached",
     .says = "… and that does",
     .mode = Mode::async,
     .asks_server = true},
    {.name = "async", .says = "the paper", .mode = Mode::async},
    {.name = "async-wall",
     .says = "the same on the clock that the server's arms have",
     .mode = Mode::async,
     .on_wall_clock = true},
    {.name = "async+",
     .says =
         "futures, order, selective waits, jump-forward, drafts, results when the model pauses, "
         "longest path first",
     .mode = Mode::async_plus,
     .jump_forward = true,
     .drafts = true,
     .delivery = Delivery::when_idle,
     .policy = Policy::critical_path},
}};

[[nodiscard]] Result<BfclArm> find_bfcl_arm(std::string_view name);

// What can be taken from async+.
inline constexpr std::array<std::string_view, 7> kBfclFeatures = {
    "futures", "order", "waits", "forced", "drafts", "pauses", "path"};
[[nodiscard]] Result<void> switch_off(std::string_view feature, BfclArm& arm);

}  // namespace asynclm::bench
