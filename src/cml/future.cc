// SPDX-License-Identifier: Apache-2.0
#include "cml/future.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <format>

#include "cml/call_syntax.h"

namespace asynclm {
namespace {

constexpr int kMaxResultDepth = 64;
constexpr std::size_t kMaxSteps = 32;

// An identifier at the beginning of the text, and the text without it; empty if there is none.
std::string take_identifier(std::string_view& text) {
  std::size_t size = 0;
  while (size < text.size() && is_identifier(text.substr(0, size + 1))) ++size;
  std::string name(text.substr(0, size));
  text.remove_prefix(size);
  return name;
}

std::unexpected<Error> expected(std::string_view what) {
  return fail(ErrorCode::invalid_argument, std::format("expected {} in a future ($id.path)", what));
}

template <class Visit>
void for_each_future(const Json& value, const Visit& visit) {
  if (is_future(value)) visit(value);
  if (!value.is_structured()) return;
  for (const Json& child : value) for_each_future(child, visit);
}

}  // namespace

Result<Future> read_future(std::string_view& text) {
  if (!text.starts_with('$')) return expected("'$'");
  text.remove_prefix(1);
  Future future;
  future.id = take_identifier(text);
  if (future.id.empty()) return expected("a call id");
  while (text.starts_with('.') || text.starts_with('[')) {
    if (future.path.size() == kMaxSteps)
      return expected(std::format("at most {} steps", kMaxSteps));
    const bool is_name = text.front() == '.';
    text.remove_prefix(1);
    if (is_name) {
      std::string name = take_identifier(text);
      if (name.empty()) return expected("a name after '.'");
      future.path.emplace_back(std::move(name));
      continue;
    }
    std::size_t index = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
    if (error != std::errc{}) return expected("an index after '['");
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    if (!text.starts_with(']')) return expected("']'");
    text.remove_prefix(1);
    future.path.emplace_back(index);
  }
  return future;
}

Json future_as_json(std::string_view text) {
  return Json::binary(std::vector<std::uint8_t>(text.begin(), text.end()));
}

bool is_future(const Json& value) { return value.is_binary(); }

std::string future_text(const Json& value) {
  const auto& bytes = value.get_binary();
  return {bytes.begin(), bytes.end()};
}

std::vector<std::string> futures_in(const Json& arguments) {
  std::vector<std::string> ids;
  for_each_future(arguments, [&](const Json& value) {
    const std::string text = future_text(value);
    std::string_view rest = text;
    if (const auto future = read_future(rest); future && !std::ranges::contains(ids, future->id)) {
      ids.push_back(future->id);
    }
  });
  return ids;
}

Json with_futures_as_text(const Json& arguments) {
  if (is_future(arguments)) return future_text(arguments);
  Json out = arguments;
  if (out.is_structured()) {
    for (Json& child : out) child = with_futures_as_text(child);
  }
  return out;
}

Result<Json> resolve(const Future& future, const std::string& result, bool as_text) {
  if (as_text && future.path.empty()) return Json(result);
  Json value = nests_deeper(result, kMaxResultDepth) ? Json(Json::value_t::discarded)
                                                     : Json::parse(result, nullptr, false);
  if (future.path.empty()) return value.is_discarded() ? Json(result) : value;
  if (value.is_discarded()) {
    return fail(
        ErrorCode::invalid_argument,
        std::format("the result of '{}' is no JSON, a path cannot lead into it", future.id));
  }
  std::string at = "$" + future.id;
  for (const auto& step : future.path) {
    const Json* next = nullptr;
    if (const auto* name = std::get_if<std::string>(&step)) {
      at += "." + *name;
      if (value.is_object() && value.contains(*name)) next = &value[*name];
    } else {
      const auto index = std::get<std::size_t>(step);
      at += std::format("[{}]", index);
      if (value.is_array() && index < value.size()) next = &value[index];
    }
    if (next == nullptr) {
      return fail(ErrorCode::not_found, std::format("the result of '{}' has no {}", future.id, at));
    }
    value = Json(*next);
  }
  if (as_text && !value.is_string()) {
    return Json(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  return value;
}

}  // namespace asynclm
