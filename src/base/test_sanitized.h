// SPDX-License-Identifier: Apache-2.0
// For tests that try many things: under a sanitizer each takes ten times as long, and fewer show
// the same.
#pragma once

namespace asynclm {

// g++ defines a macro; clang 21, of which the address sanitizer's build is, has its own question.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
inline constexpr bool kSanitized =
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
inline constexpr bool kSanitized = false;
#endif

}  // namespace asynclm
