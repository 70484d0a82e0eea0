// SPDX-License-Identifier: Apache-2.0
// A parser that waits for its input. The reader is written as ordinary recursive descent over an
// answer that is not there yet: where a byte is missing, the coroutine that needs it is suspended,
// and goes on when bytes are fed. No function can ask how many bytes there are, only what the next
// one is, so how an answer was cut into pieces cannot change what is read.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace asynclm::dialect {

// The coroutines under way, the innermost last. A loop resumes the innermost: neither calling nor
// returning deepens the machine's stack.
struct Frames {
  std::vector<std::coroutine_handle<>> stack;
  bool waiting = false;  // the innermost needs bytes
};

// A function that may wait. Started by co_await; the caller goes on when it has returned.
// Everything that it is given by reference must outlive it.
template <class T>
class [[nodiscard]] Task {
 public:
  // The name is C++. NOLINTNEXTLINE(readability-identifier-naming)
  struct promise_type {
    Frames* frames = nullptr;
    std::optional<T> value;

    struct Return {
      bool await_ready() noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> done) noexcept {
        done.promise().frames->stack.pop_back();
      }
      void await_resume() noexcept {}
    };

    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    std::suspend_always initial_suspend() noexcept { return {}; }
    Return final_suspend() noexcept { return {}; }
    void return_value(T result) { value = std::move(result); }
    void unhandled_exception() { std::terminate(); }  // nothing here throws but for lack of memory
  };

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (handle_) handle_.destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() {
    if (handle_) handle_.destroy();
  }

  // The outermost one.
  void start(Frames& frames) {
    handle_.promise().frames = &frames;
    frames.stack.assign(1, handle_);
    frames.waiting = false;
  }

  bool await_ready() noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> caller) {
    handle_.promise().frames = caller.promise().frames;
    handle_.promise().frames->stack.push_back(handle_);
  }
  T await_resume() { return std::move(*handle_.promise().value); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

// How an answer ended.
enum class Ending : std::uint8_t {
  unknown,  // the bytes end; nobody says why
  stopped,  // the model ended its turn: as if the last bytes were an end token
  limit,    // a limit cut the answer
};

// The bytes of an answer as they come. Offsets count from the answer's first byte.
class Input {
 public:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  std::size_t at = 0;  // what has been read ends here

  void append(std::string_view bytes) { bytes_ += bytes; }
  void complete(Ending ending) {
    ending_ = ending;
    complete_ = true;
  }
  [[nodiscard]] Ending ending() const { return ending_; }
  [[nodiscard]] bool is_complete() const { return complete_; }
  [[nodiscard]] std::size_t end() const { return begin_ + bytes_.size(); }

  // Bytes below `offset` are not asked for any more.
  void forget(std::size_t offset) {
    constexpr std::size_t kWorthwhile = 4096;
    if (offset < begin_ + kWorthwhile || offset - begin_ < bytes_.size() / 2) return;
    bytes_.erase(0, offset - begin_);
    begin_ = offset;
  }
  // Takes back what was fed from `offset` on.
  void truncate(std::size_t offset) { bytes_.resize(offset - begin_); }

  // No attempt may look further than this; set while one is made.
  void set_limit(std::size_t offset) {
    limit_ = offset;
    limited_ = false;
  }
  void clear_limit() { limit_ = kNone; }
  [[nodiscard]] bool limited() const { return limited_; }

  // The furthest byte that was asked for since mark_reach().
  void mark_reach() { reach_ = at; }
  [[nodiscard]] std::size_t reach() const { return reach_ < end() ? reach_ : end(); }

  // The byte at `offset`, 0 to 255; -1 behind the end of the answer. Waits until it is known.
  auto peek(std::size_t offset) { return Peek{*this, offset}; }
  auto next() { return peek(at); }

  // A byte that peek() has seen; 0 before the first.
  [[nodiscard]] char operator[](std::size_t offset) const {
    return offset < begin_ || offset >= end() ? '\0' : bytes_[offset - begin_];
  }
  [[nodiscard]] std::string_view view(std::size_t from, std::size_t to) const {
    return std::string_view(bytes_).substr(from - begin_, to - from);
  }

  // Goes on until bytes are needed that are not there, or the outermost task is done.
  void run(Frames& frames) {
    if (frames.waiting && needed_ >= end() && !complete_) return;
    frames.waiting = false;
    while (!frames.stack.empty() && !frames.waiting) frames.stack.back().resume();
  }

 private:
  struct Peek {
    Input& input;
    std::size_t offset;

    bool await_ready() { return offset < input.end() || input.complete_ || offset >= input.limit_; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> caller) {
      input.needed_ = offset;
      caller.promise().frames->waiting = true;
    }
    int await_resume() {
      if (offset > input.reach_) input.reach_ = offset;
      if (offset >= input.limit_) {
        input.limited_ = true;
        return -1;
      }
      if (offset >= input.end()) return -1;
      return static_cast<unsigned char>(input.bytes_[offset - input.begin_]);
    }
  };

  std::string bytes_;
  std::size_t begin_ = 0;  // of bytes_
  std::size_t needed_ = 0;
  std::size_t reach_ = 0;
  std::size_t limit_ = kNone;
  bool limited_ = false;
  bool complete_ = false;
  Ending ending_ = Ending::unknown;
};

}  // namespace asynclm::dialect
