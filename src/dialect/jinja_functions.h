// SPDX-License-Identifier: Apache-2.0
// What translated templates call (jinja_source.h): Python's operators, methods and the filters and
// tests of Jinja, as transformers sets them up.
#pragma once

#include <chrono>
#include <memory>
#include <string_view>

namespace minja {
class Context;
}

namespace asynclm {

[[nodiscard]] bool is_jinja_filter(std::string_view name);
[[nodiscard]] bool is_jinja_test(std::string_view name);

// The outermost context of a render. `now` is what strftime_now tells, as the clock on the wall
// shows it.
[[nodiscard]] std::shared_ptr<minja::Context> jinja_globals(std::chrono::sys_seconds now);

}  // namespace asynclm
