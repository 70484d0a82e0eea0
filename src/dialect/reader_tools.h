// SPDX-License-Identifier: Apache-2.0
// The request's tools as a reader needs them: which one a written name means, how a tag's text is
// typed, and whether arguments may be run.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <asynclm/protocol.h>

#include "dialect/json_text.h"

namespace asynclm::dialect {

// Whether arguments fit the schema of tools[tool].
using FitsSchema = std::function<bool(std::size_t tool, const Json& arguments)>;

// Where a name stands, for what may be cut from it.
enum class NamePlace : std::uint8_t {
  plain,
  gemma,    // call:name
  kimi,     // functions.name:3
  harmony,  // functions.namejson
};

class ReaderTools {
 public:
  // `tools` must outlive this.
  ReaderTools(std::span<const ToolSpec> tools, FitsSchema fits);

  [[nodiscard]] const ToolSpec& operator[](std::size_t tool) const { return tools_[tool]; }
  [[nodiscard]] std::size_t size() const { return tools_.size(); }

  // The tool that a written name means. A declared name wins over one from which something was
  // cut; two possible readings are none.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view written,
                                                NamePlace place = NamePlace::plain) const;

  // Whether more bytes could make a name of `text`, or text with a name in front.
  [[nodiscard]] bool may_begin_name(std::string_view text) const;

  [[nodiscard]] bool has_parameter(std::size_t tool, std::string_view name) const;

  // A name and a parameter's name run together, "run_commandcommand".
  struct Glued {
    std::size_t tool;
    std::string parameter;
  };
  [[nodiscard]] std::optional<Glued> find_glued(std::string_view written) const;

  // A value between tags, typed by the schema. Empty where the text is none of the declared types.
  [[nodiscard]] std::optional<JsonText> typed(std::size_t tool, const std::string& parameter,
                                              std::string_view text, bool marked_string) const;

  // The arguments as they may be run: 230.0 becomes 230 where an integer is wanted, nothing else
  // is changed. Empty if they do not fit the schema.
  [[nodiscard]] std::optional<JsonText> fitting(std::size_t tool, JsonText arguments) const;

 private:
  [[nodiscard]] std::optional<std::size_t> exact(std::string_view name) const;

  std::span<const ToolSpec> tools_;
  FitsSchema fits_;
  std::vector<Json> schemas_;  // expanded
  std::map<std::string, std::size_t, std::less<>> names_;
  std::size_t longest_ = 0;
};

}  // namespace asynclm::dialect
