// SPDX-License-Identifier: Apache-2.0
#include "dialect/jinja.h"

#include <cstddef>
#include <exception>
#include <format>
#include <list>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include <minja/minja.hpp>

#include "dialect/jinja_functions.h"
#include "dialect/jinja_methods.h"
#include "dialect/jinja_source.h"
#include "dialect/jinja_value.h"

namespace asynclm {

std::string json_as_python(const nlohmann::ordered_json& json) {
  return python_json(python_value(json), {});
}

struct JinjaTemplate::Parsed {
  std::string source;
  std::shared_ptr<minja::TemplateNode> root;
};

namespace {

// A macro holds the context that it is defined in, which holds the macro: nothing would free them.
class Rendering {
 public:
  explicit Rendering(const std::shared_ptr<minja::Context>& context) : context_(context) {}
  ~Rendering() {
    for (const JinjaValue& name : context_->keys()) context_->set(name, JinjaValue());
  }
  Rendering(const Rendering&) = delete;
  Rendering& operator=(const Rendering&) = delete;

 private:
  std::shared_ptr<minja::Context> context_;
};

std::string_view line(std::string_view source, std::size_t number) {
  for (; number > 1 && !source.empty(); --number) {
    const auto end = source.find('\n');
    source.remove_prefix(end == std::string_view::npos ? source.size() : end + 1);
  }
  source = source.substr(0, source.find('\n'));
  return strip_right(strip_left(source)).substr(0, 200);
}

// minja adds the place of each expression around the one that failed; the first is the innermost.
Error explained(std::string_view what, std::string_view source) {
  constexpr std::string_view kPlace = " at row ";
  const auto place = what.find(kPlace);
  std::string message(what.substr(0, place));
  if (place == std::string_view::npos) {
    return {ErrorCode::unsupported, std::format("the chat template fails: {}", message)};
  }
  std::size_t number = 0;
  for (const char c : what.substr(place + kPlace.size())) {
    if (c < '0' || c > '9') break;
    number = number * 10 + static_cast<std::size_t>(c - '0');
  }
  return {ErrorCode::unsupported, std::format("the chat template fails in line {}: {}\n  {}",
                                              number, message, line(source, number))};
}

// What the template itself said, where it refused.
std::optional<std::string> refusal(std::string_view what) {
  if (!what.starts_with(kRefusal)) return std::nullopt;
  what.remove_prefix(kRefusal.size());
  return std::string(what.substr(0, what.find(kRefusal)));
}

Result<std::shared_ptr<minja::TemplateNode>> parsed(const std::string& source) {
  const auto translated = translate_jinja(source);
  if (!translated) return std::unexpected(translated.error());
  try {
    return minja::Parser::parse(
        *translated, {.trim_blocks = false, .lstrip_blocks = false, .keep_trailing_newline = true});
  } catch (const std::exception& e) {
    return std::unexpected(explained(e.what(), source));
  }
}

}  // namespace

Result<JinjaTemplate> JinjaTemplate::parse(const std::string& source) {
  // minja's parser uses std::regex, and that a cache of the locale's, which it fills without a
  // lock. A program has few templates, and probing one parses it several times.
  static std::mutex mutex;
  static std::list<std::shared_ptr<const Parsed>> recent;
  constexpr std::size_t kKept = 32;
  const std::lock_guard lock(mutex);
  for (auto at = recent.begin(); at != recent.end(); ++at) {
    if ((*at)->source != source) continue;
    recent.splice(recent.begin(), recent, at);
    return JinjaTemplate(recent.front());
  }
  auto root = parsed(source);
  if (!root) return std::unexpected(root.error());
  recent.push_front(std::make_shared<const Parsed>(Parsed{source, *std::move(root)}));
  if (recent.size() > kKept) recent.pop_back();
  return JinjaTemplate(recent.front());
}

Result<std::string> JinjaTemplate::render(const nlohmann::ordered_json& variables,
                                          std::chrono::sys_seconds now) const {
  try {
    const auto context = minja::Context::make(python_value(variables), jinja_globals(now));
    const Rendering rendering(context);
    return parsed_->root->render(context);
  } catch (const std::exception& e) {
    if (auto words = refusal(e.what())) {
      return fail(ErrorCode::invalid_argument,
                  std::format("the chat template refuses these messages: {}", *words));
    }
    return std::unexpected(explained(e.what(), parsed_->source));
  }
}

const std::string& JinjaTemplate::source() const { return parsed_->source; }

}  // namespace asynclm
