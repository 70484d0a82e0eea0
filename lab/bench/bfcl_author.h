// SPDX-License-Identifier: Apache-2.0
// Who writes the tokens of a sample of `asynclm-lab bench bfcl`: the oracle, or the model itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include <asynclm/session.h>

#include "oracle/oracle.h"
#include "oracle/task.h"

namespace asynclm::bench {

// What was made of a sample's calls.
struct BfclScore {
  std::int64_t expected = 0;
  std::int64_t exact = 0;  // of these, made, with the right name and arguments (oracle/accept.h)
  std::int64_t early = 0;  // … before something that they come after was delivered
  std::int64_t extra = 0;  // other calls that were made: wrong ones, and right ones once more
  bool ended = true;       // the model ended each turn by itself

  [[nodiscard]] bool is_right() const {
    return exact == expected && early == 0 && extra == 0 && ended;
  }
  BfclScore& operator+=(const BfclScore& other);
  friend bool operator==(const BfclScore&, const BfclScore&) = default;
};

class BfclAuthor {
 public:
  virtual ~BfclAuthor() = default;
  // The next task; the session's next call will be its first. Of the calls that can be made now the
  // one with the smallest rank is to be made first.
  virtual void begin(const Task& task, const Session& session, std::vector<double> ranks) = 0;
  // What the user says next stands in the context.
  virtual void hear() {}
  // The task's call that this call of the session is; null: none. Asked for each when it is
  // dispatched, and later again.
  [[nodiscard]] virtual const TaskCall* call(CallKey key, const CallRecord& record) = 0;
};

class OracleAuthor final : public BfclAuthor {
 public:
  explicit OracleAuthor(Oracle oracle) : oracle_(std::move(oracle)) {}
  [[nodiscard]] Token next(const Session& session) { return oracle_.next(session); }

  void begin(const Task& task, const Session& session, std::vector<double> ranks) override {
    oracle_.begin(task, session, std::move(ranks));
  }
  void hear() override { oracle_.hear(); }
  const TaskCall* call(CallKey key, const CallRecord&) override { return oracle_.call(key); }

 private:
  Oracle oracle_;
};

// The model's own tokens: its calls are found in the task by what they are.
class ModelAuthor final : public BfclAuthor {
 public:
  void begin(const Task& task, const Session& session, std::vector<double> ranks) override;
  const TaskCall* call(CallKey key, const CallRecord& record) override;

 private:
  const Task* task_ = nullptr;
  std::map<CallKey, const TaskCall*> found_;  // in this task
};

// Of the session's calls from `first` on, which were made for the task.
[[nodiscard]] BfclScore score_task(const Task& task, const Session& session, CallKey first,
                                   BfclAuthor& author);

}  // namespace asynclm::bench
