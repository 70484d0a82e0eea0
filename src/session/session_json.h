// SPDX-License-Identifier: Apache-2.0
// Parts of a saved session that its owner needs before it is loaded.
#pragma once

#include <asynclm/session.h>

namespace asynclm {

[[nodiscard]] Json config_json(const SessionConfig& config);
// The configuration of the session that Session::save() wrote; invalid_argument: it did not.
[[nodiscard]] Result<SessionConfig> saved_config(const Json& saved);

}  // namespace asynclm
