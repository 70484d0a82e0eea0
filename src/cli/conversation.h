// SPDX-License-Identifier: Apache-2.0
// One conversation of asynclm chat: a run of the runtime, which begins with the first message or
// with a saved file, and what is known of it on the thread of the user interface.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/runtime.h>

#include "cli/run_event.h"
#include "cli/timeline.h"
#include "runtime/inbox.h"

namespace asynclm {

class Conversation {
 public:
  // `request` is what each run begins with, but for its messages. The runtime must outlive it.
  Conversation(Runtime& runtime, RunRequest request);
  ~Conversation();  // cancels the run and waits for its end
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  [[nodiscard]] Result<void> say(const std::string& text, Delivery delivery);
  [[nodiscard]] Result<void> cancel_call(const std::string& id);
  void cancel_turn();
  void close();  // it ends with its turn
  [[nodiscard]] Result<void> save(const std::string& path);
  // The conversation so far is cancelled.
  [[nodiscard]] Result<void> load(const std::string& path);

  // What has happened since the last call; timeline() knows of it.
  [[nodiscard]] const std::vector<RunEvent>& take();
  [[nodiscard]] const Timeline& timeline() const { return timeline_; }
  [[nodiscard]] Time now() const;  // as events count it

  // A turn is going on, as far as taken events tell.
  [[nodiscard]] bool in_turn() const { return run_.has_value() && !timeline_.finish; }
  [[nodiscard]] bool begun() const { return run_.has_value(); }
  // It ended for good, with this: no message goes on.
  [[nodiscard]] const std::optional<RunReport>& ended() const { return ended_; }

 private:
  using Events = Inbox<RunEvent>;
  [[nodiscard]] RunRequest request_with_observer();
  void begin(RunId run, Time since);

  Runtime& runtime_;
  RunRequest request_;
  std::shared_ptr<Events> events_;  // the run's; shared, since it may outlive this
  std::optional<RunId> run_;
  std::optional<RunReport> ended_;
  bool may_have_ended_ = false;
  Time began_{};  // of the process's clock
  Timeline timeline_;
  std::vector<RunEvent> taken_;
};

}  // namespace asynclm
