// SPDX-License-Identifier: Apache-2.0
// For tests of the call grammar: tools with schemas of all kinds, and a vocabulary of pieces.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asynclm/engine.h>
#include <asynclm/protocol.h>

#include "base/random.h"
#include "cml/markers.h"

namespace asynclm {

inline ToolSpec grammar_tool(const std::string& name, const std::string& parameters) {
  ToolSpec spec;
  spec.name = name;
  spec.parameters = Json::parse(parameters);
  return spec;
}

inline std::string object(const std::string& properties, const std::string& required = "") {
  return R"({"type": "object", "properties": {)" + properties + R"(}, "required": [)" + required +
         "]}";
}

inline std::vector<ToolSpec> varied_tools() {
  return {
      grammar_tool("get",
                   object(R"("x": {"type": "string"}, "limit": {"type": "integer", "minimum": 0})",
                          R"("x")")),
      grammar_tool(
          "get_all",
          object(R"("deep": {"type": "boolean"}, "path": {"type": "string", "maxLength": 9},
                                    "k": {"type": "object", "properties": {"k": {"type": ["null", "number"]}}})",
                 R"("path")")),
      grammar_tool(
          "ratio",
          object(R"("list": {"type": "array", "items": {"enum": [1, 2, "\n"]}, "maxItems": 3},
                                  "any": {}, "number": {"type": "integer", "minimum": -12, "maximum": 340})"))};
}

// All bytes, the markers, and random pieces of what calls look like.
class PieceVocabulary : public Vocabulary {
 public:
  PieceVocabulary() {
    constexpr std::string_view kSource =
        "a[HEAD]get_all(x=\"some "
        "words\",limit=120,deep=True,path=\"src/main.cc\",list=[1,2,\"\\n\"],"
        "k={\"k\":None},ratio=-1.5e3)é漢😀 after $a.items[0]";
    Random random(5);
    for (int byte = 0; byte < 256; ++byte) pieces_.emplace_back(1, static_cast<char>(byte));
    for (int i = 0; i < 3000; ++i) {
      const auto begin = random.below(kSource.size());
      pieces_.emplace_back(kSource.substr(begin, 1 + random.below(7)));
    }
    first_marker_ = static_cast<Token>(pieces_.size());
  }
  [[nodiscard]] Token size() const override {
    return first_marker_ + static_cast<Token>(kMarkerCount) + 1;
  }
  [[nodiscard]] std::vector<Token> encode(std::string_view text) const override {
    std::vector<Token> out;
    for (const char c : text) out.push_back(static_cast<unsigned char>(c));
    return out;
  }
  [[nodiscard]] Token control(std::string_view spelling) const override {
    const auto at = std::ranges::find(kMarkerSpellings, spelling);
    return at == kMarkerSpellings.end()
               ? kNoToken
               : first_marker_ + static_cast<Token>(at - kMarkerSpellings.begin());
  }
  [[nodiscard]] bool is_control(Token token) const override { return token >= first_marker_; }
  [[nodiscard]] bool is_end_of_generation(Token token) const override {
    return token == size() - 1;
  }
  void append_piece(Token token, std::string& out) const override {
    if (token < first_marker_) out += pieces_[static_cast<std::size_t>(token)];
  }
  [[nodiscard]] std::string spelling(Token token) const override {
    std::string out;
    append_piece(token, out);
    return out;
  }
  [[nodiscard]] std::string chat_template() const override { return ""; }

 private:
  std::vector<std::string> pieces_;
  Token first_marker_ = 0;
};

}  // namespace asynclm
