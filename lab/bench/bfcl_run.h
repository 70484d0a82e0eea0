// SPDX-License-Identifier: Apache-2.0
// One sample of `asynclm-lab bench bfcl` in one arm: tokens through a real Session, on a virtual
// clock.
//
// What moves the clock is the model's kind. `simulated`: given costs of a token. `forced`: the time
// that a real engine and the session take for each step, the tokens being the oracle's. `real`: the
// same, and the tokens are the model's own, which can be wrong. In all of them the tools' times are
// simulated, and added to the clock. A real clock with tools that sleep would measure the same
// steps and add the system's delays in waking up; with it, two runs would not have the same
// function times, and a sample would take ten times as long to run. Arms that ask a server have a
// real clock all the same, since nobody knows when a server works; `async-wall` says what that
// clock adds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/error.h>
#include <asynclm/types.h>

#include "base/random.h"
#include "bench/bfcl_arms.h"
#include "bench/bfcl_author.h"
#include "bench/bfcl_workload.h"
#include "bench/llama_server.h"
#include "cml/token_mask.h"
#include "oracle/simulator.h"
#include "runtime/draft_policy.h"

namespace asynclm::bench {

struct BfclModel {
  std::unique_ptr<Engine> engine;
  // What the sequence samples from now on; an empty function: what the model would. `drafts`: what
  // is known of the arm's drafts so far.
  std::function<void(SequenceId, std::function<Token()>, DraftPolicy& drafts)> teach;
  SimulationOptions how = {};  // but for the serving
  Time per_request{};          // of a server, besides the tokens of a request
  std::shared_ptr<const TokenTrie> trie = nullptr;
  bool decides = false;          // the model chooses the tokens, and not the oracle
  bool calls_in_prompt = false;  // the prompt lists the calls (oracle/cheat_sheet.h)
  // For arms that ask one; null: they cannot be run.
  std::unique_ptr<LlamaServer> server = nullptr;
};

// `vocabulary` must outlive the model.
[[nodiscard]] BfclModel simulated_model(const Vocabulary& vocabulary, const SimulationCosts& costs,
                                        Time per_request);
[[nodiscard]] BfclModel forced_model(std::unique_ptr<Engine> engine);
// `calls_in_prompt` and no server.
[[nodiscard]] BfclModel real_model(std::unique_ptr<Engine> engine);

// When a call was begun and ended to be written, began to run, returned, and was delivered.
struct BfclCall {
  std::string name;
  Time begun{}, written{}, started{}, returned{}, delivered{};
  // From begun to written, what was no writing: a new request, a prompt computed again, results.
  Time taking_in{};
  // What taking in its result took, wherever that was.
  Time taken_in{};
};

struct BfclRun {
  // From the moment at which the prompt is computed and the first token can be written to the last
  // call's return; of several turns, the sum.
  Time makespan{};
  BfclScore score;
  // No schedule of the calls can be faster with the times that it took to write each in this run;
  // and with the times that it took to take in those results that are needed to write others.
  // Nothing where the user interrupts, where the run is not right, and of a server's arms.
  std::optional<Time> bound, bound_taking_in;
  bool bound_is_exact = true;  // the best schedule's; else the critical-path bound
  Time writing{}, running{};   // sums over the calls
  std::int64_t requests = 0;   // deliveries, each of which is a request to a server
  std::int64_t steps = 0;      // decode calls
  std::int64_t prompt_tokens = 0;
  std::int64_t tokens = 0;           // in the context, behind the prompt
  std::int64_t protocol_tokens = 0;  // of these, neither the calls' code nor results
  std::vector<BfclCall> calls;
};

// `drafts`: of this arm. `random`: for an arm of random order. Where the model decides, the run
// ends with the first turn that is not right. Errors: internal, if the oracle's tokens are not
// taken as its calls (the schema or the grammar does not allow them); unsupported, if the arm asks
// a server and there is none; whatever the engine or the server says.
[[nodiscard]] Result<BfclRun> run_bfcl(BfclModel& model, const BfclSample& sample,
                                       const BfclArm& arm, DraftPolicy& drafts, Random& random);

}  // namespace asynclm::bench
