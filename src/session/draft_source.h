// SPDX-License-Identifier: Apache-2.0
// Where arguments are copied from: what people wrote and calls returned. Half and more of the
// argument values of real calls stand there word for word.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace asynclm {

class DraftSource {
 public:
  void add(std::string_view text);
  // All of it, to make another one of.
  [[nodiscard]] const std::string& text() const { return text_; }
  void load(std::string text) { text_ = std::move(text); }

  // `code` is a call as far as it is written. What stands behind the value that it ends in, at the
  // value's latest occurrence: the longest end of `code` decides that begins where a word does and
  // occurs. Ends with the text that it is from; empty if there is none. Valid until the next add().
  [[nodiscard]] std::string_view continuation(std::string_view code) const;

 private:
  std::string text_;  // the texts, a zero byte before and behind each
};

}  // namespace asynclm
