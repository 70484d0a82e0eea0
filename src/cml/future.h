// SPDX-License-Identifier: Apache-2.0
// Futures of async+: `$id.path` where a call wants a value. The runtime puts in the result of call
// `id`, or what the path leads to in it, and starts the call without the model.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <asynclm/error.h>
#include <asynclm/protocol.h>

namespace asynclm {

struct Future {
  std::string id;
  std::vector<std::variant<std::string, std::size_t>> path;  // names and indices, outermost first
};

// Reads a future at the beginning of `text`, which it shortens by what it has read.
// invalid_argument: what was expected.
[[nodiscard]] Result<Future> read_future(std::string_view& text);

// Within the JSON of a call's arguments a future is a binary value, which no text gives.
[[nodiscard]] Json future_as_json(std::string_view text);
[[nodiscard]] bool is_future(const Json& value);
// "$a.items[0]"
[[nodiscard]] std::string future_text(const Json& value);

// The futures within `arguments`, each id once, in order of appearance.
[[nodiscard]] std::vector<std::string> futures_in(const Json& arguments);

// `arguments` with each future as a string, for people.
[[nodiscard]] Json with_futures_as_text(const Json& arguments);

// What a future of a call stands for. Without a path and where text is wanted, the result as it is;
// else the result is read as JSON. not_found: the path leads nowhere; invalid_argument: a path into
// a result that is no JSON.
[[nodiscard]] Result<Json> resolve(const Future& future, const std::string& result, bool as_text);

}  // namespace asynclm
