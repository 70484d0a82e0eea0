// SPDX-License-Identifier: Apache-2.0
// Markers in texts for training: there the protocol's markers are spelled, and so that a trainer
// cannot take what data spell for one, that is disarmed:
//
//   data  [END]    [.END]    [..END]
//   text  [.END]   [..END]   [...END]
#pragma once

#include <string>
#include <string_view>

namespace asynclm {

[[nodiscard]] std::string disarm(std::string_view text);

}  // namespace asynclm
