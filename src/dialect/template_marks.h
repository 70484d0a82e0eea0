// SPDX-License-Identifier: Apache-2.0
// Which text of a rendered prompt came from whom. The inputs of a render are marked with characters
// that neither they nor the template have: around each spelling of a control token, so that what a
// person or a tool spells stays text, and at the ends of each content, for its origin. The marks
// lie outside of what templates look for (a `</think>` is found where it stands), and those of
// contents inside the white space that they trim.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <asynclm/engine.h>

#include "cml/span.h"

namespace asynclm {

// The control tokens of a vocabulary by their spelling.
class ControlSpellings {
 public:
  explicit ControlSpellings(const Vocabulary& vocabulary);

  // The longest spelling that `text` begins with: its token and size; size 0 if there is none.
  [[nodiscard]] std::pair<Token, std::size_t> at_front(std::string_view text) const;

  // All that stand in a text, from its front; `begin` and `end` are in bytes.
  struct Placed {
    Token token;
    std::size_t begin, end;
  };
  [[nodiscard]] std::vector<Placed> all_in(std::string_view text) const;

 private:
  std::vector<std::vector<std::pair<std::string, Token>>> by_first_byte_;  // longest first
};

class Marks {
 public:
  // `inputs`: everything that is rendered, the template's source too.
  Marks(const ControlSpellings& controls, std::string_view inputs);

  // `text` with marks around its control spellings, and at its ends if it has an origin.
  [[nodiscard]] std::string marked(std::string_view text, std::optional<Origin> origin) const;
  // All strings of it, keys too.
  [[nodiscard]] nlohmann::ordered_json marked_json(const nlohmann::ordered_json& value,
                                                   std::optional<Origin> origin) const;

  [[nodiscard]] std::string unmarked(std::string_view rendered) const;
  // What a template wrote becomes text and control tokens; the rest is text.
  [[nodiscard]] std::vector<Span> spans(std::string_view rendered) const;

 private:
  // A private-use character, by its place behind the first one.
  [[nodiscard]] std::string mark(std::size_t index) const;
  // The index of the mark that `text` begins with, or kMarks.
  [[nodiscard]] std::size_t mark_at_front(std::string_view text) const;
  // Bytes behind the mark that `text` begins with that are a marked spelling, or 0.
  [[nodiscard]] std::size_t marked_spelling(std::string_view text) const;

  const ControlSpellings& controls_;
  std::uint32_t first_ = 0;
};

}  // namespace asynclm
