// SPDX-License-Identifier: Apache-2.0
// Finds out how a model calls tools by rendering its chat template with probes: several tools, an
// assistant's calls with names and values that stand nowhere else, results, reasoning.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include <asynclm/error.h>

#include "dialect/template_dialect.h"
#include "dialect/template_render.h"

namespace asynclm {

// A file may hold several templates. `tool_use` is for requests with tools, where there is one.
struct TemplateSources {
  std::string standard;
  std::map<std::string, std::string> others = {};
};
[[nodiscard]] const std::string& chosen_source(const TemplateSources& sources, bool with_tools);

// Renders of the template alone; nothing else is asked. unsupported: it renders not even one user's
// message.
[[nodiscard]] Result<TemplateDialect> probe_template(const ChatTemplate& chat,
                                                     std::chrono::sys_seconds now);

}  // namespace asynclm
