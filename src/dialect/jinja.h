// SPDX-License-Identifier: Apache-2.0
// A Jinja template, rendered as transformers renders chat templates: its environment (trim_blocks,
// lstrip_blocks, loop controls), its tojson, raise_exception and strftime_now. minja does the work.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <asynclm/error.h>

namespace asynclm {

// As json.dumps(…, ensure_ascii=False) writes it.
[[nodiscard]] std::string json_as_python(const nlohmann::ordered_json& json);

class JinjaTemplate {
 public:
  // unsupported: what cannot be parsed; the message names the line. Sources that were parsed before
  // cost nothing.
  [[nodiscard]] static Result<JinjaTemplate> parse(const std::string& source);

  // `variables`: an object. `now`: the time that strftime_now tells, as a clock on the wall shows
  // it. invalid_argument: the template refuses these messages by raise_exception, in its own words.
  // unsupported: it fails otherwise; the message names the line.
  [[nodiscard]] Result<std::string> render(const nlohmann::ordered_json& variables,
                                           std::chrono::sys_seconds now) const;

  [[nodiscard]] const std::string& source() const;

 private:
  struct Parsed;
  explicit JinjaTemplate(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}
  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace asynclm
