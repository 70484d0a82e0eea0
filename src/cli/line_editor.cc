// SPDX-License-Identifier: Apache-2.0
#include "cli/line_editor.h"

#include <utility>

namespace asynclm {
namespace {

constexpr char kEscape = '\x1b';
constexpr char ctrl(char letter) { return static_cast<char>(letter & 0x1F); }

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) == 0x80U; }

// A line is one message; a paste of more than this is no line.
constexpr std::size_t kMaxLine = 1 << 16;

}  // namespace

std::size_t LineEditor::before(std::size_t at) const {
  if (at == 0) return 0;
  --at;
  while (at > 0 && continues_character(text_[at])) --at;
  return at;
}

std::size_t LineEditor::behind(std::size_t at) const {
  if (at == text_.size()) return at;
  ++at;
  while (at < text_.size() && continues_character(text_[at])) ++at;
  return at;
}

void LineEditor::erase(std::size_t from, std::size_t to) {
  text_.erase(from, to - from);
  cursor_ = from;
}

void LineEditor::recall(std::size_t line) {
  if (line > history_.size() || line == recalled_) return;
  if (recalled_ == history_.size()) written_ = text_;
  recalled_ = line;
  text_ = line == history_.size() ? written_ : history_[line];
  cursor_ = text_.size();
}

void LineEditor::clear() {
  text_.clear();
  cursor_ = 0;
  recalled_ = history_.size();
}

std::string LineEditor::take_line() {
  std::string line = std::exchange(text_, {});
  if (!line.empty() && (history_.empty() || history_.back() != line)) history_.push_back(line);
  clear();
  return line;
}

LineEditor::Key LineEditor::feed(char byte) {
  if (escape_ == Escape::begun) {
    escape_ = byte == '[' || byte == 'O' ? Escape::sequence : Escape::none;
    sequence_.clear();
    return Key::none;
  }
  if (escape_ == Escape::sequence) {
    // Parameters are up to '?', then one letter or '~' ends the sequence.
    if (byte >= '@' && byte <= '~') {
      escape_ = Escape::none;
      act_on_sequence(byte);
    } else if (sequence_.size() < 8) {
      sequence_ += byte;
    }
    return Key::none;
  }
  switch (byte) {
    case '\r':
    case '\n':
      return Key::enter;
    case ctrl('C'):
      return Key::interrupt;
    case ctrl('D'):
      if (text_.empty()) return Key::end_of_input;
      erase(cursor_, behind(cursor_));
      return Key::none;
    case kEscape:
      escape_ = Escape::begun;
      return Key::none;
    case ctrl('H'):
    case '\x7f': {
      const std::size_t end = cursor_;
      erase(before(end), end);
      return Key::none;
    }
    case ctrl('A'):
      cursor_ = 0;
      return Key::none;
    case ctrl('E'):
      cursor_ = text_.size();
      return Key::none;
    case ctrl('U'):
      erase(0, cursor_);
      return Key::none;
    case ctrl('K'):
      text_.resize(cursor_);
      return Key::none;
    case ctrl('W'): {
      std::size_t from = cursor_;
      while (from > 0 && text_[from - 1] == ' ') --from;
      while (from > 0 && text_[from - 1] != ' ') --from;
      erase(from, cursor_);
      return Key::none;
    }
    default:
      break;
  }
  const bool is_control = static_cast<unsigned char>(byte) < 0x20 && byte != '\t';
  if (is_control || text_.size() >= kMaxLine) return Key::none;
  text_.insert(cursor_, 1, byte == '\t' ? ' ' : byte);
  ++cursor_;
  return Key::none;
}

void LineEditor::act_on_sequence(char last) {
  switch (last) {
    case 'A':
      if (recalled_ > 0) recall(recalled_ - 1);
      break;
    case 'B':
      recall(recalled_ + 1);
      break;
    case 'C':
      cursor_ = behind(cursor_);
      break;
    case 'D':
      cursor_ = before(cursor_);
      break;
    case 'H':
      cursor_ = 0;
      break;
    case 'F':
      cursor_ = text_.size();
      break;
    case '~':
      if (sequence_ == "1" || sequence_ == "7") cursor_ = 0;
      if (sequence_ == "4" || sequence_ == "8") cursor_ = text_.size();
      if (sequence_ == "3") erase(cursor_, behind(cursor_));
      break;
    default:
      break;
  }
}

}  // namespace asynclm
