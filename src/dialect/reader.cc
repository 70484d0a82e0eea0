// SPDX-License-Identifier: Apache-2.0
#include "dialect/reader.h"

#include <utility>

#include "dialect/reader_answer.h"

namespace asynclm::dialect {

struct CallReader::Impl {
  Impl(std::span<const ToolSpec> tools_of_request, FitsSchema fits, ReaderOptions chosen)
      : options(std::move(chosen)),
        tools(tools_of_request, std::move(fits)),
        answer(input, tools, options, events) {
    start();
  }

  void start() {
    task = answer.answer();
    task.start(frames);
  }
  void run() {
    input.run(frames);
    answer.flush();
  }

  ReaderOptions options;
  ReaderTools tools;
  Input input;
  Frames frames;
  std::vector<ReaderEvent> events;
  AnswerReader answer;
  Task<bool> task;
};

CallReader::CallReader(std::span<const ToolSpec> tools, FitsSchema fits, ReaderOptions options)
    : impl_(std::make_unique<Impl>(tools, std::move(fits), std::move(options))) {}
CallReader::~CallReader() = default;
CallReader::CallReader(CallReader&&) noexcept = default;
CallReader& CallReader::operator=(CallReader&&) noexcept = default;

void CallReader::feed(std::string_view bytes) {
  if (impl_->input.is_complete() || bytes.empty()) return;
  impl_->input.append(bytes);
  impl_->run();
}

void CallReader::finish(Ending ending) {
  if (impl_->input.is_complete()) return;
  impl_->input.complete(ending);
  impl_->run();
}

std::vector<ReaderEvent> CallReader::take() { return std::exchange(impl_->events, {}); }

bool CallReader::take_back(std::size_t offset) {
  if (impl_->input.is_complete() || !impl_->answer.take_back(offset)) return false;
  impl_->input.truncate(offset);
  impl_->start();
  return true;
}

}  // namespace asynclm::dialect
