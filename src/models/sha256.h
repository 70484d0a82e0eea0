// SPDX-License-Identifier: Apache-2.0
// SHA-256 by libcrypto.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace asynclm {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void add(std::string_view bytes);
  // 64 hex digits of what was added, and an empty object again. Empty where libcrypto fails, which
  // is no hash that a file could be compared with by mistake.
  [[nodiscard]] std::string take_hex();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

[[nodiscard]] std::string sha256_hex(std::string_view bytes);

// 64 lower-case hex digits.
[[nodiscard]] bool is_sha256_hex(std::string_view text);

}  // namespace asynclm
