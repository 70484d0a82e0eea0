// SPDX-License-Identifier: Apache-2.0
// A run's report as the object that --json prints and that closes an event log.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <asynclm/runtime.h>

namespace asynclm {

// {mode, answer, finish_reason, calls[], tokens{}, time{}}; null where there is nothing to say.
[[nodiscard]] Json report_to_json(Mode mode, const RunReport& report);

// The inverse; CallRecord::code is not part of it.
[[nodiscard]] Result<RunReport> report_from_json(const Json& json);

// Valid JSON in any case: what is not UTF-8 becomes U+FFFD. indent < 0: one line.
[[nodiscard]] std::string dump_json(const Json& json, int indent = -1);

[[nodiscard]] Result<FinishReason> parse_finish_reason(std::string_view text);
[[nodiscard]] Result<std::optional<Outcome>> outcome_from_json(const Json& json);  // a name or null

// Milliseconds or null. The reader throws Json::exception for anything else.
[[nodiscard]] Json json_ms(std::optional<Time> time);
[[nodiscard]] std::optional<Time> time_from_json(const Json& json);

}  // namespace asynclm
