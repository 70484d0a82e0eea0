// SPDX-License-Identifier: Apache-2.0
// For tests that try many things: under a sanitizer each takes ten times as long, and fewer show
// the same.
#pragma once

namespace asynclm {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace asynclm
